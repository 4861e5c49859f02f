//go:build linux

package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// freePort returns a port that is free at both addresses of localhost.
func freePort(t *testing.T) uint16 {
	t.Helper()
	for port := uint16(21000 + os.Getpid()%8000); ; port++ {
		if isFree(endpoint{"localhost", port, false}) && isFree(endpoint{"localhost", port, true}) {
			return port
		}
	}
}

func (f *fixture) await(name string, want func(peer.NameReport) bool) peer.NameReport {
	f.t.Helper()
	for {
		r := f.report(name)
		if want(r) {
			return r
		}
		select {
		case <-f.changed:
		case <-time.After(5 * time.Second):
			f.t.Fatalf("not reported: %+v", r)
		}
	}
}

// Both addresses of localhost lead to the gateway, which gets the name localhost. They do
// so whatever serves the names, and no one is told of them.
func TestLocal(t *testing.T) {
	ranges := hostnet.Ranges{V4: netip.MustParsePrefix("198.18.0.0/17"), V6: netip.MustParsePrefix("fd00:1::/112")}
	for what, o := range map[string]Options{"hosts file": {}, "names off": {NoHosts: true, OnlyLocal: true}, "device": {Linger: time.Millisecond}} {
		t.Run(what, func(t *testing.T) {
			f := start(t, o)
			if what == "device" {
				f.source.Lead(ranges)
			}
			port := freePort(t)
			local := tcp("localhost", port)
			local.Protocols = []string{"tcp", "udp"}
			f.apply([]peer.Published{local})
			for _, host := range []string{"127.0.0.1", "::1"} {
				at := net.JoinHostPort(host, fmt.Sprint(port))
				c := dial(t, at)
				send(t, c, "ask")
				st := f.accept()
				if got := st.Request().Target; got.Host != "localhost" || got.Port != port || got.Network != tunnel.TCP {
					t.Errorf("%s: %v", host, got)
				}
				expect(t, st, "ask")
				_ = st.Reply(tunnel.Connected, "")
				send(t, st, "answer")
				expect(t, c, "answer")
				u, err := net.Dial("udp", at)
				if err != nil {
					t.Fatal(err)
				}
				defer u.Close()
				send(t, u, "datagram")
				if got := f.accept().Request().Target; got.Host != "localhost" || got.Network != tunnel.UDP {
					t.Errorf("%s: %v", host, got)
				}
			}
			r := f.report("localhost")
			if want := []string{fmt.Sprintf("localhost:%d", port), fmt.Sprintf("localhost:%d/udp", port)}; strings.Join(r.Served, " ") != strings.Join(want, " ") || r.Trouble != "" || r.Address != "" {
				t.Errorf("%+v", r)
			}
			if got := f.hosts(); got != original {
				t.Errorf("the hosts file has %q", got)
			}
			if a, err := f.source.Address("localhost"); err == nil {
				t.Errorf("a look-up gets %s", a)
			}
			if !f.source.OnLocalhost("tcp", port) || f.source.OnLocalhost("tcp", port+1) {
				t.Error("it is not known which ports are served")
			}
			f.apply(nil)
			if !isFree(endpoint{"localhost", port, false}) || !isFree(endpoint{"localhost", port, true}) || f.source.OnLocalhost("tcp", port) {
				t.Error("a port is taken although no resource has it")
			}
		})
	}
}

// A program of this machine that has one of the addresses keeps both, is named, and is
// followed by the resource when it ends.
func TestLocalConflict(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1", "::"} {
		t.Run(host, func(t *testing.T) {
			port := freePort(t)
			taken, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			f := start(t, Options{Retry: 10 * time.Millisecond})
			f.apply([]peer.Published{tcp("localhost", port)})
			r := f.report("localhost")
			want := fmt.Sprintf(`port %d: taken by "names.test" (pid %d, user "root"), and served once that ends; `, port, os.Getpid())
			rest, ok := strings.CutPrefix(r.Trouble, want)
			var other uint16
			if _, err := fmt.Sscanf(rest, "%d is free", &other); !ok || err != nil || len(r.Served) != 0 || !isFree(endpoint{"localhost", other, false}) {
				t.Errorf("%+v, want %q and a free port", r, want)
			}
			for _, one := range []string{"127.0.0.1", "::1"} {
				if c, err := net.Dial("tcp", net.JoinHostPort(one, fmt.Sprint(port))); err == nil {
					_ = c.Close()
					if host != "::" && host != one {
						t.Errorf("%s is served beside a program at %s", one, host)
					}
				}
			}
			_ = taken.Close()
			f.await("localhost", func(r peer.NameReport) bool { return r.Trouble == "" && len(r.Served) == 1 })
			dial(t, net.JoinHostPort("::1", fmt.Sprint(port)))
			f.accept()
		})
	}
}

// A port that another session has is served when that session ends.
func TestLocalTakeover(t *testing.T) {
	port := freePort(t)
	first, second := start(t, Options{UID: os.Geteuid()}), start(t, Options{UID: os.Geteuid(), Retry: 10 * time.Millisecond})
	first.apply([]peer.Published{tcp("localhost", port)})
	second.apply([]peer.Published{tcp("localhost", port)})
	if r := second.report("localhost"); !strings.Contains(r.Trouble, "taken by") || len(r.Served) != 0 {
		t.Errorf("%+v", r)
	}
	if err := first.source.Close(); err != nil {
		t.Error(err)
	}
	second.await("localhost", func(r peer.NameReport) bool { return r.Trouble == "" })
}

// The privileged child opens low ports, and knows which of them are taken.
func TestLocalLowPort(t *testing.T) {
	denied := &net.OpError{Op: "listen", Err: syscall.EACCES}
	at := netip.MustParseAddrPort("[::1]:80")
	addr := net.TCPAddrFromAddrPort(at)
	if err := betterError(denied, errors.New("listen on [::1]:80: bind: address already in use"), addr); !errors.Is(err, syscall.EADDRINUSE) ||
		localAt(endpoint{host: "localhost", port: 80}, fmt.Errorf("listen: %w", err)) != at {
		t.Error(err)
	}
	if err := betterError(denied, errors.New("not permitted"), addr); !errors.Is(err, syscall.EACCES) {
		t.Error(err)
	}
	asked := 0
	f := start(t, Options{StartHosts: func(context.Context) (Hosts, error) { asked++; return nil, errors.New("no sudo") }})
	f.apply([]peer.Published{tcp("localhost", freePort(t))})
	if asked != 0 {
		t.Error("a high port asks for more rights")
	}
	f.apply([]peer.Published{tcp("localhost", 1)})
	if asked != 1 {
		t.Error("a low port does not ask for more rights")
	}
}

// Another user's connection to localhost is refused like one to a name.
func TestLocalStranger(t *testing.T) {
	f := start(t, Options{Check: func(net.Conn) (owner.Owner, error) { return owner.Owner{}, owner.ErrStranger }})
	port := freePort(t)
	f.apply([]peer.Published{tcp("localhost", port)})
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
	if err == nil { // the reset may be faster
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
}

// One session cannot take every port.
func TestLocalIsBounded(t *testing.T) {
	f := start(t, Options{})
	f.apply([]peer.Published{{Name: "many", Host: "localhost", Protocols: []string{"tcp"}, Ports: []peer.PublishedPort{{First: 41000, Last: 41999}}}})
	if r := f.report("many"); len(f.source.listeners) > maxLocal || !strings.Contains(r.Trouble, "872 ports are not served") {
		t.Errorf("%d listeners, %+v", len(f.source.listeners), r)
	}
}
