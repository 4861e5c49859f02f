//go:build linux

package owner

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
)

func TestCheckUDP(t *testing.T) {
	for _, tc := range []struct {
		name    string
		network string
		uid     uint32
		closed  bool
		want    error
	}{
		{"own", "udp4", 1234, false, nil},
		{"own mapped", "udp46", 1234, false, nil},
		{"root", "udp4", 0, false, nil},
		{"stranger", "udp4", otherUser, false, ErrStranger},
		{"stranger mapped", "udp46", otherUser, false, ErrStranger},
		{"closed", "udp4", otherUser, true, ErrGone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer pc.Close()
			local := pc.LocalAddr().(*net.UDPAddr).AddrPort()
			stop := start(t, tc.uid, tc.network, local.String())
			_, remote, err := pc.ReadFromUDPAddrPort(make([]byte, 8))
			if err != nil {
				t.Fatal(err)
			}
			if tc.closed {
				stop()
			}
			all := checkers(t, 1234)
			for name, k := range all {
				o, err := k.CheckUDP(local, remote)
				if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
					t.Errorf("%s: %v, want %v", name, err, tc.want)
				}
				if err == nil && o.UID != int(tc.uid) {
					t.Errorf("%s: owner %+v", name, o)
				}
			}
			verifyPaths(t, all)
		})
	}
}

// An unconnected sender bound to all addresses is found; one bound elsewhere
// does not vouch for the source address.
func TestCheckUDPUnconnected(t *testing.T) {
	local := netip.MustParseAddrPort("127.0.0.1:9")
	for _, tc := range []struct {
		bind string
		want error
	}{{"0.0.0.0:0", nil}, {"127.0.0.1:0", nil}, {"127.0.0.2:0", ErrGone}} {
		pc, err := net.ListenPacket("udp4", tc.bind)
		if err != nil {
			t.Fatal(err)
		}
		remote := netip.AddrPortFrom(local.Addr(), uint16(pc.LocalAddr().(*net.UDPAddr).Port))
		for name, k := range checkers(t, os.Geteuid()) {
			if _, err := k.CheckUDP(local, remote); !errors.Is(err, tc.want) {
				t.Errorf("%s %s: %v, want %v", name, tc.bind, err, tc.want)
			}
		}
		_ = pc.Close()
	}
}

// While a socket goes on sending, it alone is asked for. A stranger who gets its
// port is refused all the same.
func TestSenderChanges(t *testing.T) {
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	local := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	own, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(local))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	remote := own.LocalAddr().(*net.UDPAddr).AddrPort()
	k := New(1234)
	defer k.Close()
	first, err := k.CheckUDP(local, remote)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := k.stillSends(datagrams{local, remote}); err != nil || o != first {
		t.Errorf("%+v, then %+v %v", first, o, err)
	}
	if _, err := k.stillSends(datagrams{local, netip.AddrPortFrom(remote.Addr(), remote.Port()^1)}); err == nil {
		t.Error("another port is known too")
	}
	for d, s := range k.senders {
		s.until = time.Now().Add(-time.Second)
		k.senders[d] = s
	}
	if _, err := k.stillSends(datagrams{local, remote}); err == nil {
		t.Error("the other sockets on the port are never looked at again")
	}
	if _, err := k.CheckUDP(local, remote); err != nil {
		t.Error(err)
	}
	for d, s := range k.senders { // however slow this machine is
		s.until = time.Now().Add(time.Hour)
		k.senders[d] = s
	}
	_ = own.Close()
	if o, err := k.CheckUDP(local, remote); !errors.Is(err, ErrGone) {
		t.Errorf("closed: %+v %v", o, err)
	}
	k.senders[datagrams{local, remote}] = sender{first.Inode, time.Now().Add(time.Hour)}
	start(t, otherUser, "udp4-from-"+remote.String(), local.String())
	if o, err := k.CheckUDP(local, remote); !errors.Is(err, ErrStranger) {
		t.Errorf("a stranger on the same port: %+v %v", o, err)
	}
	if len(k.senders) != 0 {
		t.Errorf("known still: %+v", k.senders)
	}
}

// However many senders there are, few are known.
func TestSendersAreBounded(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	port := uint16(pc.LocalAddr().(*net.UDPAddr).Port)
	k := New(os.Geteuid())
	defer k.Close()
	for i := range maxSenders + 10 {
		a := netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})
		if _, err := k.CheckUDP(netip.MustParseAddrPort("127.0.0.1:9"), netip.AddrPortFrom(a, port)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(k.senders); n == 0 || n > maxSenders {
		t.Errorf("%d senders are known", n)
	}
}

// A stranger that shares the port may have sent the datagram: by IP_PKTINFO it
// can choose our user's address as the source.
func TestJudgeUDPSharedPort(t *testing.T) {
	k := New(1234)
	local, remote := netip.MustParseAddrPort("127.0.0.1:9"), netip.MustParseAddrPort("127.0.0.1:500")
	ours := kernelnet.Socket{Local: remote, UID: 1234, Inode: 1}
	theirs := kernelnet.Socket{Local: netip.MustParseAddrPort("127.0.0.2:500"), UID: otherUser, Inode: 2}
	if _, err := k.judgeUDP([]kernelnet.Socket{ours}, local, remote); err != nil {
		t.Error(err)
	}
	if _, err := k.judgeUDP([]kernelnet.Socket{ours, theirs}, local, remote); !errors.Is(err, ErrStranger) {
		t.Errorf("shared port: %v", err)
	}
}

func BenchmarkCheckUDP(b *testing.B) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer pc.Close()
	k := New(os.Geteuid())
	defer k.Close()
	remote := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	for b.Loop() {
		if _, err := k.CheckUDP(netip.MustParseAddrPort("127.0.0.1:9"), remote); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheckUDPFirst is the check of a socket that sends once, as of a DNS client.
func BenchmarkCheckUDPFirst(b *testing.B) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer pc.Close()
	k := New(os.Geteuid())
	defer k.Close()
	remote := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	for b.Loop() {
		clear(k.senders)
		if _, err := k.CheckUDP(netip.MustParseAddrPort("127.0.0.1:9"), remote); err != nil {
			b.Fatal(err)
		}
	}
}
