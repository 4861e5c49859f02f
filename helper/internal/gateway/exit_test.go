package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
)

// apart is an exit with records of its own, which echoes what it dials.
type apart struct {
	fakeRecords
	dialling sync.Mutex
	names    []string // dialled
}

func (*apart) LookupNetIP(context.Context, string) ([]netip.Addr, error) {
	return nil, errors.New("nobody should ask")
}

func (a *apart) Dial(_ context.Context, network, address string) (net.Conn, error) {
	a.dialling.Lock()
	a.names = append(a.names, network+" "+address)
	a.dialling.Unlock()
	if strings.HasPrefix(address, "closed.") {
		return nil, &tunnel.Error{Code: tunnel.Refused, Reason: "the proxy says no"}
	}
	c, far := net.Pipe()
	go func() { _, _ = io.Copy(far, far); _ = far.Close() }()
	return c, nil
}

// TestExitsAnswerForThemselves: the records of a resource are those that its exit
// has, judged like any, and kept apart from those of others.
func TestExitsAnswerForThemselves(t *testing.T) {
	here := &fakeRecords{records: "web.corp.test. 60 A 10.0.0.1\nweb.corp.test. 60 TXT \"here\""}
	there := &apart{fakeRecords: fakeRecords{records: `
web.corp.test.   60 A    10.9.9.9
web.corp.test.   60 TXT  "there"
lie.corp.test.   60 A    127.0.0.1
meta.corp.test.  60 A    169.254.169.254
hint.corp.test.  60 HTTPS 1 . alpn="h2" ipv4hint="10.0.0.1"
1.0.8.10.in-addr.arpa. 60 PTR far.corp.test.
`}}
	r := newRig(t, Options{Dial: dial.Options{Records: here}}, `[{"host": "web.corp.test", "ports": [80]}]`)
	if got := r.question("web.corp.test", dns.TypeTXT); !strings.HasSuffix(got, `"here"`) {
		t.Fatal(got)
	}
	r.g.SetExits(map[string]dial.Exit{"office": there})
	r.approve(`[{"host": "*.corp.test", "ports": [80], "exit": "office"}, {"host": "10.8.0.1", "ports": [80], "exit": "office"},
		{"host": "a.else.test", "ports": [80], "exit": "gone"}]`)
	for _, c := range []struct {
		host  string
		qtype uint16
		want  string
	}{
		{"web.corp.test", dns.TypeTXT, `NOERROR|web.corp.test. 60 IN TXT "there"`},
		{"web.corp.test", dns.TypeA, "NOERROR|web.corp.test. 60 IN A 10.9.9.9"},
		{"web.corp.test", dns.TypeMX, "NOERROR"},
		{"web.corp.test", dns.TypeANY, `NOERROR|web.corp.test. 60 IN HINFO "RFC8482" ""`},
		{"hint.corp.test", dns.TypeHTTPS, `NOERROR|hint.corp.test. 60 IN HTTPS 1 . alpn="h2"`},
		{"gone.corp.test", dns.TypeTXT, "NXDOMAIN"},
		{"refused.corp.test", dns.TypeTXT, "REFUSED"},
		{"silent.corp.test", dns.TypeTXT, "name look-up failed"},
		{"lie.corp.test", dns.TypeA, "denied"},
		{"meta.corp.test", dns.TypeA, "denied"},
		{"1.0.8.10.in-addr.arpa", dns.TypePTR, "NOERROR|1.0.8.10.in-addr.arpa. 60 IN PTR far.corp.test."},
		{"a.else.test", dns.TypeTXT, "denied"},
	} {
		if got := r.question(c.host, c.qtype); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.host, dns.Type(c.qtype), got, c.want)
		}
	}
	if len(here.asked) != 1 {
		t.Errorf("this machine was asked for %v", here.asked)
	}
	// Another exit of that name has other records.
	r.g.SetExits(nil)
	r.g.SetExits(map[string]dial.Exit{"office": &apart{fakeRecords: fakeRecords{records: `web.corp.test. 60 TXT "elsewhere"`}}})
	if got := r.question("web.corp.test", dns.TypeTXT); !strings.HasSuffix(got, `"elsewhere"`) {
		t.Error(got)
	}
}

// TestExitResolves is a resource whose names its exit resolves: they are dialled
// as such, exist as far as anybody here knows, and are looked up nowhere.
func TestExitResolves(t *testing.T) {
	here := &fakeRecords{}
	jump := new(apart)
	r := newRig(t, Options{Dial: dial.Options{Records: here, Resolver: failing{t}}}, `[{"host": "*.corp.test", "ports": [80], "exit": "jump", "resolve": "exit"},
		{"host": "db.far.test", "as": "db.test", "ports": ["90:91"], "exit": "jump", "resolve": "exit"}]`)
	r.g.SetExits(map[string]dial.Exit{"jump": jump})
	st := r.open(tunnel.TCP, "WEB.corp.test.", 80, "hello")
	if _, err := st.Answer(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(st, b); err != nil || string(b) != "hello" {
		t.Fatal(string(b), err)
	}
	if code, reason := r.code(tunnel.TCP, "closed.corp.test", 80); code != tunnel.Refused || reason != "the proxy says no" {
		t.Error(code, reason)
	}
	if code, _ := r.code(tunnel.TCP, "db.test", 90); code != tunnel.Connected {
		t.Error(code)
	}
	for _, target := range []string{"web.corp.test:81", "corp.test:80", "10.0.0.1:80"} {
		host, port, _ := net.SplitHostPort(target)
		n, _ := strconv.Atoi(port)
		if code, _ := r.code(tunnel.TCP, host, uint16(n)); code != tunnel.Denied {
			t.Errorf("%s: %v", target, code)
		}
	}
	if code, reason := r.code(tunnel.Lookup, "web.corp.test", 0); code != tunnel.ResolveFailed {
		t.Errorf("look-up: %v %s", code, reason)
	}
	if got := fmt.Sprint(jump.names); got != "[tcp web.corp.test:80 tcp closed.corp.test:80 tcp db.far.test:91]" {
		t.Errorf("dialled %s", got)
	}
	for qtype, want := range map[uint16]string{
		dns.TypeA: "NOERROR|web.corp.test. 30 IN A 192.0.2.1", dns.TypeAAAA: "NOERROR", dns.TypeTXT: "NOTIMP", dns.TypeHTTPS: "NOTIMP",
		dns.TypeANY: `NOERROR|web.corp.test. 30 IN HINFO "RFC8482" ""`,
	} {
		if got := r.question("web.corp.test", qtype); got != want {
			t.Errorf("%s: %s, want %s", dns.Type(qtype), got, want)
		}
	}
	steps := r.g.Test(t.Context(), "db.test", 0)
	if last := steps[len(steps)-1]; !last.OK || last.Detail != "connected to db.far.test:91" || !strings.Contains(steps[1].Detail, "not judged") {
		t.Errorf("%+v", steps)
	}
	if len(here.asked)+len(jump.asked) > 0 {
		t.Errorf("asked for %v %v", here.asked, jump.asked)
	}
	// What is open ends when who resolves changes.
	r.approve(`[{"host": "*.corp.test", "ports": [80], "exit": "jump"}]`)
	if _, err := io.ReadAll(st); err == nil || netTimeout(err) {
		t.Errorf("a flow outlived its approval: %v", err)
	}
}

type failing struct{ t *testing.T }

func (f failing) LookupNetIP(_ context.Context, name string) ([]netip.Addr, error) {
	f.t.Errorf("this machine was asked for %s", name)
	return nil, errors.New("not to be asked")
}
