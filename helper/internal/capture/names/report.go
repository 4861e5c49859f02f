package names

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/offer"
	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// updateReport makes the report, and calls Changed if it is another one. The caller
// holds s.mu.
func (s *Source) updateReport() {
	r := &Report{Names: make([]peer.NameReport, 0, len(s.set.All))}
	for _, p := range s.set.All {
		r.Names = append(r.Names, s.reportOn(p))
	}
	if !s.o.NoHosts {
		r.Hosts = s.hosts.err
	}
	if r.Hosts != nil && !s.byDNS {
		r.Notes = append(r.Notes, s.hosts.err.Error()+": names are served on ports of 127.0.0.1 instead")
	}
	if s.answersEarly() {
		r.Notes = append(r.Notes, earlyNote)
	}
	if reflect.DeepEqual(r, s.report.Load()) {
		return
	}
	s.report.Store(r)
	if s.o.Changed != nil {
		s.o.Changed()
	}
}

// earlyNote tells of the one way that differs from a direct connection.
const earlyNote = "A connection by name is accepted before your machine has connected, so a dead service shows as a connection that ends. " +
	`To change that in a dev container, add "runArgs": ["--cap-add=NET_ADMIN", "--device=/dev/net/tun"] to devcontainer.json.`

// answersEarly tells whether programs are accepted before the gateway has connected
// although this machine could do better with more rights.
func (s *Source) answersEarly() bool {
	if !s.cannotHold() {
		return false
	}
	for e, l := range s.listeners {
		if l.named && !l.held && !e.udp {
			return true
		}
	}
	return false
}

func (s *Source) reportOn(p *offer.Resource) peer.NameReport {
	r := peer.NameReport{Name: p.Name, Served: []string{}}
	host, exact := p.Exact()
	domain, wildcard := p.Domain()
	var troubles []string
	switch {
	case p.Local && s.o.Place == nil:
		troubles = s.reportLocal(p, &r)
	case p.Local || s.o.OnlyLocal:
	case exact && s.o.NoHosts && !s.byDNS:
		troubles = append(troubles, "only the stub resolver can serve this name, and it is not running; use the proxy")
	case exact && s.led[host].v4.IsValid():
		r.Address = s.led[host].v4.String()
		addServed(&r, host, p)
		r.Served = append(r.Served, "tun")
	case exact && s.numbers.leads() && s.isElsewhere(host):
		troubles = append(troubles, elsewhereNote)
	case exact:
		troubles = s.reportPorts(host, p, &r)
	case wildcard && s.byDNS:
		troubles = s.reportWildcard(domain, p, &r)
	case wildcard:
		troubles = append(troubles, "names below a domain need the stub resolver, which is not running; use the proxy")
	default:
		troubles = append(troubles, "only a name gets an address of its own; use \"causeway run\" or the proxy")
	}
	if exact && slices.Contains(s.hosts.overruled, host) {
		troubles = append(troubles, "the hosts file of the remote has another line for this name; ours comes before it, but some programs use both, so remove that line")
	}
	r.Trouble = strings.Join(troubles, "; ")
	return r
}

// addServed reports that all ports of p work.
func addServed(r *peer.NameReport, host string, p *offer.Resource) {
	if p.TCP {
		addRanges(r, host, "", p.Ports)
	}
	if p.UDP {
		addRanges(r, host, "/udp", p.Ports)
	}
}

func addRanges(r *peer.NameReport, host, suffix string, ranges []offer.Range) {
	for _, one := range ranges {
		r.Served = append(r.Served, host+":"+span(one)+suffix)
	}
}

// reportWildcard reports every name below domain as served, except names that were
// looked up and are not.
func (s *Source) reportWildcard(domain string, p *offer.Resource, r *peer.NameReport) (troubles []string) {
	addServed(r, p.Host.String(), p)
	if s.numbers.leads() {
		r.Served = append(r.Served, "tun")
		return troubles
	}
	below := func(host string) bool { return strings.HasSuffix(host, "."+domain) }
	failed := make(map[string]bool)
	for e, problem := range s.problems {
		if below(e.host) {
			failed[s.explain(problem)] = true
		}
	}
	for text := range failed {
		troubles = append(troubles, "some ports of its names: "+text)
	}
	over := 0
	for host := range s.plan.over {
		if below(host) {
			over++
		}
	}
	if over > 0 {
		troubles = append(troubles, fmt.Sprintf("%d of its names have too many ports: the proxy alone serves the rest", over))
	}
	slices.Sort(troubles)
	return troubles
}

