package handover

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

func FuzzRequest(f *testing.F) {
	f.Add(appendRequest(nil, Request{tunnel.TCP, netip.MustParseAddrPort("10.0.0.1:80"), 1, "psql"}))
	f.Add(appendRequest(nil, Request{tunnel.UDP, netip.MustParseAddrPort("[fd00::1]:53"), 1, ""}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if err != nil {
			return
		}
		again, err := parseRequest(appendRequest(nil, Request{r.Network, r.Target, r.PID, ""}))
		if r.Program = ""; err != nil || again != r {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(appendAnswer(nil, tunnel.Refused, "no"))
	f.Add(appendAnswer(nil, tunnel.Connected, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := parseAnswer(b)
		var e *tunnel.Error
		if errors.As(err, &e) && e.Code == tunnel.Connected {
			t.Fatal("a failure that is connected")
		}
	})
}
