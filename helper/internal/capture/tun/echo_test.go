package tun

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// echoRequest is a ping as the kernel would send it, but for its checksum.
func echoRequest(from, to netip.Addr, data string) []byte {
	kind := echoTypes[to.Is6()]
	body := append([]byte{kind.request, 0, 0, 0, 0x12, 0x34, 0, 7}, data...)
	return append(appendIP(nil, from, to, tcpip.TransportProtocolNumber(kind.protocol), len(body)), body...)
}

func TestPings(t *testing.T) {
	r := newRig(t)
	long := string(bytes.Repeat([]byte("long"), 10000))
	for _, c := range []struct {
		from, to netip.Addr
		data     string
	}{
		{client4, netip.MustParseAddr("10.20.0.8"), "data"},
		{client6, server6.Addr(), "data"},
		{client4, netip.MustParseAddr("10.20.0.8"), ""},
		{client6, server6.Addr(), long},
	} {
		r.engine.handle(echoRequest(c.from, c.to, c.data))
		st := r.accept()
		if want := (tunnel.Target{Network: tunnel.Echo, Host: c.to.String()}); st.Request().Target != want || st.Request().Origin.User != "dev" {
			t.Errorf("%+v, want %+v", st.Request(), want)
		}
		if got, err := io.ReadAll(st); err != nil || string(got) != c.data {
			t.Errorf("%s: the gateway got %d bytes, %v", c.to, len(got), err)
		}
		_ = st.Reply(tunnel.Connected, "")
		_, _ = st.Write([]byte(c.data + "!"))
		_ = st.CloseWrite()
		p := <-r.wire.echoes
		v6 := c.to.Is6()
		at := map[bool]int{false: v4Header, true: v6Header}[v6]
		if body := p[at:]; string(body[4:8]) != "\x12\x34\x00\x07" || string(body[8:]) != c.data+"!" {
			t.Errorf("%s: replied %x", c.to, body[:min(len(body), 20)])
		}
		if v, tuple, _ := classify(p); v != drop || tuple.client.Addr() != c.to || tuple.server.Addr() != c.from {
			t.Errorf("the reply is from %s to %s", tuple.client, tuple.server)
		}
		sum := checksum.Checksum(p[at:], 0)
		if v6 {
			sum = checksum.Combine(sum, header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, address(c.to), address(c.from), uint16(len(p)-at)))
		}
		if sum != 0xffff {
			t.Errorf("%s: checksum of the reply: %x", c.to, sum)
		}
	}
}

func TestPingRefusals(t *testing.T) {
	r := newRig(t)
	v4 := netip.MustParseAddr("10.20.0.8")
	for code, want := range map[tunnel.Code]map[netip.Addr][2]byte{
		tunnel.Denied:          {v4: {3, 13}, server6.Addr(): {1, 1}},
		tunnel.HostUnreachable: {v4: {3, 1}, server6.Addr(): {1, 3}},
		tunnel.NetUnreachable:  {v4: {3, 0}, server6.Addr(): {1, 0}},
	} {
		for to, want := range want {
			from := client4
			if to.Is6() {
				from = client6
			}
			r.engine.handle(echoRequest(from, to, "data"))
			_ = r.accept().Reply(code, "")
			if got := <-r.wire.icmp; got != want {
				t.Errorf("%s, %s: ICMP %v, want %v", to, code, got, want)
			}
		}
	}
	// No resource has pings of it: the gateway is not asked.
	r.engine.handle(echoRequest(client4, server.Addr(), "data"))
	if got := <-r.wire.icmp; got != [2]byte{3, 13} {
		t.Errorf("not covered: ICMP %v", got)
	}
	// Silence.
	r.engine.handle(echoRequest(client4, v4, "data"))
	_ = r.accept().Reply(tunnel.TimedOut, "")
	r.refuseAll(owner.ErrStranger)
	r.engine.handle(echoRequest(client4, v4, "data"))
	select {
	case got := <-r.wire.icmp:
		t.Errorf("ICMP %v in place of silence", got)
	case got := <-r.wire.echoes:
		t.Errorf("%x in place of silence", got)
	case <-time.After(50 * time.Millisecond):
	}
	r.refuseAll(nil)
	next := netip.MustParseAddr("10.20.0.9")
	r.engine.handle(echoRequest(client4, next, "data"))
	if got := r.accept().Request().Target.Host; got != next.String() {
		t.Errorf("the gateway was asked for a stranger's ping of %s", got)
	}
}

func TestPingsAreBounded(t *testing.T) {
	r := newRig(t)
	for range 3 * maxEchoes {
		r.engine.handle(echoRequest(client4, netip.MustParseAddr("10.20.0.8"), "data"))
	}
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	if r.engine.echoes > maxEchoes {
		t.Errorf("%d pings at a time", r.engine.echoes)
	}
}
