package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/show"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.org/x/time/rate"
)

// Bounds of what the gateway keeps of a report. The remote decides what is in it.
const (
	maxReported   = 2000 // names
	maxServed     = 64   // of one name
	maxNotes      = 20
	controlPeriod = 100 * time.Millisecond
)

// session is one tunnel that the gateway serves.
type session struct {
	g       *Gateway
	ts      *tunnel.Session
	changed chan struct{} // holds a token when there is something to publish
	asked   questions
}

func (s *session) publish() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// control publishes and reads reports until either fails.
func (s *session) control(ctx context.Context) error {
	st, err := s.ts.Control(ctx)
	if err != nil {
		return fmt.Errorf("open control stream: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer context.AfterFunc(ctx, func() { st.Reset("the control stream has ended") })()
	read := make(chan struct{})
	go func() {
		defer close(read)
		cancel(s.readReports(ctx, st))
	}()
	cancel(s.writePublished(ctx, st))
	st.Reset("the control stream has ended")
	<-read
	return context.Cause(ctx)
}

func (s *session) writePublished(ctx context.Context, st *tunnel.Stream) error {
	for {
		select {
		case <-s.changed:
			p := s.g.published()
			if err := peer.Write(st, peer.ToCapture{Publish: &p}); err != nil {
				return fmt.Errorf("publish resources: %w", err)
			}
		case a := <-s.asked.next:
			if err := peer.Write(st, peer.ToCapture{Ask: &a}); err != nil {
				return fmt.Errorf("ask the remote: %w", err)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// published is what the remote may know of the approved resources.
func (g *Gateway) published() peer.Publish {
	g.mu.Lock()
	approved := g.approved
	g.mu.Unlock()
	p := peer.Publish{Resources: []peer.Published{}, StrictProxy: g.o.StrictProxy}
	size, left := 0, 0
	for _, a := range approved {
		r := a.Resource
		one := peer.Published{Name: r.Name, Host: r.RemoteHost(), Protocols: r.ProtocolStrings(), ByProgram: len(r.Programs) > 0}
		for _, ports := range r.Ports {
			first, last := ports.Remote()
			one.Ports = append(one.Ports, peer.PublishedPort{First: first, Last: last})
		}
		b, err := json.Marshal(one)
		if size += len(b) + 1; err != nil || size > peer.MaxMessage-1024 {
			size -= len(b) + 1
			left++
			continue
		}
		p.Resources = append(p.Resources, one)
	}
	if left > 0 {
		g.log.Warn().Int("resources", left).Msg("resources not published: the list of resources and ports is too long")
	}
	return p
}

// report is a peer.Report, fit to be shown.
type report struct {
	proxy string
	notes []string
	names map[string]peer.NameReport // by the resource's name
}

func (s *session) readReports(ctx context.Context, st *tunnel.Stream) error {
	r := peer.NewReader(st)
	limit := rate.NewLimiter(rate.Every(controlPeriod), 10)
	for {
		if err := limit.Wait(ctx); err != nil {
			return err
		}
		var m peer.ToGateway
		if err := r.Read(&m); err != nil {
			return fmt.Errorf("read report of the remote: %w", err)
		}
		if m.Told != nil {
			s.asked.answered(*m.Told)
		}
		if m.Report == nil {
			continue
		}
		s.asked.open(m.Asks)
		out := cleanReport(*m.Report)
		s.g.mu.Lock()
		s.g.report = out
		s.g.mu.Unlock()
		s.g.o.OnChange()
	}
}

func cleanReport(in peer.Report) report {
	out := report{proxy: show.Text(in.Proxy), names: map[string]peer.NameReport{}}
	for _, n := range in.Notes[:min(len(in.Notes), maxNotes)] {
		out.notes = append(out.notes, show.Text(n))
	}
	for _, n := range in.Names[:min(len(in.Names), maxReported)] {
		clean := peer.NameReport{Name: n.Name, Address: show.Text(n.Address), Trouble: show.Text(n.Trouble)}
		for _, s := range n.Served[:min(len(n.Served), maxServed)] {
			clean.Served = append(clean.Served, show.Text(s))
		}
		out.names[n.Name] = clean
	}
	return out
}
