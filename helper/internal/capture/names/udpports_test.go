//go:build linux

package names

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// Another port of the target's host is a port of the name's own address while the flow
// lives. It is none of an address that this machine's programs use.
func TestOtherPorts(t *testing.T) {
	checker := owner.New(os.Geteuid())
	t.Cleanup(func() { _ = checker.Close() })
	for address, ours := range map[string]bool{"127.91.3.4": true, "127.0.0.1": false, "127.0.53.1": false, "::1": false} {
		t.Run(address, func(t *testing.T) {
			f := start(t, Options{Check: checker.Check, CheckUDP: checker.CheckUDP})
			a := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 0))
			conn, err := net.ListenUDP("udp", a)
			if err != nil {
				t.Fatal(err)
			}
			at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
			d := &datagrams{s: f.source, target: tunnel.Target{Network: tunnel.UDP, Host: "db.test", Port: 69}, at: at, conn: conn}
			served := make(chan struct{})
			go func() { d.serve(); close(served) }()
			defer func() { _ = conn.Close(); <-served }()
			client, err := net.ListenUDP("udp", a)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			_ = client.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := client.WriteToUDPAddrPort([]byte("ask"), at); err != nil {
				t.Fatal(err)
			}
			st := f.accept()
			expect(t, st, "ask")
			_ = st.Reply(tunnel.Connected, "")
			port := freePort(t)
			_ = st.WriteToPort([]byte("block"), port)
			send(t, st, "own")
			b := make([]byte, 10)
			n, from, err := client.ReadFromUDPAddrPort(b)
			if ours {
				if err != nil || string(b[:n]) != "block" || from.Port() != port {
					t.Fatalf("%q from %s, %v", b[:n], from, err)
				}
				n, from, err = client.ReadFromUDPAddrPort(b)
			}
			if err != nil || string(b[:n]) != "own" || from != at {
				t.Fatalf("%q from %s, %v", b[:n], from, err)
			}
			if !isFree(endpoint{"localhost", port, true}) {
				t.Error("a port of this machine is taken")
			}
			heard := clientPort{client.LocalAddr().(*net.UDPAddr).AddrPort(), port}
			if known := d.others.replies.Get(heard) != nil; known != ours {
				t.Errorf("the port is known: %t", known)
			}
			_ = st.Close()
			for end := time.Now().Add(10 * time.Second); d.others.replies.Get(heard) != nil; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the port is known after the end of the flow")
				}
			}
		})
	}
}
