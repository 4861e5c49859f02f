package tun

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/offer"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	wgtun "golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/tuntest"
)

// fakeHost takes every route but those within 10.66.0.0/16.
type fakeHost struct {
	mu     sync.Mutex
	routes []netip.Prefix
	done   chan struct{}
	once   sync.Once
}

func (h *fakeHost) SetRoutes(_ context.Context, prefixes []netip.Prefix) (reports []hostnet.RouteReport, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.routes = slices.Clone(prefixes)
	for _, p := range prefixes {
		r := hostnet.RouteReport{Prefix: p}
		switch {
		case netip.MustParsePrefix("10.66.0.0/16").Contains(p.Addr()):
			r.Refused = "it is guarded"
		case p.Bits() < 10:
			r.Local = []netip.Prefix{netip.MustParsePrefix("10.5.0.0/16")}
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func (h *fakeHost) Done() <-chan struct{} { return h.done }
func (h *fakeHost) Err() error            { return errors.New("it was killed") }
func (h *fakeHost) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

type sourceRig struct {
	source  *Source
	mu      sync.Mutex
	hosts   []*fakeHost
	failing error
	changed chan struct{}
	led     hostnet.Ranges
}

func (r *sourceRig) Lead(to hostnet.Ranges) { r.led = to }

func (r *sourceRig) At(netip.Addr) (string, bool) { return "", false }

var someRanges = hostnet.Ranges{V4: netip.MustParsePrefix("198.19.240.0/20")}

func newSource(t *testing.T) *sourceRig {
	r := &sourceRig{changed: make(chan struct{}, 100)}
	o := Options{Retry: 20 * time.Millisecond, Changed: func() { r.changed <- struct{}{} }, Start: r.start}
	r.source = New(o)
	r.source.o.open = func(*os.File) (wgtun.Device, error) { return quiet{tuntest.NewChannelTUN().TUN()}, nil }
	t.Cleanup(r.source.Close)
	return r
}

// quiet is a device that takes whatever is written.
type quiet struct{ wgtun.Device }

func (quiet) Write(bufs [][]byte, _ int) (int, error) { return len(bufs), nil }

func (r *sourceRig) start(context.Context) (Started, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing != nil {
		return Started{}, r.failing
	}
	h := &fakeHost{done: make(chan struct{})}
	r.hosts = append(r.hosts, h)
	return Started{Host: h, Device: &hostnet.Device{Name: "causeway0", Index: 7, MTU: 1500, Names: someRanges}}, nil
}

func (r *sourceRig) apply(published []peer.Published) {
	set, err := offer.Parse(published)
	if err != nil {
		panic(err)
	}
	r.source.Apply(set)
}

func (r *sourceRig) started() []*fakeHost {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.hosts)
}

func publish(hosts ...string) (all []peer.Published) {
	for _, h := range hosts {
		all = append(all, peer.Published{Name: h, Host: h})
	}
	return all
}

func TestRoutesFollowWhatIsPublished(t *testing.T) {
	r := newSource(t)
	r.apply(publish("db.test", "*.test"))
	if n := len(r.started()); n != 0 || r.source.Report()[0] != (Route{}) {
		t.Fatalf("%d devices for names: %+v", n, r.source.Report())
	}
	r.apply(publish("db.test", "10.20.0.7", "fd20::/64", "10.66.0.0/24", "10.20.0.7", "10.0.0.0/8"))
	h := r.started()[0]
	want := []string{"10.20.0.7/32", "fd20::/64", "10.66.0.0/24", "10.0.0.0/8"}
	if got := texts(h.routes); !slices.Equal(got, want) {
		t.Errorf("routes %v, want %v", got, want)
	}
	report := r.source.Report()
	for i, want := range []Route{{}, {Address: true, Served: true}, {Address: true, Served: true},
		{Address: true, Trouble: "no route leads to 10.66.0.0/24: it is guarded"}, {Address: true, Served: true},
		{Address: true, Served: true, Trouble: "this machine's own networks stay as they are: 10.5.0.0/16"}} {
		if report[i] != want {
			t.Errorf("%d: %+v, want %+v", i, report[i], want)
		}
	}
	// Without anything that leads there, there is no device.
	r.apply(publish("10.66.0.0/24"))
	select {
	case <-h.done:
	default:
		t.Error("the device stays for nothing")
	}
	if got := r.source.Report()[0]; got.Served || got.Trouble == "" {
		t.Errorf("%+v", got)
	}
}

func texts(prefixes []netip.Prefix) (all []string) {
	for _, p := range prefixes {
		all = append(all, p.String())
	}
	return all
}

// A subcommand that dies takes the device with it, at once, and another follows.
func TestLostDeviceIsMadeAgain(t *testing.T) {
	r := newSource(t)
	r.apply(publish("10.20.0.7"))
	<-r.changed
	_ = r.started()[0].Close()
	<-r.changed
	if got := r.source.Report()[0]; got.Served || !strings.Contains(got.Trouble, "it was killed") {
		t.Errorf("%+v", got)
	}
	<-r.changed
	if got := r.source.Report()[0]; !got.Served || len(r.started()) != 2 {
		t.Errorf("%+v after %d devices", got, len(r.started()))
	}
}

func TestNoDevice(t *testing.T) {
	r := newSource(t)
	r.failing = errors.New("cannot open a TUN device: no")
	r.apply(publish("10.20.0.7"))
	if got := r.source.Report()[0]; got != (Route{Address: true, Trouble: "cannot open a TUN device: no"}) {
		t.Errorf("%+v", got)
	}
	// What has changed since may have brought the right.
	r.failing = nil
	r.apply(publish("10.20.0.7"))
	if got := r.source.Report()[0]; !got.Served {
		t.Errorf("%+v", got)
	}
	r.source.Close()
	r.apply(publish("10.20.0.8"))
	if n := len(r.started()); n != 1 {
		t.Errorf("%d devices, one of them after Close", n)
	}
}

// Names lead to the device, which is there for names alone too.
func TestNamesLeadToTheDevice(t *testing.T) {
	r := newSource(t)
	r.source.o.Names = r
	for i, c := range []struct {
		published []peer.Published
		devices   int // so far
		leads     bool
	}{
		{publish("db.test"), 1, true},
		{publish("db.test", "10.20.0.7"), 1, true},
		{publish("*.test", "10.66.0.0/24"), 1, true},
		{publish("10.66.0.0/24"), 1, false}, // nothing leads there
		{publish("10.20.0.7"), 2, true},
		{nil, 2, false},
		{publish("*.test"), 3, true},
	} {
		r.apply(c.published)
		if n, leads := len(r.started()), r.led == someRanges; n != c.devices || leads != c.leads {
			t.Errorf("%d: %d devices so far, names lead there: %v; want %d, %v", i, n, leads, c.devices, c.leads)
		}
	}
	r.source.Close()
	if r.led != (hostnet.Ranges{}) {
		t.Error("names lead to a device that is gone")
	}
}
