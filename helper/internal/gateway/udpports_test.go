package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// socket is a UDP socket at an address of this machine.
func socket(t *testing.T, address string) *net.UDPConn {
	t.Helper()
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	_ = u.SetDeadline(time.Now().Add(10 * time.Second))
	return u
}

func portOf(u *net.UDPConn) uint16 { return u.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// A TFTP server answers each request from a port of its own, to which the client then
// sends. Other hosts, and other ports before they have sent something, have no part in
// it.
func TestUDPAnswersFromOtherPorts(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			target, other, third := socket(t, address), socket(t, address), socket(t, address)
			r := newRig(t, Options{}, fmt.Sprintf(`[{"host": %q, "ports": [%d], "protocols": ["udp"], "as": "tftp.test"}]`, address, portOf(target)))
			st := r.open(tunnel.UDP, "tftp.test", portOf(target), "")
			_ = st.SetDeadline(time.Now().Add(10 * time.Second))
			read := func(want string, port uint16) {
				t.Helper()
				c, err := st.ReadChunk()
				if err != nil {
					t.Fatal(err)
				}
				defer c.Release()
				if string(c.Bytes()) != want || c.Port != port {
					t.Fatalf("the program reads %q from port %d, want %q from port %d", c.Bytes(), c.Port, want, port)
				}
			}
			hears := func(u *net.UDPConn, want string) netip.AddrPort {
				t.Helper()
				b := make([]byte, 100)
				n, from, err := u.ReadFromUDPAddrPort(b)
				if err != nil || string(b[:n]) != want {
					t.Fatalf("%v hears %q, %v; want %q", u.LocalAddr(), b[:n], err, want)
				}
				return from
			}
			_, _ = st.Write([]byte("request"))
			gateway := hears(target, "request")
			if address == "127.0.0.1" {
				_, _ = socket(t, "127.0.0.2").WriteToUDPAddrPort([]byte("forged"), gateway)
			}
			_, _ = other.WriteToUDPAddrPort([]byte("block"), gateway)
			read("block", portOf(other))
			_, _ = target.WriteToUDPAddrPort([]byte("own"), gateway)
			read("own", 0)
			_ = st.WriteToPort([]byte("too early"), portOf(third))
			_ = st.WriteToPort([]byte("ack"), portOf(other))
			if from := hears(other, "ack"); from != gateway {
				t.Errorf("the ack comes from %s, the request came from %s", from, gateway)
			}
			_, _ = third.WriteToUDPAddrPort([]byte("hello"), gateway)
			read("hello", portOf(third))
			_ = st.WriteToPort([]byte("now"), portOf(third))
			hears(third, "now")
		})
	}
}

// More UDP exchanges begin at once than dials may: each gets its answer.
func TestUDPExchangesAreNotDials(t *testing.T) {
	target := socket(t, "127.0.0.1")
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := target.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = target.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	r := newRig(t, Options{DialRate: 20}, fmt.Sprintf(`[{"host": "127.0.0.1", "ports": [%d], "protocols": ["udp"], "as": "dns.test"}]`, portOf(target)))
	var open []*tunnel.Stream
	for range 150 {
		st := r.open(tunnel.UDP, "dns.test", portOf(target), "")
		_ = st.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = st.Write([]byte("question"))
		open = append(open, st)
	}
	for i, st := range open {
		b := make([]byte, 20)
		if n, err := st.Read(b); err != nil || string(b[:n]) != "question" {
			t.Fatalf("exchange %d: %q, %v", i, b[:n], err)
		}
	}
}

// The look-ups of UDP exchanges count as those of others, the exchanges with a known
// address do not.
func TestUDPLookupsAreDials(t *testing.T) {
	target := socket(t, "127.0.0.1")
	names := &dialtest.Names{Answers: map[string][]any{}}
	r := newRig(t, Options{DialRate: 1, Dial: dial.Options{Resolver: names}}, fmt.Sprintf(
		`[{"host": "*.corp.test", "ports": [53], "protocols": ["udp"]}, {"host": "127.0.0.1", "ports": [%d], "protocols": ["udp"], "as": "dns.test"}]`, portOf(target)))
	var open []*tunnel.Stream
	for i := range 6 { // the rate lets 8 exchanges begin at once, and 2 dials
		open = append(open, r.open(tunnel.UDP, fmt.Sprintf("h%d.corp.test", i), 53, ""))
	}
	_, _ = r.open(tunnel.UDP, "dns.test", portOf(target), "").Write([]byte("question"))
	_ = target.SetDeadline(time.Now().Add(time.Second)) // before a turn can come late
	if _, err := target.Read(make([]byte, 20)); err != nil {
		t.Error(err)
	}
	overloaded := 0
	for _, st := range open {
		_, err := st.Answer(t.Context())
		if e, ok := errors.AsType[*tunnel.Error](err); ok && e.Code == tunnel.Overloaded {
			overloaded++
		}
	}
	if overloaded < 1 || len(names.Asked) > 5 {
		t.Errorf("%d exchanges are overloaded, asked for %q", overloaded, names.Asked)
	}
}
