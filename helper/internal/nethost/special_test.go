package nethost

import (
	"net/netip"
	"testing"
)

// The classes of addresses are tested with the gateway's policy, which they serve.
func FuzzEmbedded(f *testing.F) {
	for _, a := range []string{
		"::", "::1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1:7f00:0:100::", "64:ff9b:1::", "2002:7f00:1::1",
		"2001:0:808:808:0:0:80ff:fffe", "2001:db8::200:5efe:169.254.169.254", "fd00:ec2::254", "fe80::1", "::ffff:10.0.0.1",
	} {
		b := netip.MustParseAddr(a).As16()
		f.Add(b[:])
	}
	own := []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("::1/128")}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 16 {
			return
		}
		a := netip.AddrFrom16([16]byte(b)).Unmap()
		for _, inner := range Embedded(a) {
			if !inner.Is4() {
				t.Fatalf("%s holds %s", a, inner)
			}
		}
		if class := SpecialClass(a, own); class == "" && IsLocal(a, own) {
			t.Fatalf("%s is of this machine and of no class", a)
		}
	})
}
