package hostile_test

import (
	"net"
	"runtime"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/hostile"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// silent is a testing.TB whose failures are counted and not reported.
type silent struct {
	testing.TB
	failed int
}

func (s *silent) Errorf(string, ...any) { s.failed++ }
func (s *silent) Helper()               {}

func TestMeterSeesEachFigure(t *testing.T) {
	s := &silent{TB: t}
	m := hostile.NewMeter(s)
	room := hostile.Usage{Goroutines: 1, Heap: 1 << 20, Descriptors: 1}
	m.AtMost(room)
	if s.failed != 0 {
		t.Fatal("nothing has grown, and the meter says so")
	}
	quit := make(chan struct{})
	for range 3 {
		go func() { <-quit }()
	}
	if got := m.Grown(); got.Goroutines != 3 {
		t.Errorf("grown by %v, want 3 goroutines", got)
	}
	m.AtMost(room)
	close(quit)
	m.Settles(room)
	peak := m.Peak()
	kept := make([]byte, 8<<20)
	m.AtMost(room)
	if got := peak(); got < 8<<20 {
		t.Errorf("a peak of %d bytes", got)
	}
	runtime.KeepAlive(kept)
	m.Settles(room)
	var open []net.Listener
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, ln)
	}
	m.AtMost(room)
	for _, ln := range open {
		_ = ln.Close()
	}
	m.Settles(room)
	if s.failed != 3 {
		t.Errorf("%d failures, want one each for goroutines, heap and descriptors", s.failed)
	}
}
