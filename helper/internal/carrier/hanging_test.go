package carrier

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// slowLink writes only while it may.
type slowLink struct {
	*pipeLink
	may chan struct{}
}

func (l slowLink) WriteFrame(p []byte) error {
	<-l.may
	return l.pipeLink.WriteFrame(p)
}

// Whoever closes as well does not take the link from under the reason.
func TestClosedTwiceTellsThePeerWhy(t *testing.T) {
	g, c := newPair(t, time.Second)
	gl, cl := links()
	slow := slowLink{gl, make(chan struct{}, 100)}
	for range 100 {
		slow.may <- struct{}{}
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Attach(t.Context(), slow) })
	wg.Go(func() { _ = c.Attach(t.Context(), cl) })
	wg.Wait()
	for empty := false; !empty; {
		select {
		case <-slow.may:
		default:
			empty = true
		}
	}
	wg.Go(func() { _ = g.CloseWithReason("the user disconnected") })
	<-g.Done()
	wg.Go(func() { _ = g.Close() })
	time.Sleep(20 * time.Millisecond)
	close(slow.may)
	wg.Wait()
	<-c.Done()
	if err := c.Err(); !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "the user disconnected") {
		t.Fatalf("capture ended with %v", err)
	}
}

// A direct link that hangs gives what it had to the others.
func TestStalledDirectLinkHoldsUpNothing(t *testing.T) {
	g, c := newPair(t, 0)
	hanging := make(chan struct{}, 20) // frames that it carries
	t.Cleanup(func() { close(hanging) })
	for range 20 {
		hanging <- struct{}{}
	}
	for i := range 2 {
		gl, cl := links()
		gl.kind, cl.kind = KindDirect, KindDirect
		var link Link = gl
		if i == 0 {
			link = slowLink{gl, hanging}
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := g.Attach(t.Context(), link); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { _ = c.Attach(t.Context(), cl) })
		wg.Wait()
	}
	const size = 32 << 20
	go func() { _, _ = g.Write(make([]byte, size)) }()
	read := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, c, size)
		read <- err
	}()
	select {
	case err := <-read:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for the link that hangs")
	}
	if len(hanging) > 0 {
		t.Errorf("that link had %d frames to go", len(hanging))
	}
}
