package capture

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served starts a capture that has the names of a stub that is not there, and
// returns the gateway's end of the control stream, and how the capture ended.
func served(t *testing.T) (control *tunnel.Stream, ended <-chan error) {
	t.Helper()
	capture, gateway := tunneltest.Pair(t)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		done <- Serve(ctx, capture, Options{Log: zerolog.Nop(), Sources: Sources{Names: Off, DNS: Off, Tun: Off, Proxy: Off}})
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
	})
	control, err := gateway.Control(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = control.SetDeadline(time.Now().Add(2 * time.Minute))
	return control, done
}

// wide is a publication of n resources, with names and ranges as long as they
// may be.
func wide(n, ranges int) peer.Publish {
	var p peer.Publish
	for i := range n {
		r := peer.Published{Name: strings.Repeat("<", 20), Host: fmt.Sprintf("n%d.test", i), Protocols: []string{"tcp", "udp"}}
		for port := range ranges {
			r.Ports = append(r.Ports, peer.PublishedPort{First: uint16(2*port + 1), Last: uint16(2*port + 1)})
		}
		p.Resources = append(p.Resources, r)
	}
	return p
}

// A gateway that publishes more than the settings can hold loses its session.
func TestTooManyResources(t *testing.T) {
	control, ended := served(t)
	if err := peer.Write(control, peer.ToCapture{Publish: &peer.Publish{Resources: make([]peer.Published, 1001)}}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "1001 resources") {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the session goes on")
	}
}

// Whatever is published, again and again, the report fits into a message, and
// nothing piles up.
func TestHostilePublications(t *testing.T) {
	control, ended := served(t)
	reports := peer.NewReader(control)
	var base, now runtime.MemStats
	for i := range 12 {
		p := wide(1000, 8)
		for j := range p.Resources {
			p.Resources[j].Host = fmt.Sprintf("n%d-%d.test", i, j)
		}
		if err := peer.Write(control, peer.ToCapture{Publish: &p}); err != nil {
			t.Fatal(err)
		}
		for {
			var m peer.ToGateway
			if err := reports.Read(&m); err != nil {
				t.Fatal(err)
			}
			if m.Report != nil && len(m.Names) == 1000 {
				break
			}
		}
		if i == 4 {
			runtime.GC()
			runtime.ReadMemStats(&base)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&now)
	if grown := int64(now.HeapAlloc) - int64(base.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap has grown by %d KiB", grown>>10)
	}
	select {
	case err := <-ended:
		t.Error(err)
	default:
	}
}

// A report that is too long is cut; the session does not end with it.
func TestReportFits(t *testing.T) {
	r := peer.Report{}
	for i := range 1000 {
		n := peer.NameReport{Name: strings.Repeat("n", 100), Trouble: strings.Repeat("ü", 500)}
		for port := range 500 {
			n.Served = append(n.Served, fmt.Sprintf("host-%d.corp.test:%d", i, port))
		}
		r.Names = append(r.Names, n)
	}
	fit(&r)
	var b strings.Builder
	if err := peer.Write(&b, peer.ToGateway{Report: &r}); err != nil {
		t.Error(err)
	}
	if len(r.Names) != 1000 || len(r.Names[7].Served) == 0 || len(r.Notes) != 1 {
		t.Errorf("%d names, %+v", len(r.Names), r.Notes)
	}
	r = peer.Report{Names: make([]peer.NameReport, 1000)}
	for i := range r.Names {
		r.Names[i].Name = strings.Repeat("<", 512)
	}
	fit(&r)
	b.Reset()
	if err := peer.Write(&b, peer.ToGateway{Report: &r}); err != nil {
		t.Error(err)
	}
	short := peer.Report{Names: []peer.NameReport{{Name: "x", Served: []string{"proxy"}}}}
	if fit(&short); len(short.Notes) != 0 || len(short.Names[0].Served) != 1 {
		t.Errorf("%+v", short)
	}
}

// The captures of other sessions may refresh one that has only joined.
func TestRefreshBeforeTheStart(t *testing.T) {
	new(capture).Refresh()
}
