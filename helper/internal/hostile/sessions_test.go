package hostile_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// gatewaySession is a session of a gateway over a carrier, as a helper has it. It
// accepts every flow and reads none.
func gatewaySession(t *testing.T, budget *netx.Budget) (s *tunnel.Session, peer net.Conn) {
	t.Helper()
	c := gatewayCarrier(t, carrier.Options{Budget: budget})
	other := carrier.New(carrier.Options{Role: carrier.Capture, Budget: netx.NewBudget(1 << 40)})
	t.Cleanup(func() { _ = other.Close() })
	ours, theirs := tcpPair(t)
	var attaching sync.WaitGroup
	for _, end := range []struct {
		c    *carrier.Conn
		conn net.Conn
	}{{c, ours}, {other, theirs}} {
		attaching.Go(func() {
			if err := end.c.Attach(t.Context(), carrier.NewStream(end.conn)); err != nil {
				t.Error(err)
			}
		})
	}
	attaching.Wait()
	s, err := tunnel.Server(c, tunnel.Options{Carrier: c, Memory: c.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	go func() {
		for {
			st, err := s.Accept()
			if err != nil {
				return
			}
			_ = st.Reply(tunnel.Connected, "")
		}
	}()
	return s, other
}

// A session whose peer opens as many streams as it can holds most of the memory by
// their number alone. Another session pays nothing for that: it keeps its flows, which
// buffer data, and opens new ones.
func TestManyStreamsCostNoOtherSession(t *testing.T) {
	// 5,120 streams of 8 KiB, and little more.
	budget := netx.NewBudget(42 << 20)
	guilty, bad := gatewaySession(t, budget)
	go func() { _, _ = io.Copy(io.Discard, bad) }()
	for i := range uint32(5120) {
		if _, err := bad.Write(open(1+2*i, tunnel.TCP)); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(30 * time.Second); budget.Used() < 40<<20; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the streams hold %d bytes", budget.Used())
		}
	}
	const flows = 200
	honest, far := gatewaySession(t, budget)
	capture, err := tunnel.Client(far, tunnel.Options{Memory: netx.NewBudget(1 << 40).Share(nil)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = capture.Close() })
	var all []*tunnel.Stream
	for range flows {
		st, err := capture.Open(t.Context(), tunnel.Request{Target: tunnel.Target{Network: tunnel.TCP, Host: "db"}}, make([]byte, tunnel.EarlyMax))
		if err == nil {
			_, err = st.Answer(t.Context())
		}
		if err != nil {
			t.Fatalf("flow %d: %v", len(all), err)
		}
		all = append(all, st)
	}
	select {
	case <-guilty.Done():
		if err := guilty.Err(); !strings.Contains(err.Error(), "memory") {
			t.Errorf("the guilty session ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("the guilty session lives on; %d bytes are held", budget.Used())
	}
	if err := honest.Err(); err != nil {
		t.Errorf("the honest session ended: %v", err)
	}
	for i, st := range all {
		_ = st.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := st.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "reset") {
			t.Fatalf("flow %d: %v", i, err)
		}
	}
}
