package gatewayrole

import (
	"cmp"
	"fmt"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/gateway"
	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/gateway/health"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
)

// status returns what the driver shows: the gateway's state, and what waits for the
// user.
func (s *Session) status() rpc.GatewayStatus {
	g := s.gw.Status()
	link := s.in.Carrier.Link()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := rpc.GatewayStatus{
		State: s.state, Reason: s.reason, Flows: g.Flows, BytesUp: g.Up, BytesDown: g.Down,
		Proxy: g.Proxy, Notes: g.Notes, Trouble: g.Trouble, Resources: []rpc.ResourceStatus{},
	}
	if s.state == rpc.StateWaiting && g.Reported && link.Kind != "" {
		out.State = rpc.StateConnected
	}
	if s.state == rpc.StateWaiting && link.Kind == "" && link.Reason != nil {
		lost := link.Lost.UTC().Truncate(time.Millisecond)
		out.State, out.Reason, out.Since = rpc.StateReconnecting, link.Reason.Error(), &lost
	}
	out.Link = linkStatus(link)
	if link.Kind != "" && link.Silent {
		out.Notes = append(out.Notes, "The remote has sent nothing for a while. The editor may be reconnecting.")
	}
	for _, r := range g.Resources {
		out.Resources = append(out.Resources, readyStatus(r))
	}
	for _, list := range []struct {
		state string
		of    []consent.Proposal
	}{{rpc.ResourcePending, s.review.Pending}, {rpc.ResourceDenied, s.review.Refused}} {
		for _, p := range list.of {
			r := baseStatus(p.Resource, p.From)
			r.State = list.state
			out.Resources = append(out.Resources, r)
		}
	}
	return out
}

// linkStatus returns the link in use, nil if there is none.
func linkStatus(link carrier.LinkState) *rpc.LinkStatus {
	if link.Kind == "" {
		return nil
	}
	return &rpc.LinkStatus{Kind: link.Kind, Links: link.Links, Millis: float64(link.RTT.Microseconds()) / 1000}
}

func baseStatus(r resource.Resource, from string) rpc.ResourceStatus {
	return rpc.ResourceStatus{
		Name: r.Name, Host: r.Host.String(), Ports: r.PortStrings(), As: r.As, Programs: r.Programs, From: from, Served: []string{},
	}
}

func readyStatus(r gateway.ResourceStatus) rpc.ResourceStatus {
	out := baseStatus(r.Resource, r.From)
	out.State, out.Address, out.Note = rpc.ResourceReady, r.Address, r.Trouble
	out.Served = append(out.Served, r.Served...)
	out.Health = healthOf(r.Health)
	out.Flows, out.BytesUp, out.BytesDown = r.Flows, r.Up, r.Down
	for _, c := range r.Clients {
		out.Clients = append(out.Clients, rpc.Client(c))
	}
	switch {
	case r.Trouble != "":
		out.State = rpc.ResourceTrouble
	case len(r.Served) == 1 && r.Served[0] == "proxy":
		out.Note = "Reachable under \"causeway run\" and through the proxy only."
	}
	if r.LastFail != nil {
		out.LastError = &rpc.Refusal{Time: r.LastFail.Time.UTC().Truncate(time.Millisecond), Code: r.LastFail.Code.String(), Reason: r.LastFail.Reason}
	}
	return out
}

func healthOf(r health.Report) *rpc.Health {
	out := &rpc.Health{
		State: cmp.Or(string(r.State), rpc.HealthUnknown), Step: r.Step, Detail: r.Detail, Hint: r.Hint,
		Millis: float64(r.Took.Microseconds()) / 1000, Since: r.Since.UTC().Truncate(time.Millisecond), Common: r.Common,
	}
	if !r.Checked.IsZero() {
		checked := r.Checked.UTC().Truncate(time.Millisecond)
		out.Checked = &checked
	}
	return out
}

// maxAsked bounds how many approvals the user is asked for at once.
const maxAsked = 20

func resourcesResult(problems []resource.Problem, review consent.Review) rpc.ResourcesResult {
	out := rpc.ResourcesResult{Problems: []resource.Problem{}, Approvals: []rpc.Approval{}}
	out.Problems = append(append(out.Problems, problems...), review.Problems...)
	for i, p := range review.Pending {
		if i == maxAsked {
			out.Problems = append(out.Problems, resource.Problem{Path: p.From, Message: fmt.Sprintf(
				"%d more resources wait for your approval; they are asked about when these are answered", len(review.Pending)-i)})
			break
		}
		out.Approvals = append(out.Approvals, approvalOf(p))
	}
	return out
}

func approvalOf(p consent.Proposal) rpc.Approval {
	r := p.Resource
	out := rpc.Approval{
		ID: p.ID, From: p.From, Name: r.Name, Host: r.Host.String(), Ports: r.PortStrings(),
		Protocols: r.ProtocolStrings(), Addresses: r.AddressStrings(), As: r.As, Exit: r.Exit, Programs: r.Programs, Description: r.Description,
		Change: p.Change, Warnings: p.Warnings,
	}
	for _, d := range p.Differences {
		out.Differences = append(out.Differences, rpc.Difference{Field: d.Field, Was: d.Was, Is: d.Is})
	}
	return out
}
