package flow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var target = tunnel.Target{Network: tunnel.UDP, Host: "ntp.test", Port: 123}

// rig is a Demux by client, whose flows the test answers as the gateway.
type rig struct {
	t         *testing.T
	gateway   *tunnel.Session
	demux     *Demux[int]
	delivered chan string
	failed    chan error
	stop      context.CancelFunc
}

func newRig(t *testing.T) *rig {
	t.Helper()
	capture, gateway := tunneltest.Pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := &rig{t: t, gateway: gateway, delivered: make(chan string, 5000), failed: make(chan error, 10), stop: cancel}
	g := New(Options{Tunnel: capture})
	open := g.OpenUDP("test", target)
	r.demux = &Demux[int]{Gateway: g, Context: ctx,
		Open:    func(ctx context.Context, _ int, who owner.Owner) (net.Conn, error) { return open(ctx, who) },
		Deliver: func(key int, b []byte) { r.delivered <- fmt.Sprintf("%d:%s", key, b) },
		Failed: func(_ int, err error) {
			select {
			case r.failed <- err:
			default:
			}
		},
	}
	t.Cleanup(func() {
		cancel()
		r.demux.Wait()
		if r.demux.waiting.Load() != 0 || len(r.demux.boxes) != 0 {
			t.Errorf("%d bytes and %d exchanges are left", r.demux.waiting.Load(), len(r.demux.boxes))
		}
		if n := g.datagrams.asking.Len() + g.datagrams.answered.Len(); n != 0 {
			t.Errorf("%d slots are left", n)
		}
	})
	return r
}

func (r *rig) take(key int, text string) { r.demux.Take(key, owner.Owner{User: "dev"}, []byte(text)) }

func (r *rig) accept() *tunnel.Stream {
	r.t.Helper()
	late := time.AfterFunc(10*time.Second, func() { _ = r.gateway.Close() })
	defer late.Stop()
	st, err := r.gateway.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = st.Close() })
	_ = st.SetDeadline(time.Now().Add(10 * time.Second))
	return st
}

func (r *rig) read(st net.Conn, want string) {
	r.t.Helper()
	b := make([]byte, 100)
	if n, err := st.Read(b); err != nil || string(b[:n]) != want {
		r.t.Fatalf("%q %v, want %q", b[:n], err, want)
	}
}

