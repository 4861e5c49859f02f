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
	"github.com/causeway-dev/causeway/helper/internal/peer"
)

// updateReport works out the report and tells of a change. The caller holds s.mu.
func (s *Source) updateReport() {
	r := &Report{Names: make([]peer.NameReport, 0, len(s.published))}
	for _, p := range s.published {
		r.Names = append(r.Names, s.reportOn(p))
	}
	if !s.o.NoHosts {
		r.Hosts = s.hosts.err
	}
	if r.Hosts != nil && !s.byDNS {
		r.Notes = append(r.Notes, s.hosts.err.Error()+": names are served on ports of 127.0.0.1 instead")
	}
	if reflect.DeepEqual(r, s.report.Load()) {
		return
	}
	s.report.Store(r)
	if s.o.Changed != nil {
		s.o.Changed()
	}
}

func (s *Source) reportOn(p peer.Published) peer.NameReport {
	r := peer.NameReport{Name: p.Name, Served: []string{}}
	host, exact := exactName(p.Host)
	var troubles []string
	switch {
	case exact && s.o.NoHosts && !s.byDNS:
		troubles = append(troubles, "its name is found by the stub resolver alone, which there is none of; use the proxy")
	case exact && s.led[host].v4.IsValid():
		r.Address = s.led[host].v4.String()
		reportLed(host, p, &r)
	case exact:
		troubles = s.reportPorts(host, p, &r)
	case strings.HasPrefix(p.Host, "*.") && s.byDNS:
		troubles = s.reportWildcard(p, &r)
	case strings.HasPrefix(p.Host, "*."):
		troubles = append(troubles, "a domain's names need the stub resolver, which there is none of; use the proxy")
	default:
		troubles = append(troubles, "only a name gets an address of its own; use the proxy")
	}
	r.Trouble = strings.Join(troubles, "; ")
	return r
}

// addServed tells of ports of host that work.
func addServed(r *peer.NameReport, host, protocol string, ports []uint16) {
	suffix := ""
	if protocol == "udp" {
		suffix = "/udp"
	}
	for _, span := range spans(ports) {
		r.Served = append(r.Served, host+":"+span+suffix)
	}
}

// reportLed tells of a name that leads to the device: all of its ports do.
func reportLed(host string, p peer.Published, r *peer.NameReport) {
	for _, protocol := range p.Protocols {
		if protocol == "icmp" {
			continue
		}
		var all []uint16
		for _, ports := range p.Ports {
			for port := int(ports.First); port <= int(ports.Last); port++ {
				all = append(all, uint16(port))
			}
		}
		addServed(r, host, protocol, all)
	}
	r.Served = append(r.Served, "tun")
}

// reportWildcard tells that every name below p's domain is served, but for
// those that were looked up and are not.
func (s *Source) reportWildcard(p peer.Published, r *peer.NameReport) (troubles []string) {
	for _, protocol := range p.Protocols {
		for _, ports := range p.Ports {
			span := strconv.Itoa(int(ports.First))
			if ports.Last > ports.First {
				span += "-" + strconv.Itoa(int(ports.Last))
			}
			if protocol == "udp" {
				span += "/udp"
			}
			r.Served = append(r.Served, p.Host+":"+span)
		}
	}
	if len(s.looked) >= maxLooked {
		troubles = append(troubles, fmt.Sprintf("%d names were looked up: more are served by the proxy only", maxLooked))
	}
	if s.numbers.leads() {
		r.Served = append(r.Served, "tun")
		return troubles
	}
	failed := make(map[string]bool)
	for e, problem := range s.problems {
		if covers(p.Host, e.host) {
			failed[s.explain(problem)] = true
		}
	}
	for text := range failed {
		troubles = append(troubles, "some ports of its names: "+text)
	}
	over := 0
	for host := range s.over {
		if covers(p.Host, host) {
			over++
		}
	}
	if over > 0 {
		troubles = append(troubles, fmt.Sprintf("some ports of %d of its names are served by the proxy only: there are too many", over))
	}
	slices.Sort(troubles)
	return troubles
}

func (s *Source) reportPorts(host string, p peer.Published, r *peer.NameReport) (troubles []string) {
	failed := make(map[string][]uint16)
	for _, protocol := range p.Protocols {
		var named []uint16
		for _, ports := range p.Ports {
			for port := int(ports.First); port <= int(ports.Last); port++ {
				e := endpoint{host, uint16(port), protocol == "udp"}
				if l := s.listeners[e]; l != nil && l.named {
					r.Address = l.at.Addr().String()
					named = append(named, e.port)
				} else if l != nil {
					r.Address = l.at.Addr().String()
					r.Served = append(r.Served, l.at.String())
				} else if p := s.problems[e]; p != nil {
					text := s.explain(p)
					failed[text] = append(failed[text], e.port)
				}
			}
		}
		addServed(r, host, protocol, named)
	}
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
	if n := s.over[host]; n > 0 {
		troubles = append(troubles, fmt.Sprintf("%d ports are served by the proxy only, since %d in all have a listener", n, MaxListeners))
	}
	slices.Sort(troubles)
	return troubles
}

// spans writes sorted ports as "80" and "8000-8099".
func spans(ports []uint16) []string {
	slices.Sort(ports)
	ports = slices.Compact(ports)
	var all []string
	for i := 0; i < len(ports); {
		j := i
		for j+1 < len(ports) && ports[j+1] == ports[j]+1 {
			j++
		}
		text := strconv.Itoa(int(ports[i]))
		if j > i {
			text += "-" + strconv.Itoa(int(ports[j]))
		}
		all = append(all, text)
		i = j + 1
	}
	return all
}

// explain says why an endpoint has no listener, and what to do.
func (s *Source) explain(p *problem) string {
	switch port := int(p.at.Port()); {
	case p.conflict():
		return s.explainHolder(p.holder, port)
	case errors.Is(p.err, syscall.EACCES) || errors.Is(p.err, syscall.EPERM):
		return fmt.Sprintf("low ports need more rights than this user has; map another to it, as in \"%d:%d\"", mapped(port), port)
	default:
		return p.err.Error()
	}
}

func (s *Source) explainHolder(h owner.Process, port int) string {
	if h == (owner.Process{}) {
		return "taken by another program"
	}
	if h.UID == s.o.UID && isHelper(h.Program) {
		return fmt.Sprintf("served by another window (pid %d)", h.PID)
	}
	who := "a program of user " + strconv.Quote(h.User)
	if h.Program != "" {
		who = fmt.Sprintf("%q (pid %d, user %q)", h.Program, h.PID, h.User)
	}
	return fmt.Sprintf("taken by %s; map another to it, as in \"%d:%d\"", who, mapped(port), port)
}

// mapped suggests a port to use instead.
func mapped(port int) int {
	if port <= 50000 {
		return port + 10000
	}
	return port - 10000
}

// isHelper tells whether program is this one, of whatever version.
func isHelper(program string) bool {
	self, err := os.Executable()
	return strings.HasPrefix(program, "causeway") || err == nil && program == filepath.Base(self)
}
