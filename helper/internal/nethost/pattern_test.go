package nethost

import (
	"slices"
	"testing"
)

func TestPattern(t *testing.T) {
	for in, want := range map[string]Kind{
		"A.test.": Name, "localhost": Name, "*.corp.test": Wildcard, "10.1.2.3": Address, "10.1.2.3/32": Address, "::1/128": Address,
		"10.0.0.0/8": Prefix, "::ffff:10.0.0.0/104": Prefix, "0.0.0.0/0": Prefix,
	} {
		p, err := ParsePattern(in)
		if err != nil || p.Kind != want {
			t.Errorf("%s: %+v, %v", in, p, err)
			continue
		}
		if again, err := ParsePattern(p.String()); again != p || err != nil {
			t.Errorf("%s: %q reads as %+v, %v", in, p, again, err)
		}
	}
	for _, in := range []string{"", "*", "*.", "*.*.a", "a.*", "*.10.0.0.1", "*.localhost", "http://a", "a:80", "10.0.0.1/8", "::ffff:0:0/64", "a/8", "10.0.0.0/33"} {
		if p, err := ParsePattern(in); err == nil {
			t.Errorf("%q: %+v", in, p)
		}
	}
}

// TestIndexAgreesWithCovers holds the index against the definition of each pattern.
func TestIndexAgreesWithCovers(t *testing.T) {
	patterns := []string{
		"0.0.0.0/0", "*.test", "10.0.0.0/8", "a.b.test", "10.0.0.1", "*.b.test", "10.0.0.0/24", "::/0", "fd00::/8", "fd00::1", "b.test", "a.b.test",
	}
	var x Index[string]
	var list []Pattern
	for _, s := range patterns {
		p, err := ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
		x.Add(p, s)
	}
	for host, want := range map[string][]string{
		"a.b.test": {"a.b.test", "a.b.test", "*.b.test", "*.test"}, "x.y.b.test": {"*.b.test", "*.test"}, "b.test": {"b.test", "*.test"}, "test": nil,
		"10.0.0.1": {"10.0.0.1", "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0"}, "11.0.0.1": {"0.0.0.0/0"},
		"fd00::1": {"fd00::1", "fd00::/8", "::/0"}, "::ffff:10.0.0.9": {"10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0"}, "xb.test": {"*.test"},
	} {
		h, err := Parse(host)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Collect(x.Covering(h))
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
		for i, p := range list {
			if p.Covers(h) != slices.Contains(got, patterns[i]) {
				t.Errorf("%s: %s covers it: %v", host, p, p.Covers(h))
			}
		}
	}
	for range new(Index[int]).Covering(Host{Name: "a.test"}) {
		t.Error("the zero index covers a host")
	}
}
