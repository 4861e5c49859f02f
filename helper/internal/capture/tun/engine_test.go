package tun

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

func TestFlow(t *testing.T) {
	r := newRig(t)
	for _, to := range []netip.AddrPort{server, server6} {
		waiting := r.dialling(to)
		st := r.accept()
		want := tunnel.Request{Target: tunnel.Target{Network: tunnel.TCP, Host: to.Addr().String(), Port: 80}}
		want.Origin = originOf("tun", want.Target, dev)
		if st.Request() != want {
			t.Errorf("%+v", st.Request())
		}
		select {
		case got := <-waiting:
			t.Fatalf("%v before the gateway has answered", got)
		case <-time.After(50 * time.Millisecond):
		}
		if err := st.Reply(tunnel.Connected, ""); err != nil {
			t.Fatal(err)
		}
		c := (<-waiting).(interface {
			net.Conn
			CloseWrite() error
		})
		question, answer := bytes.Repeat([]byte("question"), 1<<19), bytes.Repeat([]byte("answer"), 1<<19)
		go func() {
			_, _ = c.Write(question)
			_ = c.CloseWrite()
		}()
		if got, err := io.ReadAll(st); err != nil || !bytes.Equal(got, question) {
			t.Errorf("the gateway got %d bytes, %v", len(got), err)
		}
		go func() { // the program's direction has ended
			_, _ = st.Write(answer)
			_ = st.CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, answer) {
			t.Errorf("the program got %d bytes, %v", len(got), err)
		}
		_ = c.Close()
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t)
	if err, ok := (<-r.refused(server, tunnel.Refused)).(error); !ok || !strings.Contains(err.Error(), "refused") {
		t.Errorf("refused: %v", err)
	}
	if err, ok := (<-r.refused(server, tunnel.HostUnreachable)).(error); !ok || !strings.Contains(err.Error(), "no route") {
		t.Errorf("unreachable: %v", err)
	}
	<-r.wire.icmp
	for _, c := range []struct {
		to   netip.AddrPort
		code tunnel.Code
		want [2]byte
	}{
		{server, tunnel.Denied, [2]byte{3, 13}},
		{server, tunnel.HostUnreachable, [2]byte{3, 1}},
		{server, tunnel.NetUnreachable, [2]byte{3, 0}},
		{server, tunnel.NoSuchName, [2]byte{3, 1}},
		{server, tunnel.ResolveFailed, [2]byte{3, 1}},
		{server6, tunnel.Denied, [2]byte{1, 1}},
		{server6, tunnel.HostUnreachable, [2]byte{1, 3}},
		{server6, tunnel.NetUnreachable, [2]byte{1, 0}},
	} {
		r.refused(c.to, c.code)
		if got := <-r.wire.icmp; got != c.want {
			t.Errorf("%s, %s: ICMP %v, want %v", c.to, c.code, got, c.want)
		}
	}
	for what, to := range map[string]netip.AddrPort{"a port that no resource has": netip.AddrPortFrom(server.Addr(), 81)} {
		if err, ok := (<-r.dialling(to)).(error); !ok || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, who := range []error{owner.ErrStranger, owner.ErrGone} {
		r.refuseAll(who)
		if err, ok := (<-r.dialling(server)).(error); !ok || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%v: %v", who, err)
		}
	}
}

// A target that does not answer is silence, and the program's next try is
// another question to the gateway.
func TestTimeOut(t *testing.T) {
	r := newRig(t)
	waiting := r.dialling(server)
	_ = r.accept().Reply(tunnel.TimedOut, "")
	again := r.accept()
	select {
	case got := <-waiting:
		t.Fatalf("%v in place of silence", got)
	default:
	}
	_ = again.Reply(tunnel.Connected, "")
	if c, ok := (<-waiting).(net.Conn); ok {
		_ = c.Close()
	} else {
		t.Error("not connected in the end")
	}
}

func TestResetPassesThrough(t *testing.T) {
	r := newRig(t)
	c, st := r.connect(server)
	st.Reset("gone")
	if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("the program read %v", err)
	}
	c, st = r.connect(server)
	r.engine.close()
	if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("at the end the program read %v", err)
	}
	if _, err := st.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("at the end the gateway read %v", err)
	}
}

