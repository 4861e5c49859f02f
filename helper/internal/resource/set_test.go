package resource

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/google/go-cmp/cmp"
)

func mustParse(t testing.TB, src string) []Resource {
	t.Helper()
	list, problems := Parse("", []byte(src))
	if len(problems) > 0 {
		t.Fatalf("problems: %+v", problems)
	}
	return list
}

const setSource = `[
	{"name": "db", "host": "db.corp.test", "ports": [5432, "15433:5433"]},
	{"name": "corp", "host": "*.corp.test", "ports": ["1-65535"], "protocols": ["tcp", "udp"]},
	{"name": "deep", "host": "*.deep.corp.test", "ports": [443]},
	{"name": "laptop", "host": "localhost", "ports": [3000], "as": "laptop.causeway.internal"},
	{"name": "printer", "host": "10.1.2.9", "ports": ["80:8080"], "as": "printer.causeway.internal"},
	{"name": "renamed", "host": "old.test", "ports": [80], "as": "new.test"},
	{"name": "one", "host": "10.1.2.3", "ports": [80]},
	{"name": "net16", "host": "10.1.0.0/16", "ports": [80, 81]},
	{"name": "net8", "host": "10.0.0.0/8", "ports": [80, 81, 82]},
	{"name": "six", "host": "fd00::/8", "ports": [80]},
	{"name": "own", "host": "localhost", "ports": [5037], "as": "localhost"},
	{"name": "local db", "host": "db.corp.test", "ports": ["15432:5432"], "as": "localhost"},
	{"name": "idn", "host": "bücher.example", "ports": [80]},
]`

func TestMatch(t *testing.T) {
	set := NewSet(mustParse(t, setSource))
	for _, c := range []struct {
		network Network
		host    string
		port    uint16
		want    string // resource host port; or a piece of the error
	}{
		{TCP, "db.corp.test", 5432, "db db.corp.test 5432"},
		{TCP, "DB.Corp.TEST.", 5432, "db db.corp.test 5432"},
		{TCP, "db.corp.test", 15433, "db db.corp.test 5433"},
		{TCP, "db.corp.test", 5433, "corp db.corp.test 5433"}, // what the exact one lacks, the wildcard has
		{UDP, "db.corp.test", 5432, "corp db.corp.test 5432"},
		{TCP, "x.corp.test", 1, "corp x.corp.test 1"},
		{TCP, "a.b.corp.test", 65535, "corp a.b.corp.test 65535"},
		{TCP, "a.deep.corp.test", 443, "deep a.deep.corp.test 443"},
		{TCP, "corp.test", 443, "no approved resource covers corp.test"},
		{TCP, "xcorp.test", 443, "no approved resource"},
		{TCP, "x.corp.test", 0, "port 0"},
		{TCP, "laptop.causeway.internal", 3000, "laptop localhost 3000"},
		{TCP, "localhost", 3000, "does not list tcp port 3000"},
		{TCP, "localhost", 5037, "own localhost 5037"},
		{TCP, "LOCALHOST.", 15432, "local db db.corp.test 5432"},
		{UDP, "localhost", 5037, "does not list udp port 5037"},
		{TCP, "127.0.0.1", 5037, "no approved resource"},
		{TCP, "::1", 5037, "no approved resource"},
		{TCP, "db.corp.test", 15432, "corp db.corp.test 15432"},
		{TCP, "127.0.0.1", 3000, "no approved resource"},
		{TCP, "printer.causeway.internal", 80, "printer 10.1.2.9 8080"},
		{TCP, "new.test", 80, "renamed old.test 80"},
		{TCP, "old.test", 80, "no approved resource"},
		{TCP, "10.1.2.3", 80, "one 10.1.2.3 80"},
		{TCP, "::ffff:10.1.2.3", 80, "one 10.1.2.3 80"},
		{TCP, "10.1.2.3", 81, "net16 10.1.2.3 81"},
		{TCP, "10.1.2.4", 80, "net16 10.1.2.4 80"},
		{TCP, "10.1.2.4", 82, "net8 10.1.2.4 82"},
		{TCP, "10.2.0.1", 80, "net8 10.2.0.1 80"},
		{UDP, "10.2.0.1", 80, `resource "net8" does not list udp port 80`},
		{TCP, "10.2.0.1", 83, `resource "net8" does not list tcp port 83`},
		{TCP, "11.0.0.1", 80, "no approved resource"},
		{TCP, "fd12::1", 80, "six fd12::1 80"},
		{TCP, "fe80::1%eth0", 80, "zone"},
		{TCP, "[fd12::1]", 80, "brackets"},
		{TCP, "BÜCHER.example", 80, "idn xn--bcher-kva.example 80"},
		{TCP, "xn--bcher-kva.example", 80, "idn xn--bcher-kva.example 80"},
		{TCP, "*.corp.test", 80, "cannot contain"},
		{TCP, "10.1.2.3.", 80, "neither"},
		{TCP, "10.66307", 80, "neither"},
		{TCP, "0xa.1.2.3", 80, "neither"},
		{TCP, "", 80, "empty"},
	} {
		var got string
		m, err := set.Match(c.network, c.host, c.port)
		if err != nil {
			got = err.Error()
		} else {
			host := m.Name
			if m.Addr.IsValid() {
				host += m.Addr.String()
			}
			got = m.Resource.Name + " " + host + " " + Ports{First: m.Port, Last: m.Port}.String()
		}
		if err == nil && got != c.want || err != nil && !strings.Contains(got, c.want) {
			t.Errorf("%s %s %d: %s, want %s", c.network, c.host, c.port, got, c.want)
		}
	}
}

