package tun

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
)

// Ports of a name that no resource lists go where they went before: this machine
// itself connects. A port that nobody serves there is refused.
func TestUnlistedPorts(t *testing.T) {
	r := newRig(t)
	near, far := net.Pipe()
	asked := make(chan string, 10)
	r.engine.o.Beside = func(_ context.Context, network, name string, port uint16) (net.Conn, error) {
		asked <- network + " " + name
		if port != 80 {
			return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		}
		return far, nil
	}
	c, ok := (<-r.dialling(netip.AddrPortFrom(synthetic.Addr(), 80))).(net.Conn)
	if !ok {
		t.Fatal("not connected")
	}
	defer c.Close()
	if got := <-asked; got != "tcp db.test" {
		t.Errorf("asked for %s", got)
	}
	for _, way := range [][2]net.Conn{{c, near}, {near, c}} {
		go func() { _, _ = way[0].Write([]byte("hello")) }()
		b := make([]byte, 5)
		if _, err := io.ReadFull(way[1], b); err != nil || string(b) != "hello" {
			t.Errorf("%q %v", b, err)
		}
	}
	_ = near.Close()
	if err, ok := (<-r.dialling(netip.AddrPortFrom(synthetic.Addr(), 81))).(error); !ok {
		t.Error("a port that nobody serves is connected")
	} else if netErr := (net.Error)(nil); errors.As(err, &netErr) && netErr.Timeout() {
		t.Error(err)
	}
	<-asked

	// Ports of addresses, and other users, have no such way.
	r.refuseAll(owner.ErrStranger)
	for _, to := range []netip.AddrPort{netip.AddrPortFrom(synthetic.Addr(), 80), netip.AddrPortFrom(server.Addr(), 81)} {
		if _, ok := (<-r.dialling(to)).(error); !ok {
			t.Errorf("%s is connected", to)
		}
	}
	if len(asked) > 0 {
		t.Errorf("asked for %s", <-asked)
	}
	if r.gateway.Flows() != 0 {
		t.Error("the gateway was asked")
	}
}
