package gatewayrole

import (
	"context"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/journal"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	flowsPeriod = 250 * time.Millisecond // between two notifications of the flows
	flowsQuiet  = 4                      // periods without a change, after which one tells of the link
)

// WatchFlows implements rpc.GatewayHandler.
func (h *conversation) WatchFlows(context.Context) error {
	s, err := h.open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.in.Context())
	h.watching.Lock()
	defer h.watching.Unlock()
	if h.ignore != nil {
		h.ignore()
	}
	h.ignore = cancel
	s.in.Go(func() { h.tellFlows(ctx, s) })
	return nil
}

// IgnoreFlows implements rpc.GatewayHandler.
func (h *conversation) IgnoreFlows(context.Context) error {
	h.watching.Lock()
	defer h.watching.Unlock()
	if h.ignore != nil {
		h.ignore()
		h.ignore = nil
	}
	return nil
}

// tellFlows notifies the driver of the flows of its session until ctx ends, or the
// session has no longer this driver. A driver that reads slowly gets fewer and larger
// notifications.
func (h *conversation) tellFlows(ctx context.Context, s *Session) {
	tick := time.NewTicker(flowsPeriod)
	defer tick.Stop()
	w := s.gw.Watch()
	for n, quiet := 0, 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if now, err := h.open(); err != nil || now != s {
			return
		}
		d := w.Next()
		if d.Empty() && n > 0 && quiet < flowsQuiet-1 {
			quiet++
			continue
		}
		quiet = 0
		out := s.flowsDelta(d)
		out.Reset = n == 0
		h.Notify(rpc.NotifyFlows, out)
	}
}

func (s *Session) flowsDelta(d journal.Delta) rpc.FlowsDelta {
	up, down := s.gw.Moved()
	out := rpc.FlowsDelta{
		Time: time.Now().UTC().Truncate(time.Millisecond), Link: linkStatus(s.in.Carrier.Link()),
		BytesUp: up, BytesDown: down, Counts: d.Counts, Gone: d.Gone,
	}
	for _, f := range d.Flows {
		f.Began = f.Began.UTC().Truncate(time.Millisecond)
		out.Flows = append(out.Flows, rpc.Flow(f))
	}
	for _, q := range d.Questions {
		q.Time = q.Time.UTC().Truncate(time.Millisecond)
		out.Questions = append(out.Questions, rpc.Question(q))
	}
	for _, r := range d.Refusals {
		out.Refusals = append(out.Refusals, rpc.Refused{
			ID: r.ID, Time: r.Time.UTC().Truncate(time.Millisecond), Count: r.Count, Network: r.Network, Host: r.Host, Port: r.Port,
			Resource: r.Resource, Way: r.Way, User: r.User, PID: r.PID, Program: r.Program, Code: r.Code, Reason: r.Reason,
			Waiting: s.waitingFor(r),
		})
	}
	return out
}

// waitingFor returns the name of a resource that is not approved and would cover the
// target of a refusal, or "".
func (s *Session) waitingFor(r journal.Refusal) string {
	if r.Code != tunnel.Denied.String() || r.Resource != "" {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []resource.Resource
	for _, p := range s.review.Pending {
		list = append(list, p.Resource)
	}
	for _, p := range s.review.Refused {
		list = append(list, p.Resource)
	}
	if len(list) == 0 {
		return ""
	}
	set := resource.NewSet(list)
	network := resource.Network(r.Network)
	if r.Network == tunnel.Lookup.String() || r.Network == tunnel.DNS.String() {
		if found, err := set.Named(r.Host); err == nil && len(found) > 0 {
			return found[0].Resource.Name
		}
		return ""
	}
	if m, err := set.Match(network, r.Host, r.Port); err == nil {
		return m.Resource.Name
	}
	return ""
}