func TestNamed(t *testing.T) {
	set := NewSet(mustParse(t, setSource))
	for host, want := range map[string][]string{
		"db.corp.test": {"db", "corp"}, "laptop.causeway.internal": {"laptop"}, "localhost": nil, "10.1.2.3": {"one", "net16", "net8"},
	} {
		matches, err := set.Named(host)
		var got []string
		for _, m := range matches {
			got = append(got, m.Resource.Name)
		}
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Error(host, d, err)
		}
	}
	if m, err := new(Set).Match(TCP, "a.test", 1); err == nil {
		t.Errorf("the zero set matches %v", m)
	}
}

func TestDifferencesAndWithin(t *testing.T) {
	base := `{"name": "n", "host": "a.test", "ports": [80, 81, "100-200", "15432:5432"], "protocols": ["tcp", "udp"]}`
	restricted := `{"name": "n", "host": "a.test", "ports": [80], "addresses": ["10.0.0.0/8", "fd00::/8"]}`
	listed := `{"name": "n", "host": "a.test", "ports": [80], "addresses": ["127.0.0.0/8", "127.0.0.1"]}`
	programs := `{"name": "n", "host": "a.test", "ports": [80], "programs": ["node", "psql"]}`
	for _, c := range []struct {
		was, is string
		fields  string
		within  bool
	}{
		{base, base, "", true},
		{base, `{"name": "n", "host": "a.test", "ports": ["80-81"], "protocols": ["udp"]}`, "ports protocols", true},
		{base, `{"name": "n", "host": "a.test", "ports": ["80-82"]}`, "ports protocols", false},
		{base, `{"name": "n", "host": "a.test", "ports": ["15432:5432", "150-151"]}`, "ports protocols", true},
		{base, `{"name": "n", "host": "a.test", "ports": [5432]}`, "ports protocols", false},
		{base, `{"name": "n", "host": "a.test", "ports": ["15432:5433"]}`, "ports protocols", false},
		{base, `{"name": "n", "host": "a.test", "ports": [80], "as": "b.test"}`, "ports protocols as", false},
		{base, `{"name": "n", "host": "b.test", "ports": [80]}`, "host ports protocols", false},
		{base, restricted, "ports protocols addresses", true},
		{restricted, `{"name": "n", "host": "a.test", "ports": [80]}`, "addresses", false},
		{restricted, `{"name": "n", "host": "a.test", "ports": [80], "addresses": ["10.9.0.0/16"]}`, "addresses", true},
		{restricted, `{"name": "n", "host": "a.test", "ports": [80], "addresses": ["0.0.0.0/0"]}`, "addresses", false},
		{restricted, `{"name": "n", "host": "a.test", "ports": [80], "addresses": ["10.0.0.0/8", "11.0.0.0/8"]}`, "addresses", false},
		// An address that is listed as such may be one of this machine: it is no part of a range.
		{base, `{"name": "n", "host": "a.test", "ports": [80], "addresses": ["127.0.0.1"]}`, "ports protocols addresses", false},
		{restricted, `{"name": "n", "host": "a.test", "ports": [80], "addresses": ["10.0.0.7"]}`, "addresses", false},
		{listed, `{"name": "n", "host": "a.test", "ports": [80], "addresses": ["127.0.0.1"]}`, "addresses", true},
		{listed, `{"name": "n", "host": "a.test", "ports": [80], "addresses": ["127.0.0.2"]}`, "addresses", false},
		{base, `{"name": "n", "host": "a.test", "ports": ["80-81"], "programs": ["psql"]}`, "ports protocols programs", true},
		{programs, `{"name": "n", "host": "a.test", "ports": [80], "programs": ["psql"]}`, "programs", true},
		{programs, `{"name": "n", "host": "a.test", "ports": [80], "programs": ["psql", "curl"]}`, "programs", false},
		{programs, `{"name": "n", "host": "a.test", "ports": [80]}`, "programs", false},
		{restricted, strings.Replace(restricted, "80]", `80], "description": "x"`, 1), "description", false},
		{restricted, strings.Replace(restricted, `"n"`, `"m"`, 1), "name", false},
	} {
		was, is := mustParse(t, "["+c.was+"]")[0], mustParse(t, "["+c.is+"]")[0]
		var fields []string
		for _, d := range Differences(was, is) {
			fields = append(fields, d.Field)
		}
		if got := strings.Join(fields, " "); got != c.fields {
			t.Errorf("%s -> %s: fields %q, want %q", c.was, c.is, got, c.fields)
		}
		if got := is.Within(was); got != c.within {
			t.Errorf("%s -> %s: within is %v", c.was, c.is, got)
		}
	}
	d := Differences(mustParse(t, "["+restricted+"]")[0], mustParse(t, "["+strings.Replace(restricted, "80]", `80, "90-99"]`, 1)+"]")[0])
	if diff := cmp.Diff([]Difference{{"ports", "80", "80, 90-99"}}, d); diff != "" {
		t.Error(diff)
	}
}

func TestRemoteName(t *testing.T) {
	for _, r := range []Resource{
		{Host: nethost.Pattern{Kind: nethost.Name, Name: "localhost"}},
		{Host: nethost.Pattern{Kind: nethost.Wildcard, Name: "a.test"}},
		{Host: nethost.Pattern{Kind: nethost.Address, Prefix: netip.MustParsePrefix("10.0.0.1/32")}},
	} {
		if r.RemoteName() != "" {
			t.Errorf("%v has the remote name %q", r.Host, r.RemoteName())
		}
	}
}

func BenchmarkMatchExact(b *testing.B) {
	var src strings.Builder
	src.WriteString("[")
	for i := range MaxResources {
		src.WriteString(`{"host": "h` + Ports{First: uint16(i), Last: uint16(i)}.String() + `.corp.test", "ports": [443]},`)
	}
	src.WriteString("]")
	set := NewSet(mustParse(b, src.String()))
	for b.Loop() {
		if _, err := set.Match(TCP, "h999.corp.test", 443); err != nil {
			b.Fatal(err)
		}
	}
}
