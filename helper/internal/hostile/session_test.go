package hostile_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/hostile"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// A breach inside the tunnel ends the carrier below it as well. Both sides learn why.
func TestBreachEndsTheCarrier(t *testing.T) {
	m := hostile.NewMeter(t)
	c := gatewayCarrier(t, carrier.Options{})
	s, err := tunnel.Server(c, tunnel.Options{Carrier: c, Memory: c.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	l := attach(t, c, carrier.DefaultWindow)
	if err := l.WriteFrame(dataFrame(linkData, 0, frame(goAway, 0, 0, 0, nil))); err != nil {
		t.Fatal(err)
	}
	const why = "breaks the protocol"
	told := ""
	for {
		b, err := l.ReadFrame()
		if err != nil {
			break
		}
		if b[0] == linkClose {
			told = string(b[1:])
		}
	}
	if !strings.Contains(told, why) {
		t.Errorf("the peer was told %q", told)
	}
	select {
	case <-c.Done():
		if err := c.Err(); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), why) {
			t.Errorf("the carrier ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the carrier lives on")
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("the session ended with %v", err)
	}
	_ = s.Close()
	m.Settles(hostile.Usage{Goroutines: 1, Heap: 1 << 20, Descriptors: 4})
}
