package ping

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

func TestArguments(t *testing.T) {
	for _, c := range []struct{ goos, to, want string }{
		{"linux", "10.0.0.1", "ping -c 1 -s 56 10.0.0.1"},
		{"linux", "fd00::1", "ping -c 1 -s 56 fd00::1"},
		{"darwin", "fd00::1", "ping6 -c 1 -s 56 fd00::1"},
		{"windows", "10.0.0.1", "ping -n 1 -w 10000 -l 56 10.0.0.1"},
	} {
		if got := strings.Join(arguments(c.goos, netip.MustParseAddr(c.to), 56), " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.goos, got, c.want)
		}
	}
}

// exit is how a program ends that returns code.
func exit(t *testing.T, code string) error {
	t.Helper()
	if code == "0" {
		return nil
	}
	err := exec.CommandContext(t.Context(), "sh", "-c", "exit "+code).Run()
	if _, ok := errors.AsType[*exec.ExitError](err); !ok {
		t.Fatal(err)
	}
	return err
}

func TestOutcome(t *testing.T) {
	const answered = tunnel.Connected
	for _, c := range []struct {
		goos, exit, said string
		want             tunnel.Code
	}{
		{"linux", "0", "64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.04 ms", answered},
		{"linux", "1", "1 packets transmitted, 0 received, 100% packet loss", tunnel.TimedOut},
		{"linux", "1", "From 10.77.0.1 icmp_seq=1 Destination Host Unreachable", tunnel.HostUnreachable},
		{"linux", "1", "From 10.77.0.1 icmp_seq=1 Destination Net Unreachable", tunnel.NetUnreachable},
		{"linux", "1", "From 10.77.0.1 icmp_seq=1 Packet filtered", tunnel.HostUnreachable},
		{"linux", "2", "ping: connect: Network is unreachable", tunnel.NetUnreachable},
		{"linux", "2", "ping: socktype: SOCK_RAW\nping: socket: Operation not permitted", tunnel.Failed},
		{"darwin", "2", "1 packets transmitted, 0 packets received, 100.0% packet loss", tunnel.TimedOut},
		{"darwin", "68", "ping: sendto: No route to host", tunnel.HostUnreachable},
		{"windows", "0", "Reply from 10.0.0.1: bytes=32 time<1ms TTL=64", answered},
		{"windows", "0", "Antwort von fd00::1: Zeit=12ms", answered},
		{"windows", "0", "Reply from 10.0.0.9: Destination host unreachable.", tunnel.HostUnreachable},
		{"windows", "1", "Request timed out.", tunnel.TimedOut},
	} {
		err := outcome(c.goos, c.said, exit(t, c.exit))
		e, ok := errors.AsType[*tunnel.Error](err)
		if got := answered; ok && e.Code != c.want || !ok && c.want != got {
			t.Errorf("%s, %q: %v, want %v", c.goos, c.said, err, c.want)
		}
	}
}

// Where users may open ping sockets, they work; elsewhere that is found out.
func TestSocket(t *testing.T) {
	for _, to := range []string{"127.0.0.1", "::1"} {
		c, err := open(netip.MustParseAddr(to))
		if errors.Is(err, os.ErrPermission) || errors.Is(err, errNoSocket) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		got, err := Exchange(t.Context(), c, netip.MustParseAddr(to), []byte("data"), ownsID)
		if err != nil || string(got) != "data" {
			t.Errorf("%s: %q, %v", to, got, err)
		}
		_ = c.Close()
	}
}

func TestReplyTo(t *testing.T) {
	message := func(kind icmp.Type, id, seq int) []byte {
		b, err := (&icmp.Message{Type: kind, Body: &icmp.Echo{ID: id, Seq: seq, Data: []byte("data")}}).Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 1, Seq: 2}}
	request6 := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: 1, Seq: 2}}
	good := message(ipv4.ICMPTypeEchoReply, 1, 2)
	for name, c := range map[string]struct {
		request icmp.Message
		b       []byte
		ownsID  bool
		want    bool
	}{
		"reply":                 {request, good, true, true},
		"with the IP header":    {request, slices.Concat([]byte{0x45}, make([]byte, 19), good), true, true},
		"IPv6":                  {request6, message(ipv6.ICMPTypeEchoReply, 1, 2), true, true},
		"the system's id":       {request, message(ipv4.ICMPTypeEchoReply, 9, 2), false, true},
		"another's id":          {request, message(ipv4.ICMPTypeEchoReply, 9, 2), true, false},
		"another sequence":      {request, message(ipv4.ICMPTypeEchoReply, 1, 3), false, false},
		"a request":             {request, message(ipv4.ICMPTypeEcho, 1, 2), false, false},
		"the other family's":    {request6, good, false, false},
		"short":                 {request, good[:5], false, false},
		"nothing":               {request, nil, false, false},
		"a header that is long": {request, []byte{0x4f}, false, false},
	} {
		if got := replyTo(c.request, c.b, c.ownsID); (got != nil) != c.want || got != nil && string(got.Data) != "data" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
