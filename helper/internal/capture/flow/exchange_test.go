package flow

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
)

// slowToEnd is a Program whose Ended waits until the test goes on.
type slowToEnd struct {
	sends chan string
	ended chan struct{}
	goOn  chan struct{}
}

func (p *slowToEnd) Receive() (*netx.Chunk, owner.Owner, error) {
	text, ok := <-p.sends
	if !ok {
		return nil, owner.Owner{}, errors.New("no more")
	}
	c := netx.NewChunk(len(text))
	c.Grow(copy(c.Room(), text))
	return c, owner.Owner{}, nil
}

func (p *slowToEnd) Deliver([]byte)                                {}
func (p *slowToEnd) DeliverFrom(uint16, []byte, func([]byte) bool) {}
func (p *slowToEnd) Late([]byte, owner.Owner) bool                 { return false }
func (p *slowToEnd) Refused()                                      {}

func (p *slowToEnd) Ended(error) {
	select {
	case p.ended <- struct{}{}:
		<-p.goOn
	default:
	}
}

// A datagram that comes while its flow ends begins another one.
func TestDatagramWhileTheFlowEnds(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	late := time.AfterFunc(10*time.Second, func() { _ = gateway.Close() })
	defer late.Stop()
	p := &slowToEnd{make(chan string), make(chan struct{}, 1), make(chan struct{})}
	g := New(Options{Tunnel: capture})
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Exchange(context.Background(), p, g.OpenUDP("test", target))
	}()
	var first *tunnel.Stream
	for _, want := range []string{"one", "two"} {
		p.sends <- want
		if first != nil {
			time.AfterFunc(20*time.Millisecond, func() { close(p.goOn) })
		}
		st, err := gateway.Accept()
		if err != nil {
			t.Fatalf("there is no flow with %q: %v", want, err)
		}
		defer st.Close()
		b := make([]byte, 10)
		if n, err := st.Read(b); err != nil || string(b[:n]) != want {
			t.Fatalf("%q, %v; want %q", b[:n], err, want)
		}
		if first == nil {
			first = st
			_ = st.Reply(tunnel.Connected, "")
			st.Reset("another flow needs the place")
			<-p.ended
		}
	}
	close(p.sends)
	<-done
}
