//go:build linux

package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

func wildcard(domain string, ports ...uint16) peer.Published { return tcp("*."+domain, ports...) }

func (f *fixture) address(name string) netip.Addr {
	f.t.Helper()
	a, err := f.source.Address(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

func TestWildcard(t *testing.T) {
	f := start(t, Options{})
	f.source.FoundByDNS(true)
	f.apply([]peer.Published{wildcard("corp.test", 8080), wildcard("dev.corp.test", 9090), tcp("db.corp.test", 5432)})
	if r := f.report("*.corp.test"); len(r.Served) != 1 || r.Served[0] != "*.corp.test:8080" || r.Trouble != "" {
		t.Errorf("%+v", r)
	}
	if len(f.source.listeners) != 2 { // the wildcard's port of the exact name is one
		t.Errorf("%d listeners before anything was looked up", len(f.source.listeners))
	}
	a := f.address("x.corp.test")
	if b := f.address("y.dev.corp.test"); a == b || f.address("x.corp.test") != a {
		t.Errorf("%v %v", a, b)
	}
	if name, ok := f.source.NameOf(a); !ok || name != "x.corp.test" {
		t.Errorf("%q %v", name, ok)
	}
	for _, target := range []string{"x.corp.test:8080", "y.dev.corp.test:8080", "y.dev.corp.test:9090", "db.corp.test:5432", "db.corp.test:8080"} {
		host, port, _ := net.SplitHostPort(target)
		dial(t, net.JoinHostPort(f.address(host).String(), port))
		if got := f.accept().Request().Target.String(); got != "tcp "+target {
			t.Errorf("%s became %s", target, got)
		}
	}
	if strings.Contains(f.hosts(), "x.corp.test") || !strings.Contains(f.hosts(), "db.corp.test") {
		t.Errorf("%q", f.hosts())
	}
	for _, name := range []string{"corp.test", "elsewhere.test", ""} {
		if a, err := f.source.Address(name); !errors.Is(err, ErrNotCovered) {
			t.Errorf("%q: %v %v", name, a, err)
		}
	}

	f.apply([]peer.Published{wildcard("dev.corp.test", 9090)})
	if _, err := f.source.Address("x.corp.test"); !errors.Is(err, ErrNotCovered) {
		t.Error(err)
	}
	if _, ok := f.source.NameOf(a); ok {
		t.Error("an address that is served no more has a name")
	}
	f.apply([]peer.Published{wildcard("corp.test", 8080)})
	if f.address("x.corp.test") != a {
		t.Error("another address than before")
	}
}

func TestLookUpsAreBounded(t *testing.T) {
	f := start(t, Options{})
	f.source.FoundByDNS(true)
	p := wildcard("corp.test")
	p.Ports = []peer.PublishedPort{{First: 20000, Last: 20000 + 2*maxLookedPorts}}
	f.apply([]peer.Published{p})
	names := maxLookedAll / maxLookedPorts
	for i := range names {
		f.address(fmt.Sprintf("n%d.corp.test", i))
	}
	if n := len(f.source.listeners); n != maxLookedAll {
		t.Errorf("%d listeners", n)
	}
	for range 2 {
		if a, err := f.source.Address("more.corp.test"); !errors.Is(err, ErrTooMany) {
			t.Errorf("%v %v", a, err)
		}
	}
	if r := f.report("*.corp.test"); !strings.Contains(r.Trouble, "have too many ports") {
		t.Errorf("%q", r.Trouble)
	}
}

func TestByDNSWithoutHostsFile(t *testing.T) {
	f := start(t, Options{StartHosts: func(context.Context) (Hosts, error) { return nil, errors.New("no way") }})
	f.apply([]peer.Published{tcp("db.test", 5432)})
	f.source.FoundByDNS(true)
	if r := f.report("db.test"); r.Address != f.address("db.test").String() || len(f.source.Report().Notes) != 0 {
		t.Errorf("%+v %q", r, f.source.Report().Notes)
	}
	f.source.FoundByDNS(false)
	if r := f.report("db.test"); r.Address != "127.0.0.1" {
		t.Errorf("%+v", r)
	}
}

func udp(host string, port uint16) peer.Published {
	p := tcp(host, port)
	p.Protocols = []string{"udp"}
	return p
}

func dialUDP(t *testing.T, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	return c
}

func TestUDP(t *testing.T) {
	f := start(t, Options{})
	f.apply([]peer.Published{udp("ntp.test", 12300)})
	if r := f.report("ntp.test"); len(r.Served) != 1 || r.Served[0] != "ntp.test:12300/udp" || r.Trouble != "" {
		t.Errorf("%+v", r)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr(f.lookup("ntp.test")), 12300)
	a, b := dialUDP(t, at), dialUDP(t, at)
	var flows []*tunnel.Stream
	for _, c := range []*net.UDPConn{a, b} {
		send(t, c, "one")
		st := f.accept()
		if got := st.Request().Target.String(); got != "udp ntp.test:12300" {
			t.Error(got)
		}
		_ = st.Reply(tunnel.Connected, "")
		flows = append(flows, st)
	}
	send(t, a, "")
	send(t, a, "three")
	buf := make([]byte, 100)
	for _, want := range []string{"one", "", "three"} {
		if n, err := flows[0].Read(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("%q %v, want %q", buf[:n], err, want)
		}
	}
	for i, c := range []*net.UDPConn{a, b} {
		for _, text := range []string{fmt.Sprint("to ", i), "more"} {
			send(t, flows[i], text)
			if n, err := c.Read(buf); err != nil || string(buf[:n]) != text {
				t.Errorf("%q %v, want %q", buf[:n], err, text)
			}
		}
	}
	// The gateway ends what was idle; the next datagram begins another exchange.
	_ = flows[0].Close()
	came := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for {
			send(t, a, "again")
			select {
			case <-came:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	next := f.accept()
	close(came)
	sending.Wait()
	if n, err := next.Read(buf); err != nil || string(buf[:n]) != "again" {
		t.Errorf("%q %v", buf[:n], err)
	}
}

// A wildcard's names are served over UDP, and to sockets of IPv6 that know the
// address as a mapped one.
func TestWildcardUDPAndMappedClients(t *testing.T) {
	f := start(t, Options{})
	f.source.FoundByDNS(true)
	p := wildcard("corp.test", 8081)
	p.Protocols = []string{"tcp", "udp"}
	f.apply([]peer.Published{p})
	at := f.address("x.corp.test")
	mapped := &syscall.SockaddrInet6{Port: 8081, Addr: netip.AddrFrom16(at.As16()).As16()}
	for kind, want := range map[int]string{syscall.SOCK_STREAM: "tcp x.corp.test:8081", syscall.SOCK_DGRAM: "udp x.corp.test:8081"} {
		fd, err := syscall.Socket(syscall.AF_INET6, kind|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Close(fd) }()
		if err := syscall.Connect(fd, mapped); err != nil {
			t.Fatal(err)
		}
		if _, err := syscall.Write(fd, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		st := f.accept()
		if got := st.Request().Target.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		_ = st.Reply(tunnel.Connected, "")
		expect(t, st, "hello")
		send(t, st, "back")
		b := make([]byte, 10)
		if n, err := syscall.Read(fd, b); err != nil || string(b[:n]) != "back" {
			t.Errorf("%q %v", b[:max(n, 0)], err)
		}
	}
	// Whoever is not looked up has no socket, and no address that another had.
	if b := f.address("y.corp.test"); b == at {
		t.Error("two names share an address")
	}
}

func TestStrangersDatagrams(t *testing.T) {
	asked := make(chan struct{}, 1)
	f := start(t, Options{
		Check: func(net.Conn) (owner.Owner, error) { return owner.Owner{}, owner.ErrStranger },
		CheckUDP: func(_, _ netip.AddrPort) (owner.Owner, error) {
			asked <- struct{}{}
			return owner.Owner{}, owner.ErrStranger
		},
	})
	f.apply([]peer.Published{udp("ntp.test", 12300)})
	send(t, dialUDP(t, netip.AddrPortFrom(netip.MustParseAddr(f.lookup("ntp.test")), 12300)), "x")
	<-asked
	if f.gateway.Flows() != 0 {
		t.Error("the datagram passed")
	}
}
