package hostnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/held"
)

// TestHeldPorts has the subcommand open the packet socket and refuse a SYN. It
// takes CAP_NET_RAW.
func TestHeldPorts(t *testing.T) {
	h, err := Start(t.Context(), options(hostsFile(t, "")))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	at := netip.MustParseAddrPort("127.88.7.6:18080")
	watch, err := h.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := watch.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var family int
	_ = raw.Control(func(fd uintptr) { family, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_DOMAIN) })
	if err != nil || family != syscall.AF_UNIX {
		t.Errorf("the file is a socket of family %d, %v: packets can be sent with it", family, err)
	}
	w := held.NewWatcher(func(r held.Refusal) error { return h.Refuse(context.Background(), r) })
	w.Watch(watch)
	defer w.Close()
	if _, err := w.Hold(at, func(a *held.Attempt) {
		if err := a.Refuse(held.HostUnreach); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	if c, err := d.Dial("tcp4", at.String()); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("refused with %v", err)
		if c != nil {
			_ = c.Close()
		}
	}
	elsewhere := held.Refusal{Client: netip.MustParseAddrPort("10.0.0.1:1"), Server: at, Why: held.Refused}
	if err := h.Refuse(t.Context(), elsewhere); err == nil {
		t.Error("a refusal to another host is sent")
	}
}
