//go:build linux

package names

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
)

func TestFlow(t *testing.T) {
	f := start(t, Options{})
	f.apply([]peer.Published{tcp("db.test", 5432)})
	r := f.report("db.test")
	if r.Address != f.lookup("db.test") || len(r.Served) != 1 || r.Served[0] != "db.test:5432" || r.Trouble != "" {
		t.Errorf("%+v", r)
	}
	for _, order := range []string{"client", "server"} {
		c := f.dial("db.test", 5432)
		st := f.accept()
		want := tunnel.Request{Target: tunnel.Target{Network: tunnel.TCP, Host: "db.test", Port: 5432},
			Origin: tunnel.Origin{Source: "names", User: "root"}}
		if st.Request() != want {
			t.Errorf("%+v", st.Request())
		}
		if err := st.Reply(tunnel.Connected, ""); err != nil {
			t.Fatal(err)
		}
		if order == "client" {
			send(t, c, "hello")
			_ = c.CloseWrite()
			expect(t, st, "hello")
			expectEOF(t, st)
			send(t, st, "still here")
			_ = st.CloseWrite()
			expect(t, c, "still here")
			expectEOF(t, c)
			continue
		}
		send(t, st, "greeting")
		_ = st.CloseWrite()
		expect(t, c, "greeting")
		expectEOF(t, c)
		send(t, c, "still here")
		_ = c.CloseWrite()
		expect(t, st, "still here")
		expectEOF(t, st)
	}
}

// What the client says at once is there with the request, before the answer.
func TestEarlyData(t *testing.T) {
	opened := make(chan []byte, 1)
	capture, gateway := tunneltest.Pair(t)
	f := start(t, Options{Gateway: through(func(ctx context.Context, r tunnel.Request, early []byte) (*tunnel.Stream, error) {
		opened <- bytes.Clone(early)
		return capture.Open(ctx, r, early)
	}), Check: func(c net.Conn) (owner.Owner, error) {
		// Nothing is read before the client has said all it has to say.
		rc, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			return owner.Owner{}, err
		}
		return owner.Owner{}, rc.Read(func(fd uintptr) bool {
			n, _, _ := syscall.Recvfrom(int(fd), make([]byte, 16), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			return n == 5
		})
	}})
	f.gateway = gateway
	f.apply([]peer.Published{tcp("db.test", 5432)})
	c := f.dial("db.test", 5432)
	send(t, c, "early")
	if got := <-opened; string(got) != "early" {
		t.Errorf("%q went along", got)
	}
	st := f.accept()
	expect(t, st, "early")
	send(t, c, "later")
	expect(t, st, "later")
	_ = st.Reply(tunnel.Connected, "")
	send(t, c, "late")
	expect(t, st, "late")
}

func through(f openerFunc) *flow.Gateway { return flow.New(flow.Options{Tunnel: f}) }

type openerFunc func(context.Context, tunnel.Request, []byte) (*tunnel.Stream, error)

func (f openerFunc) Open(ctx context.Context, r tunnel.Request, early []byte) (*tunnel.Stream, error) {
	return f(ctx, r, early)
}

func TestRefusedIsReset(t *testing.T) {
	f := start(t, Options{})
	f.apply([]peer.Published{tcp("db.test", 5432)})
	for _, reset := range []func(*tunnel.Stream){
		func(st *tunnel.Stream) { _ = st.Reply(tunnel.Denied, "policy"); _ = st.Close() },
		func(st *tunnel.Stream) { st.Reset("gone") },
		func(st *tunnel.Stream) { _ = st.Reply(tunnel.Connected, ""); st.Reset("gone") },
	} {
		c := f.dial("db.test", 5432)
		send(t, c, "x")
		reset(f.accept())
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v, want a reset", err)
		}
	}
}

func TestStrangerIsReset(t *testing.T) {
	f := start(t, Options{Check: func(net.Conn) (owner.Owner, error) { return owner.Owner{}, owner.ErrStranger },
		Gateway: through(func(context.Context, tunnel.Request, []byte) (*tunnel.Stream, error) {
			t.Error("a flow was opened for a stranger")
			return nil, net.ErrClosed
		})})
	f.apply([]peer.Published{tcp("db.test", 5432)})
	c, err := net.Dial("tcp", f.lookup("db.test")+":5432")
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) { // the connection may be gone before Dial has looked at it
		t.Errorf("%v, want a reset", err)
	}
}

// A client that resets, or goes away without a word, ends the attempt; one that
// said something and left is heard out.
func TestClientGoneWhileWaiting(t *testing.T) {
	checker := owner.New(os.Geteuid())
	defer checker.Close()
	checked := make(chan struct{}, 100)
	f := start(t, Options{Check: func(c net.Conn) (owner.Owner, error) {
		defer func() { checked <- struct{}{} }()
		return checker.Check(c)
	}})
	f.apply([]peer.Published{tcp("db.test", 5432)})

	for _, early := range []string{"", "x"} {
		c := f.dial("db.test", 5432)
		send(t, c, early)
		<-checked
		st := f.accept()
		_ = c.CloseWrite()
		if early == "" {
			<-checked // for it ended its direction: but it is there
		}
		_ = st.Reply(tunnel.Connected, "")
		expect(t, st, early)
		expectEOF(t, st)
		send(t, st, "answer")
		expect(t, c, "answer")
	}

	c := f.dial("db.test", 5432)
	st := f.accept()
	_ = c.SetLinger(0)
	_ = c.Close()
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after a reset: %v", err)
	}

	c = f.dial("db.test", 5432)
	st = f.accept()
	_ = c.Close()
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after it left without a word: %v", err)
	}

	c = f.dial("db.test", 5432)
	send(t, c, "x")
	st = f.accept()
	expect(t, st, "x")
	_ = c.SetLinger(0)
	_ = c.Close()
	if _, err := st.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after data and a reset: %v", err)
	}

	c = f.dial("db.test", 5432)
	st = f.accept()
	send(t, c, "last words")
	_ = c.Close()
	_ = st.Reply(tunnel.Connected, "")
	expect(t, st, "last words")
	expectEOF(t, st)
}
