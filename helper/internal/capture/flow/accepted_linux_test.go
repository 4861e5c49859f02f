package flow

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// away is an Opener that has no link: Open waits as long as its context lasts.
type away chan error

func (a away) Open(ctx context.Context, _ tunnel.Request, _ []byte) (*tunnel.Stream, error) {
	<-ctx.Done()
	a <- context.Cause(ctx)
	return nil, context.Cause(ctx)
}

// A client that leaves while there is no link ends its attempt, if it has not spoken.
func TestClientLeavesWhileThereIsNoLink(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	gave := make(away, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		New(Options{Tunnel: gave}).Accepted(ctx, c.(*net.TCPConn), "names", target, owner.Owner{},
			func(net.Conn) (owner.Owner, error) { return owner.Owner{}, owner.ErrGone })
	}()
	defer func() { cancel(); <-done }()
	_ = client.Close()
	select {
	case err := <-gave:
		if err != errGone {
			t.Errorf("the attempt ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the attempt outlives its client")
	}
}