func TestDatagrams(t *testing.T) {
	r := newRig(t)
	c, err := r.program.DialUDPAddrPort(netip.AddrPort{}, server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("first"))
	st := r.accept()
	if st.Request().Target != (tunnel.Target{Network: tunnel.UDP, Host: "10.20.0.7", Port: 80}) {
		t.Errorf("%+v", st.Request())
	}
	_ = st.Reply(tunnel.Connected, "")
	buf := make([]byte, 64<<10)
	long := bytes.Repeat([]byte("x"), 60000)
	for i, d := range [][]byte{[]byte("first"), {}, long} {
		if i > 0 {
			_, _ = c.Write(d)
		}
		n, err := st.Read(buf)
		if err != nil || !bytes.Equal(buf[:n], d) {
			t.Fatalf("the gateway got %d bytes of %d, %v", n, len(d), err)
		}
		_, _ = st.Write(buf[:n])
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err = c.Read(buf); err != nil || !bytes.Equal(buf[:n], d) {
			t.Fatalf("the program got %d bytes of %d, %v", n, len(d), err)
		}
	}
	_ = st.Close()
	// A flow that has ended is begun again.
	next := make(chan *tunnel.Stream)
	go func() { next <- r.accept() }()
	for {
		_, _ = c.Write([]byte("again"))
		select {
		case st := <-next:
			_ = st.Reply(tunnel.Denied, "no")
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// More sources of datagrams than flows at a time: every one gets its answer.
func TestManyDatagramSources(t *testing.T) {
	r := newRig(t)
	var answering sync.WaitGroup
	answering.Go(func() {
		for {
			st, err := r.gateway.Accept()
			if err != nil {
				return
			}
			answering.Go(func() {
				defer st.Close()
				_ = st.Reply(tunnel.Connected, "")
				b := make([]byte, 100)
				for {
					n, err := st.Read(b)
					if err != nil {
						return
					}
					_, _ = st.Write(b[:n])
				}
			})
		}
	})
	for i := range 1300 {
		c, err := r.program.DialUDPAddrPort(netip.AddrPort{}, server)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint(i)
		_, _ = c.Write([]byte(want))
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 100)
		if n, err := c.Read(b); err != nil || string(b[:n]) != want {
			t.Fatalf("source %d: %q %v", i, b[:n], err)
		}
		_ = c.Close()
	}
	_ = r.gateway.Close()
	answering.Wait()
}

func TestDatagramRefusals(t *testing.T) {
	r := newRig(t)
	for _, port := range []uint16{80, 81} {
		c, err := r.program.DialUDPAddrPort(netip.AddrPort{}, netip.AddrPortFrom(server.Addr(), port))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("x"))
		if port == 80 {
			_ = r.accept().Reply(tunnel.Refused, "")
		}
		if got := <-r.wire.icmp; got != [2]byte{3, 3} {
			t.Errorf("port %d: ICMP %v", port, got)
		}
		_ = c.Close()
	}
}

// A target that has answered refuses a later datagram: the program hears of it, and the
// flow goes on.
func TestLaterDatagramRefused(t *testing.T) {
	r := newRig(t)
	c, err := r.program.DialUDPAddrPort(netip.AddrPort{}, server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, _ = c.Write([]byte("x"))
	st := r.accept()
	_ = st.Reply(tunnel.Connected, "")
	_, _ = st.Write([]byte("y"))
	b := make([]byte, 10)
	if n, err := c.Read(b); err != nil || string(b[:n]) != "y" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	_ = st.Refused()
	if got := <-r.wire.icmp; got != [2]byte{3, 3} {
		t.Errorf("ICMP %v", got)
	}
	_, err = c.Write([]byte("again"))
	for deadline := time.Now().Add(5 * time.Second); err == nil && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		_, err = c.Write([]byte("again")) // until the stack has taken the error in
	}
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the program is told %v", err)
	}
	_, _ = c.Write([]byte("again"))
	_ = st.SetReadDeadline(time.Now().Add(5 * time.Second))
	for _, want := range []string{"x", "again"} {
		if n, err := st.Read(b); err != nil || string(b[:n]) != want {
			t.Errorf("%q, %v", b[:n], err)
		}
	}
}

// Datagrams from another port of the target come from that port, and the program may
// answer them. They do not use a flow of their own.
func TestDatagramsFromOtherPorts(t *testing.T) {
	for _, at := range []netip.AddrPort{server, netip.AddrPortFrom(synthetic6.Addr(), 5432)} {
		r := newRig(t)
		var clients [2]net.PacketConn
		for i := range clients { // both hear from the same port
			local := netip.AddrPortFrom(client4, uint16(4000+i))
			if at.Addr().Is6() {
				local = netip.AddrPortFrom(client6, uint16(4000+i))
			}
			c, err := r.program.ListenUDPAddrPort(local)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			clients[i] = c
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, _ = c.WriteTo([]byte("request"), net.UDPAddrFromAddrPort(at))
			st := r.accept()
			_ = st.Reply(tunnel.Connected, "")
			b := make([]byte, 20)
			if n, err := st.Read(b); err != nil || string(b[:n]) != "request" {
				t.Fatalf("%q, %v", b[:n], err)
			}
			for range 2 {
				_ = st.WriteToPort([]byte("block"), 777)
				n, from, err := c.ReadFrom(b)
				if err != nil || string(b[:n]) != "block" || from.String() != netip.AddrPortFrom(at.Addr(), 777).String() {
					t.Fatalf("%q from %v, %v", b[:n], from, err)
				}
				_, _ = c.WriteTo([]byte("ack"), from)
				_ = st.SetReadDeadline(time.Now().Add(5 * time.Second))
				chunk, err := st.ReadChunk()
				if err != nil {
					t.Fatal(err)
				}
				if string(chunk.Bytes()) != "ack" || chunk.Port != 777 {
					t.Errorf("%q for port %d", chunk.Bytes(), chunk.Port)
				}
				chunk.Release()
			}
		}
	}
}

