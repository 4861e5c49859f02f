package handover

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var covered10 = netip.MustParsePrefix("10.0.0.0/8")

// start serves in a directory, and returns a client and the gateway's end.
func start(t *testing.T) (*Client, *tunnel.Session) {
	t.Helper()
	dir := t.TempDir()
	capture, gateway := tunneltest.Pair(t)
	s, err := Listen(Options{Gateway: flow.New(flow.Options{Tunnel: capture}), Path: Path(dir, "abc"),
		Covers:   func(_, host string, _ uint16) bool { return covered10.Contains(netip.MustParseAddr(host)) },
		At:       func(a netip.Addr) (string, bool) { return "10.9.9.9", a == netip.MustParseAddr("198.19.240.9") },
		CheckUDP: func(netip.AddrPort, netip.AddrPort) (owner.Owner, error) { return owner.Owner{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &Client{dir}, gateway
}

func ask1(t *testing.T, k *Client, network tunnel.Network, target string) *Offer {
	t.Helper()
	o, err := k.Ask(t.Context(), Request{network, netip.MustParseAddrPort(target), 7, "psql"})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

func TestHandedOver(t *testing.T) {
	k, gateway := start(t)
	if o := ask1(t, k, tunnel.TCP, "192.0.2.1:80"); o != nil {
		t.Fatal("an offer for what is not covered")
	}
	o := ask1(t, k, tunnel.TCP, "10.0.0.1:80")
	st, err := gateway.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if r := st.Request(); r.Target.String() != "tcp 10.0.0.1:80" || r.Origin.Source != "run" || r.Origin.Program != "psql" || r.Origin.PID != 7 {
		t.Errorf("request is %+v", r)
	}
	_ = st.Reply(tunnel.Connected, "")
	if err := o.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	app, ours := pair(t)
	f, err := ours.File()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Hand(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	_, _ = f.Close(), ours.Close()
	_, _ = app.Write([]byte("hello"))
	_ = app.CloseWrite()
	if b, err := io.ReadAll(st); string(b) != "hello" || err != nil {
		t.Errorf("the gateway got %q, %v", b, err)
	}
	_, _ = st.Write([]byte("bye"))
	_ = st.CloseWrite()
	if b, err := io.ReadAll(app); string(b) != "bye" || err != nil {
		t.Errorf("the program got %q, %v", b, err)
	}
	o.Ended()
}

// An address that stands for a name, which an address stands for here.
func TestNamesAddress(t *testing.T) {
	k, gateway := start(t)
	for _, network := range []tunnel.Network{tunnel.TCP, tunnel.UDP} {
		o := ask1(t, k, network, "198.19.240.9:80")
		if o == nil {
			t.Fatal("no offer")
		}
		if network == tunnel.TCP {
			st, err := gateway.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if got := st.Request().Target.String(); got != "tcp 10.9.9.9:80" {
				t.Error(got)
			}
			_ = st.Close()
		}
		_ = o.Close()
	}
}

func TestAnswers(t *testing.T) {
	k, gateway := start(t)
	o := ask1(t, k, tunnel.TCP, "10.0.0.1:80")
	st, _ := gateway.Accept()
	_ = st.Reply(tunnel.Refused, "nobody there")
	var e *tunnel.Error
	if err := o.Wait(t.Context()); !errors.As(err, &e) || e.Code != tunnel.Refused || e.Reason != "nobody there" {
		t.Errorf("Wait gives %v", err)
	}
	_ = o.Close()
}

// TestWithdrawn ends the flow of who goes away, before and after the answer.
func TestWithdrawn(t *testing.T) {
	k, gateway := start(t)
	for _, answered := range []bool{false, true} {
		o := ask1(t, k, tunnel.TCP, "10.0.0.1:80")
		st, err := gateway.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if answered {
			_ = st.Reply(tunnel.Connected, "")
			if err := o.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		_ = o.Close()
		_ = st.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := st.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("answered %v: the flow goes on: %v", answered, err)
		}
		_ = st.Close()
	}
}

func TestDatagrams(t *testing.T) {
	k, gateway := start(t)
	o := ask1(t, k, tunnel.UDP, "10.0.0.1:53")
	if err := o.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	app, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	ours, err := net.DialUDP("udp4", nil, app.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	to := ours.LocalAddr()
	f, _ := ours.File()
	if err := o.Hand(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	_, _ = f.Close(), ours.Close()
	for range 2 { // the gateway ends the first flow, as it does with an idle one
		st := asked(t, gateway, func() { _, _ = app.WriteTo([]byte("ask"), to) })
		_ = st.Reply(tunnel.Connected, "")
		b := make([]byte, 100)
		n, _ := st.Read(b)
		_, _ = st.Write(bytes.ToUpper(b[:n]))
		n, from, err := app.ReadFrom(b)
		if err != nil || string(b[:n]) != "ASK" || from.String() != to.String() {
			t.Errorf("%q from %v, %v", b[:n], from, err)
		}
		_ = st.Close()
	}
	_ = o.Close()
}

// asked sends until a flow comes of it: what the end of the one before took
// with it is lost, as datagrams may be.
func asked(t *testing.T, gateway *tunnel.Session, send func()) *tunnel.Stream {
	t.Helper()
	accepted := make(chan *tunnel.Stream)
	go func() {
		st, _ := gateway.Accept()
		accepted <- st
	}()
	for {
		send()
		select {
		case st := <-accepted:
			if st == nil {
				t.Fatal("the tunnel has ended")
			}
			return st
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestRefusesWhatItDoesNotKnow(t *testing.T) {
	k, _ := start(t)
	for _, request := range []string{"", "x", string(make([]byte, 2000)), "\x01\x09" + string(make([]byte, 22))} {
		c, err := dial(t.Context(), k.paths()[0])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(request))
		_ = c.SetReadDeadline(time.Now().Add(7 * time.Second))
		if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: %d %v", request, n, err)
		}
		_ = c.Close()
	}
}

func TestNoCapture(t *testing.T) {
	k := &Client{t.TempDir()}
	if err := k.Probe(context.Background()); !errors.Is(err, ErrNoCapture) {
		t.Errorf("Probe gives %v", err)
	}
	// The socket of a capture that was killed.
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: Path(k.Dir, "dead"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
	if err := k.Probe(context.Background()); !errors.Is(err, ErrNoCapture) || len(k.paths()) != 0 {
		t.Errorf("Probe gives %v, and leaves %v", err, k.paths())
	}
}
