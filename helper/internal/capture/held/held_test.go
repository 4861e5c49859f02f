package held

import (
	"net/netip"
	"testing"
)

func TestRefusalCheck(t *testing.T) {
	good := Refusal{Client: netip.MustParseAddrPort("127.0.0.1:40000"), Server: netip.MustParseAddrPort("127.5.5.5:80"), Why: Refused}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Refusal){
		"a client elsewhere":        func(r *Refusal) { r.Client = netip.MustParseAddrPort("10.0.0.1:40000") },
		"a client without a port":   func(r *Refusal) { r.Client = netip.MustParseAddrPort("127.0.0.1:0") },
		"a client of IPv6":          func(r *Refusal) { r.Client = netip.MustParseAddrPort("[::1]:40000") },
		"no client":                 func(r *Refusal) { r.Client = netip.AddrPort{} },
		"a server of the machine's": func(r *Refusal) { r.Server = netip.MustParseAddrPort("127.0.0.1:80") },
		"a server elsewhere":        func(r *Refusal) { r.Server = netip.MustParseAddrPort("10.0.0.1:80") },
		"a server without a port":   func(r *Refusal) { r.Server = netip.MustParseAddrPort("127.5.5.5:0") },
		"no server":                 func(r *Refusal) { r.Server = netip.AddrPort{} },
		"no reason":                 func(r *Refusal) { r.Why = "" },
		"an unknown reason":         func(r *Refusal) { r.Why = "tired" },
	} {
		bad := good
		change(&bad)
		if bad.Check() == nil {
			t.Errorf("%s passes", name)
		}
	}
}

// FuzzParseSYN wants what is read to be a refusal that may be sent.
func FuzzParseSYN(f *testing.F) {
	good := Refusal{Client: netip.MustParseAddrPort("127.0.0.1:40000"), Server: netip.MustParseAddrPort("127.5.5.5:80"), Why: Refused}
	back := Refusal{Client: good.Server, Server: netip.MustParseAddrPort("127.1.2.3:40000"), Seq: 1, Why: Refused}
	syn := back.packet() // its flags make it none
	f.Add(syn)
	syn = append([]byte(nil), syn...)
	syn[ipHeader+13] = flagSYN
	f.Add(syn)
	f.Add(syn[:ipHeader])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseSYN(b)
		if err == nil && (r.Check() != nil || len(r.packet()) != ipHeader+tcpHeader) {
			t.Errorf("%+v", r)
		}
	})
}
