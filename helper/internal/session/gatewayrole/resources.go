package gatewayrole

import (
	"fmt"
	"maps"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/terminal"
)

func (h *conversation) set(s *Session, p rpc.ResourcesParams) rpc.ResourcesResult {
	s.setting.Lock()
	defer s.setting.Unlock()
	var problems []resource.Problem
	parse := func(root string, raw []byte) []resource.Resource {
		if len(raw) == 0 || string(raw) == "null" {
			return nil
		}
		list, wrong := resource.Parse(root, raw)
		for i := range wrong {
			wrong[i].Line, wrong[i].Column = 0, 0 // the driver's JSON is not the user's text
		}
		problems = append(problems, wrong...)
		return list
	}
	named := map[string]resource.Exit{}
	if len(p.Exits) > 0 && string(p.Exits) != "null" {
		const root = "causeway.exits"
		var wrong []resource.Problem
		named, wrong = resource.ParseExits(root, p.Exits)
		for i := range wrong {
			wrong[i].Line, wrong[i].Column = 0, 0
		}
		problems = append(append(problems, wrong...), resource.Absolute(root, named, "")...)
	}
	wanted := maps.Clone(h.pre.Exits)
	if wanted == nil {
		wanted = map[string]resource.Exit{}
	}
	known := func(root string, raw []byte) (list []resource.Resource) {
		for _, r := range parse(root, raw) {
			if trouble := ByWay(&r, named, wanted, "causeway.exits"); trouble != "" {
				problems = append(problems, resource.Problem{Path: root, Message: trouble})
				continue
			}
			list = append(list, r)
		}
		return list
	}
	credentials, wrong := h.credentials(p.Credentials)
	problems = append(problems, wrong...)
	user := h.withoutPreapproved(known("causeway.resources", p.Resources))
	workspace := h.withoutPreapproved(known("causeway.workspaceResources", p.WorkspaceResources))
	review := s.approvals.Review(user, workspace)
	s.mu.Lock()
	s.problems = problems
	s.mu.Unlock()
	// New exits open before the resources change, and old ones close after it, so that
	// no resource is without its exit.
	s.exits.SetCredentials(credentials)
	s.gw.SetExits(s.exits.Use(wanted))
	result := h.apply(s, review)
	s.exits.Keep(wanted)
	return result
}

// credentials returns the credentials of the command line's file and of the driver.
// If both have some for a proxy, the driver's are used.
func (h *conversation) credentials(raw []byte) (map[string]resource.Credentials, []resource.Problem) {
	all := map[string]resource.Credentials{}
	maps.Copy(all, h.pre.Credentials)
	if len(raw) == 0 || string(raw) == "null" {
		return all, nil
	}
	given, wrong := resource.ParseCredentials("proxy credentials", raw)
	for i := range wrong {
		wrong[i].Line, wrong[i].Column = 0, 0
	}
	maps.Copy(all, given)
	return all, wrong
}

// withoutPreapproved removes the resources that the command line's file has already.
func (h *conversation) withoutPreapproved(list []resource.Resource) (rest []resource.Resource) {
	for _, r := range list {
		covered := false
		for _, a := range h.pre.Resources {
			covered = covered || r.Name == a.Resource.Name || r.Within(a.Resource)
		}
		if !covered {
			rest = append(rest, r)
		}
	}
	return rest
}

// hold puts a review into effect.
func (h *conversation) hold(s *Session, review consent.Review) rpc.ResourcesResult {
	s.mu.Lock()
	s.review = review
	if s.telling { // of an older review, which the driver may read after this one
		s.tellReview()
	}
	result := resourcesResult(s.problems, review)
	s.mu.Unlock()
	s.gw.SetApproved(append(append([]resource.Approved(nil), h.pre.Resources...), review.Approved...))
	s.in.Changed()
	return result
}

// apply puts a review into effect. If the helper itself asks the user, it asks for
// what is pending.
func (h *conversation) apply(s *Session, review consent.Review) rpc.ResourcesResult {
	result := h.hold(s, review)
	if h.user == nil || len(review.Pending) == 0 {
		return result
	}
	s.mu.Lock()
	begin := !s.asking
	s.asking = true
	s.mu.Unlock()
	if begin {
		s.in.Go(func() { h.askUser(s) })
	}
	return result
}

// askUser asks until nothing is pending, the session ends or nobody can be asked.
func (h *conversation) askUser(s *Session) {
	for {
		s.mu.Lock()
		pending := s.review.Pending
		if len(pending) == 0 || s.in.Context().Err() != nil {
			s.asking = false // in the same step, so that apply begins anew for what comes later
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		p := pending[0]
		answer, err := h.user.Ask(s.in.Context(), question(p), string(consent.Always), string(consent.Once), string(consent.No))
		if err != nil {
			s.mu.Lock()
			s.asking = false
			s.mu.Unlock()
			return
		}
		s.setting.Lock()
		review, err := s.approvals.Answer(p.ID, consent.Decision(answer))
		h.hold(s, review)
		s.setting.Unlock()
		if err != nil {
			h.Log.Warn().Err(err).Str("resource", p.Resource.Name).Msg("cannot keep the approval")
		}
		s.tellReview()
	}
}

// question is the text that asks the user of this machine about a proposal.
func question(p consent.Proposal) string {
	var b strings.Builder
	a := approvalOf(p)
	fmt.Fprintf(&b, "\nThe %s settings ask for a %s resource:\n", a.From, a.Change)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", name, terminal.Printable(value))
		}
	}
	line("name", a.Name)
	line("host", a.Host)
	line("ports", strings.Join(a.Ports, ", "))
	line("protocols", strings.Join(a.Protocols, ", "))
	line("addresses", strings.Join(a.Addresses, ", "))
	line("as", a.As)
	line("exit", a.Exit)
	line("programs", strings.Join(a.Programs, ", "))
	line("description", a.Description)
	for _, d := range a.Differences {
		line("was "+d.Field, d.Was)
	}
	for _, w := range a.Warnings {
		line("careful", w)
	}
	b.WriteString("Let the remote reach it?")
	return b.String()
}