// More is asked for than may be: what is over is silence, and nothing is kept of it.
func TestAttemptsAreBounded(t *testing.T) {
	r := newRig(t)
	syn := func(port int) []byte {
		p := reset(tuple{netip.AddrPortFrom(server.Addr(), 80), netip.AddrPortFrom(client4, uint16(port))}, make([]byte, 20), 0)
		p[v4Header+13] = 2 // SYN
		return p
	}
	for port := range maxAttempts + 100 {
		r.engine.handle(syn(port + 1))
	}
	r.engine.mu.Lock()
	attempts, flows := len(r.engine.attempts), r.engine.flows.Load()
	r.engine.mu.Unlock()
	if attempts != maxAttempts || flows != maxAttempts {
		t.Errorf("%d attempts, %d flows", attempts, flows)
	}
	r.engine.close()
	if len(r.engine.attempts) != 0 || r.engine.flows.Load() != 0 {
		t.Errorf("after the end %d attempts, %d flows", len(r.engine.attempts), r.engine.flows.Load())
	}
}

func FuzzHandle(f *testing.F) {
	t4 := tuple{netip.AddrPortFrom(client4, 4711), server}
	t6 := tuple{netip.AddrPortFrom(client6, 4711), server6}
	for _, t := range []tuple{t4, t6} {
		back := tuple{t.server, t.client}
		f.Add(reset(back, make([]byte, 20), 0))
		f.Add(datagram(t))
		f.Add(echoRequest(t.client.Addr(), t.server.Addr(), "data"))
		f.Add(unreachable(back, datagram(t), noPort))
	}
	f.Add([]byte{0x4f})
	f.Add([]byte{0x60})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, flow, at := classify(b)
		if v == echo {
			if at+icmpHeader > len(b) {
				t.Fatalf("header at %d of %d", at, len(b))
			}
			if v, _, _ := classify(echoReply(flow, b[at:], b[at+icmpHeader:])); v != drop {
				t.Errorf("the reply is %d", v)
			}
			if v, _, _ := classify(unreachable(flow, quoteEcho(b, at), noHost)); v != drop {
				t.Errorf("the answer is %d", v)
			}
		}
		if v != open {
			return
		}
		if at+tcpHeader > len(b) || flow.client.Addr().Is4() != flow.server.Addr().Is4() {
			t.Fatalf("header at %d of %d, %v", at, len(b), flow)
		}
		if v, _, _ := classify(reset(flow, b, at)); v != pass {
			t.Errorf("the answer is %d", v)
		}
		if v, _, _ := classify(unreachable(flow, b[:at+tcpHeader], noHost)); v != drop {
			t.Errorf("the answer is %d", v)
		}
	})
}

// An address that stands for a name is that name to the gateway, for every
// protocol, and never an address, whatever resources have that.
func TestNames(t *testing.T) {
	r := newRig(t)
	for _, to := range []netip.AddrPort{synthetic, synthetic6} {
		_, st := r.connect(to)
		if got := st.Request().Target; got != (tunnel.Target{Network: tunnel.TCP, Host: "db.test", Port: 5432}) {
			t.Errorf("%s: %+v", to, got)
		}
		c, err := r.program.DialUDPAddrPort(netip.AddrPort{}, to)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("x"))
		if got := r.accept().Request().Target; got != (tunnel.Target{Network: tunnel.UDP, Host: "db.test", Port: 5432}) {
			t.Errorf("%s: %+v", to, got)
		}
		_ = c.Close()
		r.engine.handle(echoRequest(map[bool]netip.Addr{true: client4, false: client6}[to.Addr().Is4()], to.Addr(), "data"))
		if got := r.accept().Request().Target; got != (tunnel.Target{Network: tunnel.Echo, Host: "db.test"}) {
			t.Errorf("%s: %+v", to, got)
		}
		// Port 80 of an address is covered.
		if err, ok := (<-r.dialling(netip.AddrPortFrom(to.Addr(), 80))).(error); !ok || !strings.Contains(err.Error(), "refused") {
			t.Errorf("a port that the name's resource has not: %v", err)
		}
		if err, ok := (<-r.refused(to, tunnel.Refused)).(error); !ok || !strings.Contains(err.Error(), "refused") {
			t.Errorf("refused: %v", err)
		}
	}
}
