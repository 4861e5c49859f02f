package hostnet

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func entries(names ...string) []Entry {
	var all []Entry
	for i, n := range names {
		all = append(all, Entry{netip.AddrFrom4([4]byte{127, 9, 8, byte(i + 1)}), []string{n}})
	}
	return all
}

const one = "# BEGIN causeway 7-70\n127.9.8.1\tdb.test\t# causeway\n# END causeway 7-70\n"

func TestEdit(t *testing.T) {
	oneJoined := strings.Replace(one, "7-70\n", "7-70 +newline\n", 1)
	two := strings.ReplaceAll(one, "7-70", "8-80")
	for _, tc := range []struct {
		name, before string
		entries      []Entry
		want         string
	}{
		{"append", "127.0.0.1 localhost\n", entries("db.test"), "127.0.0.1 localhost\n" + one},
		{"empty file", "", entries("db.test"), one},
		{"crlf stays", "127.0.0.1 localhost\r\n", entries("db.test"), "127.0.0.1 localhost\r\n" + one},
		{"no newline at the end", "127.0.0.1 localhost", entries("db.test"), "127.0.0.1 localhost\n" + oneJoined},
		{"no newline at the end, removed", "127.0.0.1 localhost\n" + oneJoined, nil, "127.0.0.1 localhost"},
		{"others wrote after it", "a\n" + oneJoined + "b\n", nil, "a\nb\n"},
		{"replace in place", "a\n" + one + "b\n", entries("db.test", "x.test"),
			"a\n# BEGIN causeway 7-70\n127.9.8.1\tdb.test\t# causeway\n127.9.8.2\tx.test\t# causeway\n# END causeway 7-70\nb\n"},
		{"replace what was joined", "a\n" + oneJoined + two, entries("db.test"), "a\n" + oneJoined + two},
		{"remove", "a\n" + one + "b\n", nil, "a\nb\n"},
		{"remove one of two", "a\n" + two + one, nil, "a\n" + two},
		{"twice ours", one + "a\n" + one, nil, "a\n"},
		{"nothing of ours", "a\n" + two, nil, "a\n" + two},
		{"crlf block", strings.ReplaceAll(one, "\n", "\r\n") + "a\n", nil, "a\n"},
		{"no end", "# BEGIN causeway 7-70\n127.9.8.1\tdb.test\t# causeway\n10.0.0.1 other\n", nil,
			"# BEGIN causeway 7-70\n127.9.8.1\tdb.test\t# causeway\n10.0.0.1 other\n"},
		{"no begin", "10.0.0.1 other\n# END causeway 7-70\n", nil, "10.0.0.1 other\n# END causeway 7-70\n"},
		{"other end", "# BEGIN causeway 7-70\n10.0.0.1 other\n# END causeway 8-80\n# END causeway 7-70\n", nil,
			"# BEGIN causeway 7-70\n10.0.0.1 other\n# END causeway 8-80\n# END causeway 7-70\n"},
		{"begin twice", "# BEGIN causeway 7-70\n10.0.0.1 other\n" + one, nil, "# BEGIN causeway 7-70\n10.0.0.1 other\n"},
		{"a stranger's line in our block", "# BEGIN causeway 7-70\n127.9.8.1\tdb.test\t# causeway\n10.0.0.1 other\n# END causeway 7-70\n", nil,
			"10.0.0.1 other\n"},
		{"addresses that lead to a device", "# BEGIN causeway 7-70\n198.19.240.9\tdb.test\t# causeway\nfdc5:7a0e:93d1:13f0::9\tdb.test\t# causeway\n" +
			"198.51.100.7\tdb.test\t# causeway\n# END causeway 7-70\n", nil, "198.51.100.7\tdb.test\t# causeway\n"},
		{"a line with the name", "127.0.0.1 localhost\n10.0.0.5\tother DB.test # mine\nb\n", entries("db.test"),
			"127.0.0.1 localhost\n" + one + "10.0.0.5\tother DB.test # mine\nb\n"},
		{"the line goes on after us", "127.0.0.1 localhost\n" + one + "10.0.0.5\tother DB.test # mine\nb\n", nil,
			"127.0.0.1 localhost\n10.0.0.5\tother DB.test # mine\nb\n"},
		{"a line that comes before our block", "10.0.0.5 db.test\na\n" + one, entries("db.test"), one + "10.0.0.5 db.test\na\n"},
		{"a line in another block", "a\n" + strings.Replace(two, "# END", "10.0.0.5 db.test\n# END", 1) + one, entries("db.test"),
			"a\n" + one + strings.Replace(two, "# END", "10.0.0.5 db.test\n# END", 1)},
		{"another block with the name", "a\n" + two, entries("db.test"), "a\n" + two + one},
		{"a comment with the name", "# 10.0.0.5 db.test\n10.0.0.5 # db.test\n", entries("db.test"), "# 10.0.0.5 db.test\n10.0.0.5 # db.test\n" + one},
		{"a mark that is none", "# BEGIN causeway of war\n10.0.0.1 other\n# END causeway of war\n", nil,
			"# BEGIN causeway of war\n10.0.0.1 other\n# END causeway of war\n"},
	} {
		if d := cmp.Diff(tc.want, string(Edit([]byte(tc.before), tc.entries, "7-70"))); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
	}
}

