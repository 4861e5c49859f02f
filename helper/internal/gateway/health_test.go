package gateway

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/gateway/health"
	"github.com/causeway-dev/causeway/helper/internal/gateway/turns"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/time/rate"
)

func (r *rig) healthOf(name string) health.Report {
	for _, one := range r.g.Status().Resources {
		if one.Resource.Name == name {
			return one.Health
		}
	}
	return health.Report{}
}

// A resource is as it was found when the session began, on demand, and by connections.
func TestHealth(t *testing.T) {
	received := make(chan int, 64)
	port := serve(t, func(c *net.TCPConn) {
		n, _ := io.Copy(io.Discard, c)
		received <- int(n)
	})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := uint16(closed.Addr().(*net.TCPAddr).Port)
	_ = closed.Close()
	names := &dialtest.Names{Answers: map[string][]any{}}
	r := newRig(t, Options{CheckHealth: true, Dial: dial.Options{Resolver: names}}, fmt.Sprintf(`[
		{"name": "up", "host": "localhost", "ports": [%d], "as": "up.test"},
		{"name": "down", "host": "localhost", "ports": [%d], "as": "down.test"},
		{"name": "wide", "host": "localhost", "ports": ["20000:%d", "20001:%d"], "as": "wide.test"},
		{"name": "unknown", "host": "unknown.corp.test", "ports": [443]},
		{"name": "gone", "host": "gone.corp.test", "ports": [443]},
		{"name": "domain", "host": "*.corp.test", "ports": [443]},
		{"name": "udp", "host": "localhost", "ports": [%d], "protocols": ["udp"], "as": "udp.test"}
	]`, port, down, down, down, port))
	r.wait("tests at the start", func(s Status) bool {
		return r.healthOf("gone").State == health.Fails && r.healthOf("unknown").State == health.Fails && len(s.Trouble) == 1 &&
			r.healthOf("wide").State == health.Works && r.healthOf("down").State == health.Fails && r.healthOf("up").State == health.Works
	})
	if h := r.healthOf("gone"); h.Step != "resolve" || h.Hint == "" || !h.Common || h.Since.IsZero() {
		t.Errorf("%+v", h)
	}
	if h := r.healthOf("down"); h.Step != "connect" || h.Common {
		t.Errorf("%+v", h)
	}
	if d, u := r.healthOf("domain"), r.healthOf("udp"); d.State != health.Unknown || u.State != health.Unknown {
		t.Errorf("no test can tell: %+v, %+v", d, u)
	}
	for range len(received) {
		if n := <-received; n > 0 {
			t.Errorf("a test sent %d bytes", n)
		}
	}
	for _, name := range names.Asked {
		if name != "gone.corp.test" && name != "unknown.corp.test" {
			t.Errorf("the tests asked for %s", name)
		}
	}

	service, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", down))
	if err != nil {
		t.Fatal(err)
	}
	r.g.CheckHealth(t.Context())
	if h := r.healthOf("down"); h.State != health.Works {
		t.Errorf("the service runs now: %+v", h)
	}
	_ = service.Close()
	if code, _ := r.code(tunnel.TCP, "down.test", down); code != tunnel.Refused {
		t.Fatal(code)
	}
	if h := r.healthOf("down"); h.State != health.Fails || time.Since(h.Since) > 5*time.Second {
		t.Errorf("a connection failed: %+v", h)
	}
	if code, _ := r.code(tunnel.TCP, "up.test", port); code != tunnel.Connected {
		t.Fatal(code)
	}
	if h := r.healthOf("up"); h.State != health.Works || h.Port != port {
		t.Errorf("a connection worked: %+v", h)
	}
}

// A gateway that nobody looks at tests nothing by itself.
func TestHealthOfUseAlone(t *testing.T) {
	names := &dialtest.Names{Answers: map[string][]any{}}
	r := newRig(t, Options{Dial: dial.Options{Resolver: names}}, `[{"name": "gone", "host": "gone.corp.test", "ports": [443]}]`)
	r.published()
	if h := r.healthOf("gone"); h.State != health.Unknown || len(names.Asked) > 0 {
		t.Errorf("%+v, asked %v", h, names.Asked)
	}
	r.code(tunnel.Lookup, "gone.corp.test", 0)
	if h := r.healthOf("gone"); h.State != health.Fails || h.Step != "resolve" {
		t.Errorf("a look-up failed: %+v", h)
	}
}

// A test that gets no turn leaves what is known as it is.
func TestHealthWithoutTurn(t *testing.T) {
	port := serve(t, echo)
	r := &rig{t: t, g: New(Options{})}
	r.g.dials = turns.New(turns.Limits{Places: 1, Rate: rate.Every(time.Hour), Burst: 1, Patience: time.Millisecond})
	r.approve("[" + loopbackAs("up.test", port) + "]")
	for range 2 {
		r.g.CheckHealth(t.Context())
		if h := r.g.Status().Resources[0].Health; h.State != health.Works || h.Step != "connect" {
			t.Errorf("%+v", h)
		}
	}
}
