package tun

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
	"go.uber.org/goleak"
	wgtun "golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	client4, client6 = netip.MustParseAddr("198.18.1.1"), netip.MustParseAddr("fd00::1")
	server           = netip.MustParseAddrPort("10.20.0.7:80")
	server6          = netip.MustParseAddrPort("[fd20::7]:80")
)

// wire is the other end of a program's device, so that what a stack in memory
// sends arrives as it would from the kernel's.
type wire struct {
	wgtun.Device // the program's
	packets      chan []byte
	icmp         chan [2]byte // type and code of errors that the engine sent
	echoes       chan []byte  // IP packets with replies to pings
	done         chan struct{}
	once         sync.Once
	pump         sync.WaitGroup
}

func newWire(program wgtun.Device) *wire {
	w := &wire{Device: program, packets: make(chan []byte), icmp: make(chan [2]byte, 100), echoes: make(chan []byte, 100), done: make(chan struct{})}
	w.pump.Go(func() {
		bufs, sizes := [][]byte{make([]byte, maxPacket)}, make([]int, 1)
		for {
			if _, err := program.Read(bufs, sizes, 0); err != nil {
				return
			}
			select {
			case w.packets <- append([]byte(nil), bufs[0][:sizes[0]]...):
			case <-w.done:
			}
		}
	})
	return w
}

func (w *wire) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case p := <-w.packets:
		sizes[0] = copy(bufs[0][offset:], p)
		return 1, nil
	case <-w.done:
		return 0, os.ErrClosed
	}
}

func (w *wire) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		switch p := b[offset:]; {
		case p[0]>>4 == 4 && p[9] == 1 && p[v4Header] == 0, p[0]>>4 == 6 && p[6] == 58 && p[v6Header] == 129:
			w.echoes <- append([]byte(nil), p...)
		case p[0]>>4 == 4 && p[9] == 1:
			w.icmp <- [2]byte(p[v4Header:])
		case p[0]>>4 == 6 && p[6] == 58:
			w.icmp <- [2]byte(p[v6Header:])
		}
	}
	return w.Device.Write(bufs, offset)
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.done) })
	return nil
}

// rig is an engine between a program and a gateway.
type rig struct {
	t       *testing.T
	engine  *engine
	program *netstack.Net
	gateway *tunnel.Session
	wire    *wire
	who     error // what the check of the next connection says
	mu      sync.Mutex
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dev, program, err := netstack.CreateNetTUN([]netip.Addr{client4, client6}, nil, 65520)
	if err != nil {
		t.Fatal(err)
	}
	capture, gateway := tunneltest.Pair(t)
	r := &rig{t: t, program: program, gateway: gateway, wire: newWire(dev)}
	t.Cleanup(func() {
		_ = r.wire.Close()
		_ = dev.Close()
		r.wire.pump.Wait()
	})
	r.engine, err = newEngine(r.options(capture), r.wire, 65520, 7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.engine.close)
	return r
}

func (r *rig) options(o flow.Opener) Options {
	return Options{
		Gateway: flow.New(flow.Options{Tunnel: o, Origin: originOf}),
		Covers: func(network string, a netip.Addr, port uint16) bool {
			return network == "icmp" && a != server.Addr() || port == 80 && !a.IsLoopback()
		},
		Check: func(client, _ netip.AddrPort, device int) (owner.Owner, error) {
			if device != 7 || client.Addr() != client4 && client.Addr() != client6 {
				r.t.Errorf("asked for %s at device %d", client, device)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			return dev, r.who
		},
		CheckEcho: func(client netip.Addr, id uint16) (owner.Owner, error) {
			if id != 0x1234 {
				r.t.Errorf("asked for the ping %x of %s", id, client)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			return owner.Owner{User: "dev"}, r.who
		},
		CheckUDP: func(_, _ netip.AddrPort) (owner.Owner, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return dev, r.who
		},
		Names: fakeNames{},
		CoversName: func(network, name string, port uint16) bool {
			return name == "db.test" && (network == "icmp" || port > 5000)
		},
	}
}

// fakeNames has one name, at synthetic and synthetic6.
type fakeNames struct{}

var (
	synthetic  = netip.MustParseAddrPort("198.19.240.9:5432")
	synthetic6 = netip.MustParseAddrPort("[fdc5:7a0e:93d1:13f0::9]:5432")
)

func (fakeNames) Lead(hostnet.Ranges) {}

func (fakeNames) At(a netip.Addr) (string, bool) {
	return "db.test", a == synthetic.Addr() || a == synthetic6.Addr()
}

var dev = owner.Owner{User: "dev", Inode: 7}

// originOf shows in what a flow tells who it was asked of.
func originOf(source string, t tunnel.Target, who owner.Owner) tunnel.Origin {
	return owner.Process{User: who.User, PID: int(who.Inode), Program: t.String()}.Origin(source)
}

func (r *rig) refuseAll(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.who = err
}

// dialling is a connection that a program waits for.
func (r *rig) dialling(to netip.AddrPort) <-chan any {
	ended := make(chan any, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	r.t.Cleanup(cancel)
	go func() {
		c, err := r.program.DialContextTCPAddrPort(ctx, to)
		if err != nil {
			ended <- err
			return
		}
		ended <- c
	}()
	return ended
}

// accept takes a flow at the gateway.
func (r *rig) accept() *tunnel.Stream {
	r.t.Helper()
	st, err := r.gateway.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = st.Close() })
	return st
}

// connect returns both ends of a flow.
func (r *rig) connect(to netip.AddrPort) (net.Conn, *tunnel.Stream) {
	r.t.Helper()
	waiting := r.dialling(to)
	st := r.accept()
	if err := st.Reply(tunnel.Connected, ""); err != nil {
		r.t.Fatal(err)
	}
	c, ok := (<-waiting).(net.Conn)
	if !ok {
		r.t.Fatal("not connected")
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c, st
}

// refused is dialling to where the gateway answers with code.
func (r *rig) refused(to netip.AddrPort, code tunnel.Code) <-chan any {
	r.t.Helper()
	waiting := r.dialling(to)
	if err := r.accept().Reply(code, ""); err != nil {
		r.t.Fatal(err)
	}
	return waiting
}
