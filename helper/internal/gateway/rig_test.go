package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
	"github.com/rs/zerolog"
)

// rig is a gateway that serves one capture.
type rig struct {
	t       *testing.T
	g       *Gateway
	capture *tunnel.Session
	control *peer.Reader
	write   *tunnel.Stream // the control stream
	served  chan error
	changed chan struct{}
	log     *logBuffer
	cancel  context.CancelFunc
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t *testing.T, o Options, resources string) *rig {
	t.Helper()
	capture, gateway := tunneltest.Pair(t)
	return newRigOver(t, o, resources, capture, gateway)
}

func newRigOver(t *testing.T, o Options, resources string, capture, gateway *tunnel.Session) *rig {
	t.Helper()
	r := &rig{t: t, served: make(chan error, 1), changed: make(chan struct{}, 1), log: new(logBuffer)}
	o.Log = zerolog.New(r.log)
	o.OnChange = func() {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
	r.g = New(o)
	r.approve(resources)
	r.capture = capture
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() { r.served <- r.g.Serve(ctx, gateway) }()
	t.Cleanup(func() {
		cancel()
		if err := <-r.served; err == nil {
			t.Error("Serve ended without a reason")
		}
	})
	st, err := capture.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.write, r.control = st, peer.NewReader(st)
	return r
}

func (r *rig) approve(src string) {
	r.t.Helper()
	var list []resource.Approved
	for _, one := range dialtest.Parse(r.t, src) {
		list = append(list, resource.Approved{Resource: one, From: resource.FromUser})
	}
	r.g.SetApproved(list)
}

func (r *rig) published() peer.Publish {
	r.t.Helper()
	var p peer.Publish
	if err := r.control.Read(&p); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// wait waits for a state that changes are announced on the way to.
func (r *rig) wait(what string, ok func(Status) bool) {
	r.t.Helper()
	deadline := time.After(5 * time.Second)
	for !ok(r.g.Status()) {
		select {
		case <-r.changed:
		case <-time.After(5 * time.Millisecond): // byte counts change unannounced
		case <-deadline:
			r.t.Fatalf("%s: still %+v", what, r.g.Status())
		}
	}
}

func (r *rig) open(network tunnel.Network, host string, port uint16, early string) *tunnel.Stream {
	r.t.Helper()
	st, err := r.capture.Open(r.t.Context(), tunnel.Request{Target: tunnel.Target{Network: network, Host: host, Port: port}}, []byte(early))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { st.Close() })
	_ = st.SetDeadline(time.Now().Add(10 * time.Second))
	return st
}

func (r *rig) code(network tunnel.Network, host string, port uint16) (tunnel.Code, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	reason, err := r.open(network, host, port, "").Answer(ctx)
	if err == nil {
		return tunnel.Connected, reason
	}
	e, ok := errors.AsType[*tunnel.Error](err)
	if !ok {
		r.t.Fatalf("%s:%d: %v", host, port, err)
	}
	return e.Code, e.Reason
}

// serve runs a TCP server on loopback.
func serve(t *testing.T, handle func(*net.TCPConn)) (port uint16) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); handle(c.(*net.TCPConn)) })
		}
	})
	return netip.MustParseAddrPort(ln.Addr().String()).Port()
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c); _ = c.CloseWrite() }

func loopbackAs(name string, port uint16) string {
	return fmt.Sprintf(`{"name": %q, "host": "localhost", "ports": ["%d"], "as": %q}`, name, port, name)
}

func closedPort(t *testing.T) uint16 {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return netip.MustParseAddrPort(ln.Addr().String()).Port()
}

// TestApprovalsChangeUnderLoad shakes SetApproved against flows that begin and end.
func netTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

var _ netx.DialFunc = (*dialtest.Net)(nil).Dial
