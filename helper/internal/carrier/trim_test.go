package carrier

import (
	"io"
	"sync"
	"testing"
)

// A direct link that is closed as of no use takes nothing with it, and links of
// other kinds stay.
func TestTrim(t *testing.T) {
	g, c, _, _ := pair(t)
	for range 3 {
		gl, cl := links()
		gl.kind, cl.kind = KindDirect, KindDirect
		var wg sync.WaitGroup
		for _, end := range []struct {
			c *Conn
			l *pipeLink
		}{{g, gl}, {c, cl}} {
			wg.Go(func() {
				if err := end.c.Attach(t.Context(), end.l); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	const size = 16 << 20
	go func() { _, _ = g.Write(make([]byte, size)) }()
	if _, err := io.CopyN(io.Discard, c, size/2); err != nil {
		t.Fatal(err)
	}
	g.Trim(1)
	if s := g.Link(); s.Kind != KindDirect || s.Links != 1 {
		t.Errorf("%d links, of kind %q", s.Links, s.Kind)
	}
	if _, err := io.CopyN(io.Discard, c, size-size/2); err != nil {
		t.Fatal(err)
	}
	g.Trim(0)
	if s := g.Link(); s.Kind != "test" {
		t.Errorf("the link left is %q", s.Kind)
	}
}