// reportPorts goes through the planned endpoints, which are few, and not through the
// ports that p lists.
func (s *Source) reportPorts(host string, p *offer.Resource, r *peer.NameReport) (troubles []string) {
	failed := make(map[string][]uint16)
	named := make(map[bool][]uint16) // the key is true for UDP
	for _, e := range s.plan.of[host] {
		if e.udp && !p.UDP || !e.udp && !p.TCP || !offer.Contains(p.Ports, e.port) {
			continue
		}
		if l := s.listeners[e]; l != nil && l.named {
			r.Address = l.at.Addr().String()
			named[e.udp] = append(named[e.udp], e.port)
		} else if l != nil {
			r.Address = l.at.Addr().String()
			r.Served = append(r.Served, l.at.String())
		} else if p := s.problems[e]; p != nil {
			text := s.explain(p)
			failed[text] = append(failed[text], e.port)
		} else if s.portElsewhere(e) {
			failed[elsewhereNote] = append(failed[elsewhereNote], e.port)
		}
	}
	addRanges(r, host, "", rangesOf(named[false]))
	addRanges(r, host, "/udp", rangesOf(named[true]))
	if err := hostnet.CheckName(host); err != nil && s.hosts.editor != nil {
		troubles = append(troubles, err.Error()+", so it gets ports of 127.0.0.1")
	}
	for text, ports := range failed {
		word := "port "
		if len(ports) > 1 {
			word = "ports "
		}
		troubles = append(troubles, word+strings.Join(spans(ports), ", ")+": "+text)
	}
	if n := s.plan.over[host]; n > 0 {
		troubles = append(troubles, fmt.Sprintf("the proxy alone serves %d of its ports: at most %d ports have a listener", n, MaxListeners))
	}
	slices.Sort(troubles)
	return troubles
}

func rangesOf(ports []uint16) []offer.Range {
	ranges := make([]offer.Range, len(ports))
	for i, port := range ports {
		ranges[i] = offer.Range{First: port, Last: port}
	}
	return offer.Merge(ranges)
}

// spans writes ports as "80" and "8000-8099".
func spans(ports []uint16) []string {
	var all []string
	for _, r := range rangesOf(ports) {
		all = append(all, span(r))
	}
	return all
}

func span(r offer.Range) string {
	if r.Last == r.First {
		return strconv.Itoa(int(r.First))
	}
	return strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
}

// explain says why an endpoint has no listener, and what to do.
func (s *Source) explain(p *problem) string {
	switch port := int(p.at.Port()); {
	case p.conflict():
		return s.explainHolder(p)
	case errors.Is(p.err, syscall.EACCES) || errors.Is(p.err, syscall.EPERM):
		return fmt.Sprintf("low ports need more rights than this user has; map another to it, as in \"%d:%d\"", mapped(port), port)
	default:
		return p.err.Error()
	}
}

func (s *Source) explainHolder(p *problem) string {
	h, port := p.holder, int(p.at.Port())
	if h.UID == s.o.UID && isHelper(h.Program) {
		return fmt.Sprintf("served by another window (pid %d)", h.PID)
	}
	who := "another program"
	if h.Program != "" {
		who = fmt.Sprintf("%q (pid %d, user %q)", h.Program, h.PID, h.User)
	} else if h != (owner.Process{}) {
		who = "a program of user " + strconv.Quote(h.User)
	}
	switch {
	case localAddress(p.at.Addr()):
		return "taken by " + who + adviceLocal(p)
	case h == (owner.Process{}):
		return "taken by " + who
	}
	return fmt.Sprintf("taken by %s; map another to it, as in \"%d:%d\"", who, mapped(port), port)
}

// mapped suggests another port.
func mapped(port int) int {
	if port <= 50000 {
		return port + 10000
	}
	return port - 10000
}

// isHelper tells whether program is this one, in any version.
func isHelper(program string) bool {
	self, err := os.Executable()
	return strings.HasPrefix(program, "causeway") || err == nil && program == filepath.Base(self)
}
