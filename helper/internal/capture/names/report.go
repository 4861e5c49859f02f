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
	if s.hosts.err != nil {
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
	case !exact:
		troubles = append(troubles, "only an exact name gets an address of its own; use the proxy")
	case !slices.Contains(p.Protocols, "tcp"):
		troubles = append(troubles, "UDP is served through the proxy only (SOCKS5 UDP ASSOCIATE)")
	default:
		troubles = s.reportPorts(host, p.Ports, &r)
		if slices.Contains(p.Protocols, "udp") {
			troubles = append(troubles, "its UDP is served through the proxy only (SOCKS5 UDP ASSOCIATE)")
		}
	}
	r.Trouble = strings.Join(troubles, "; ")
	return r
}

func (s *Source) reportPorts(host string, ranges []peer.PublishedPort, r *peer.NameReport) (troubles []string) {
	var named []uint16
	failed := make(map[string][]uint16)
	for _, ports := range ranges {
		for port := int(ports.First); port <= int(ports.Last); port++ {
			e := endpoint{host, uint16(port)}
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
	for _, span := range spans(named) {
		r.Served = append(r.Served, host+":"+span)
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
