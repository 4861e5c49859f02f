package carrier

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
)

// Frames of every size come out as they went in, wherever the connection cuts them.
func TestStreamFrames(t *testing.T) {
	near, far := net.Pipe()
	t.Cleanup(func() { _ = near.Close() })
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var wire []byte
	var want [][]byte
	for _, n := range []int{0, 1, streamFrame, streamFrame, streamFrame - 1, 3} {
		want = append(want, make([]byte, n))
	}
	for range 200 {
		want = append(want, make([]byte, rnd.IntN(1<<rnd.IntN(18))))
	}
	for _, f := range want {
		for i := range f {
			f[i] = byte(rnd.Uint32())
		}
		wire = append(binary.BigEndian.AppendUint32(wire, uint32(len(f))), f...)
	}
	go func() {
		for len(wire) > 0 {
			n := min(len(wire), 1+rnd.IntN(1<<rnd.IntN(19)))
			if _, err := far.Write(wire[:n]); err != nil {
				return
			}
			wire = wire[n:]
		}
		_, _ = far.Write([]byte{0xff, 0xff, 0xff, 0xff})
	}()
	l := NewStream(near)
	for i, f := range want {
		got, err := l.ReadFrame()
		if err != nil || !bytes.Equal(got, f) {
			t.Fatalf("frame %d: %d bytes, %v; want %d", i, len(got), err, len(f))
		}
	}
	if _, err := l.ReadFrame(); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a frame beyond the bound: %v", err)
	}
}