func (r *rig) deliveredIs(want string) {
	r.t.Helper()
	select {
	case got := <-r.delivered:
		if got != want {
			r.t.Fatalf("%q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		r.t.Fatalf("%q does not arrive", want)
	}
}

func TestExchange(t *testing.T) {
	r := newRig(t)
	r.take(1, "one")
	st := r.accept()
	if got := st.Request(); got.Target != target || got.Origin.Source != "test" || got.Origin.User != "dev" {
		t.Errorf("%+v", got)
	}
	r.read(st, "one") // before the answer
	_ = st.Reply(tunnel.Connected, "")
	r.take(1, "")
	r.read(st, "")
	for _, text := range []string{"two", "", "three"} {
		if _, err := st.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		r.deliveredIs("1:" + text)
	}
	// The gateway ends what was idle. The next datagram begins another exchange.
	_ = st.Close()
	for waited := time.Now(); ; time.Sleep(time.Millisecond) {
		r.demux.mu.Lock()
		n := len(r.demux.boxes)
		r.demux.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Since(waited) > 10*time.Second {
			t.Fatal("the exchange does not end")
		}
	}
	r.take(1, "again")
	r.read(r.accept(), "again")
}

func TestExchangeRefused(t *testing.T) {
	r := newRig(t)
	r.take(1, "one")
	_ = r.accept().Reply(tunnel.Refused, "no listener")
	select {
	case err := <-r.failed:
		if Code(err) != tunnel.Refused {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("not told")
	}
}

// More clients than flows: those that have their answers give way, and nobody
// waits for ever.
func TestManyClients(t *testing.T) {
	r := newRig(t)
	r.demux.Gateway.datagrams.init(8)
	var answering sync.WaitGroup
	answering.Go(func() {
		for {
			st, err := r.gateway.Accept()
			if err != nil {
				return
			}
			_ = st.Reply(tunnel.Connected, "")
			answering.Go(func() {
				defer st.Close()
				b := make([]byte, 100)
				if n, err := st.Read(b); err == nil {
					_, _ = st.Write(b[:n])
					_, _ = st.Read(b) // until the capture ends it
				}
			})
		}
	})
	const clients = 400
	for i := range clients {
		r.take(i, fmt.Sprint(i))
	}
	seen := make(map[string]bool)
	for range clients {
		select {
		case got := <-r.delivered:
			seen[got] = true
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d clients have an answer", len(seen), clients)
		}
	}
	if len(seen) != clients {
		t.Errorf("%d of %d clients have an answer", len(seen), clients)
	}
	_ = r.gateway.Close()
	answering.Wait()
}

// A gateway that answers nothing costs a bounded number of flows, datagrams and
// goroutines, and a client that comes later has its turn.
func TestSilentGateway(t *testing.T) {
	r := newRig(t)
	g := r.demux.Gateway
	before := runtime.NumGoroutine()
	var silent sync.WaitGroup
	silent.Go(func() {
		for {
			if _, err := r.gateway.Accept(); err != nil {
				return
			}
		}
	})
	defer silent.Wait()
	for i := range 2 * maxBoxes {
		r.take(i, "x")
	}
	for i := range 200 {
		r.demux.Take(i, owner.Owner{}, make([]byte, 60<<10))
	}
	r.demux.mu.Lock()
	boxes := len(r.demux.boxes)
	r.demux.mu.Unlock()
	g.datagrams.mu.Lock()
	flows := g.datagrams.asking.Len()
	g.datagrams.mu.Unlock()
	if boxes > maxBoxes || r.demux.waiting.Load() > maxWaiting+60<<10 || flows > maxExchanges {
		t.Errorf("%d exchanges, %d bytes, %d flows", boxes, r.demux.waiting.Load(), flows)
	}
	if n := runtime.NumGoroutine() - before; n > maxBoxes+8*maxExchanges {
		t.Errorf("%d goroutines", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*patience)
	defer cancel()
	s, err := g.datagrams.take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.release()
	r.stop()
	r.demux.Wait()
	_ = r.gateway.Close()
}

func TestCode(t *testing.T) {
	_, refused := net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	for want, errs := range map[tunnel.Code][]error{
		tunnel.Denied:          {&tunnel.Error{Code: tunnel.Denied}, fmt.Errorf("x: %w", &tunnel.Error{Code: tunnel.Denied})},
		tunnel.Refused:         {owner.ErrStranger, owner.ErrGone, refused},
		tunnel.NoSuchName:      {&net.DNSError{IsNotFound: true}},
		tunnel.ResolveFailed:   {&net.DNSError{}},
		tunnel.HostUnreachable: {&net.OpError{Err: syscall.EHOSTUNREACH}},
		tunnel.NetUnreachable:  {&net.OpError{Err: syscall.ENETUNREACH}},
		tunnel.TimedOut:        {context.DeadlineExceeded, &net.OpError{Err: syscall.ETIMEDOUT}},
		tunnel.Failed:          {net.ErrClosed, errors.New("x")},
	} {
		for _, err := range errs {
			if got := Code(err); got != want {
				t.Errorf("%v is %v, want %v", err, got, want)
			}
		}
	}
}

// A socket of this machine takes the place of a flow, and holds no buffer while
// nothing comes.
func TestDirect(t *testing.T) {
	echo, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	r := newRig(t)
	r.demux.Open = func(ctx context.Context, _ int, _ owner.Owner) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", echo.LocalAddr().String())
	}
	b := make([]byte, 100)
	for _, text := range []string{"hello", "", "again"} {
		r.take(1, text)
		n, from, err := echo.ReadFromUDPAddrPort(b)
		if err != nil {
			t.Fatal(err)
		}
		if from.Addr() != netip.MustParseAddr("127.0.0.1") {
			t.Error(from)
		}
		if _, err := echo.WriteToUDPAddrPort(b[:n], from); err != nil {
			t.Fatal(err)
		}
		r.deliveredIs("1:" + text)
	}
}