func TestClean(t *testing.T) {
	two := strings.ReplaceAll(one, "7-70", "8-80")
	got := Clean([]byte("a\n"+one+"b\n"+two+"c"), func(id string) bool { return id == "8-80" })
	if d := cmp.Diff("a\nb\n"+two+"c", string(got)); d != "" {
		t.Error(d)
	}
}

// Whatever the file holds, our block comes and goes without a trace, and
// editing twice changes nothing more.
func FuzzEdit(f *testing.F) {
	for _, seed := range []string{"", "a", "a\r\n", one, one + one, "x\n" + one + "y", "# BEGIN causeway 7-70", "# END causeway 7-70\n",
		"10.0.0.1 db.test a.test\n", "x\n10.0.0.1 a.test b.test\n" + one + "y", "x\n10.0.0.1 x0.test"} {
		f.Add([]byte(seed), uint8(2))
	}
	f.Fuzz(func(t *testing.T, content []byte, n uint8) {
		const id = "7-70"
		if bytes.Contains(content, []byte(endMark)) {
			content = Edit(content, nil, id)
			if again := Edit(content, nil, id); !bytes.Equal(again, content) {
				content = again
			}
		}
		set := entries("a.test", "b.test", "c.test", "d.test")[:n%4+1]
		with := Edit(content, set, id)
		if again := Edit(with, set, id); !bytes.Equal(again, with) {
			t.Errorf("not idempotent:\n%q\n%q", with, again)
		}
		if without := Edit(with, nil, id); !bytes.Equal(without, content) {
			t.Errorf("left a trace:\n%q\n%q", content, without)
		}
	})
}

func TestCheck(t *testing.T) {
	good := netip.MustParseAddr("127.1.2.3")
	for _, tc := range []struct {
		entry Entry
		ok    bool
	}{
		{Entry{good, []string{"orders-db.corp.test"}}, true},
		{Entry{good, []string{"Orders-DB.corp.test", "a_b.test", "db"}}, true},
		{Entry{netip.MustParseAddr("10.0.0.1"), []string{"db.test"}}, false},
		{Entry{netip.MustParseAddr("::1"), []string{"db.test"}}, false},
		{Entry{netip.MustParseAddr("::ffff:127.0.0.1"), []string{"db.test"}}, false},
		{Entry{netip.Addr{}, []string{"db.test"}}, false},
		{Entry{good, nil}, false},
		{Entry{good, make([]string, maxNames+1)}, false},
		{Entry{good, []string{"localhost"}}, false},
		{Entry{good, []string{"LOCALHOST"}}, false},
		{Entry{good, []string{"a.localhost"}}, false},
		{Entry{good, []string{"localhost.localdomain"}}, false},
		{Entry{good, []string{"localhost.corp.test"}}, false},
		{Entry{good, []string{"ip6-localhost"}}, false},
		{Entry{good, []string{"10.0.0.1"}}, false},
		{Entry{good, []string{"a.0x7f"}}, false},
		{Entry{good, []string{"db.test."}}, false},
		{Entry{good, []string{"db..test"}}, false},
		{Entry{good, []string{"db\n10.0.0.1 evil"}}, false},
		{Entry{good, []string{"db evil"}}, false},
		{Entry{good, []string{"db#"}}, false},
		{Entry{good, []string{"-db.test"}}, false},
		{Entry{good, []string{"*.test"}}, false},
		{Entry{good, []string{"bücher.test"}}, false},
		{Entry{good, []string{strings.Repeat("a", 64) + ".test"}}, false},
		{Entry{good, []string{strings.Repeat("a.", 130) + "test"}}, false},
	} {
		if err := check([]Entry{tc.entry}); (err == nil) != tc.ok {
			t.Errorf("%v %q: %v", tc.entry.Address, tc.entry.Names, err)
		}
	}
	if err := check(make([]Entry, MaxEntries+1)); err == nil {
		t.Error("too many entries are allowed")
	}
	for _, name := range []string{"box.corp.test", "box"} {
		if checkName(name, "box.corp.test") == nil {
			t.Errorf("the machine's own name %q is allowed", name)
		}
	}
}
