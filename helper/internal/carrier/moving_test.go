package carrier

import (
	"testing"
	"time"
)

func moves(c *Conn) bool {
	select {
	case <-c.Moving():
		return true
	default:
		return false
	}
}

// Moving tells of links that come and go, and that stall.
func TestMoving(t *testing.T) {
	g, c := newPair(t, 0)
	if moves(g) {
		t.Error("it moves without a link")
	}
	waiting := g.Moving()
	gErr, cErr, gl, cl := attachBoth(t, g, c)
	if gErr != nil || cErr != nil {
		t.Fatalf("attach: %v, %v", gErr, cErr)
	}
	select {
	case <-waiting:
	case <-time.After(5 * time.Second):
		t.Fatal("it does not move with a link")
	}
	g.mu.Lock()
	g.links[0].stalled = true // as watch notes it
	g.updateMoving()
	g.mu.Unlock()
	if moves(g) {
		t.Error("it moves with a link that stalls")
	}
	waiting = g.Moving()
	if _, err := c.Write([]byte("x")); err != nil { // any frame ends the stall
		t.Fatal(err)
	}
	select {
	case <-waiting:
	case <-time.After(5 * time.Second):
		t.Fatal("it does not move after the stall")
	}
	_, _ = gl.Close(), cl.Close()
	for deadline := time.Now().Add(5 * time.Second); moves(g); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it moves after its link was lost")
		}
	}
}
