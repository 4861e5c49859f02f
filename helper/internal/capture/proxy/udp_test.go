package proxy

import (
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

func itoa(n int) string { return strconv.Itoa(n) }

// associate opens an association and a socket that is connected to its relay.
func (f *fixture) associate() (control *net.TCPConn, relay *net.UDPConn) {
	f.Helper()
	control = f.dial()
	f.say(control, socksRequest(cmdAssociate, "0.0.0.0", 0))
	f.hear(control, "\x05\x00\x05\x00\x00")
	host, port, err := readAddress(control)
	if err != nil {
		f.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr(host), port)
	if relay, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at)); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = relay.Close() })
	_ = relay.SetDeadline(time.Now().Add(10 * time.Second))
	return control, relay
}

func datagram(host string, port uint16, payload string) string {
	return string(appendAddress([]byte{0, 0, 0}, host, port)) + payload
}

func TestAssociate(t *testing.T) {
	f := start(t, Options{})
	control, relay := f.associate()
	f.say(relay, datagram("dns.corp.test", 53, "one"))
	st := f.accept()
	if got, want := st.Request().Target, (tunnel.Target{Network: tunnel.UDP, Host: "dns.corp.test", Port: 53}); got != want {
		t.Errorf("%+v", got)
	}
	_ = st.Reply(tunnel.Connected, "")
	f.hear(st, "one")
	f.say(st, "two")
	b := make([]byte, 100)
	if n, err := relay.Read(b); err != nil || string(b[:n]) != datagram("dns.corp.test", 53, "two") {
		t.Errorf("%q, %v", b[:n], err)
	}

	// A datagram from another port of the target says so, and that port can be answered.
	_ = st.WriteToPort([]byte("block"), 4000)
	if n, err := relay.Read(b); err != nil || string(b[:n]) != datagram("dns.corp.test", 4000, "block") {
		t.Errorf("%q, %v", b[:n], err)
	}
	f.say(relay, datagram("dns.corp.test", 4000, "ack"))
	c, err := st.ReadChunk()
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Bytes()) != "ack" || c.Port != 4000 {
		t.Errorf("%q for port %d", c.Bytes(), c.Port)
	}
	c.Release()

	// What no resource has goes directly, by an address of its own spelling.
	echo, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := echo.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = echo.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	port := echo.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	f.say(relay, datagram("127.0.0.1", port, "three"))
	if n, err := relay.Read(b); err != nil || string(b[:n]) != datagram("127.0.0.1", port, "three") {
		t.Errorf("%q, %v", b[:n], err)
	}

	// Another sender than the first has no part in it.
	other, err := net.DialUDP("udp", nil, relay.RemoteAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	f.say(other, datagram("dns.corp.test", 53, "not this"))
	f.say(relay, datagram("dns.corp.test", 53, "but this"))
	f.hear(st, "but this")

	_ = control.Close()
	_ = st.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := st.Read(b); err == nil || isTimeout(err) {
		t.Errorf("the flow outlives its association: %v", err)
	}
}

// Fragments, rubbish and names that are none open nothing and end nothing.
func TestRubbishDatagrams(t *testing.T) {
	f := start(t, Options{})
	_, relay := f.associate()
	for _, b := range []string{"", "\x00", "\x00\x00\x01\x01\x7f\x00\x00\x01\x00\x35x", "\x00\x00\x00\x09", datagram("fe80::1%eth0", 1, "x"),
		datagram("a b.corp.test", 53, "x"), "\x00\x00\x00\x03\x00\x00\x35x"} {
		f.say(relay, b)
	}
	f.say(relay, datagram("dns.corp.test", 53, "good"))
	st := f.accept()
	_ = st.Reply(tunnel.Connected, "")
	f.hear(st, "good")
}

func TestResolve(t *testing.T) {
	f := start(t, Options{})
	c := f.dial()
	f.say(c, socksRequest(cmdResolve, "db.corp.test", 0))
	st := f.accept()
	if st.Request().Target.Network != tunnel.Lookup {
		t.Errorf("%+v", st.Request())
	}
	_ = st.Reply(tunnel.Connected, "10.1.2.3, fd00::1")
	_ = st.Close()
	f.hear(c, "\x05\x00\x05\x00\x00\x01\x0a\x01\x02\x03\x00\x00")
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the reply: %v", err)
	}
}
