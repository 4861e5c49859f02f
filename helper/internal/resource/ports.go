package resource

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Ports is an inclusive range of ports. A mapped port ("15432:5432") is a range of one
// port: First is the port of the real service, and Listen is the port that the remote's
// programs use. Otherwise Listen is zero.
type Ports struct {
	First, Last uint16
	Listen      uint16
}

// String returns the spelling of the settings file: "5432", "8000-8010" or
// "15432:5432".
func (p Ports) String() string {
	first := strconv.Itoa(int(p.First))
	switch {
	case p.Listen != 0:
		return strconv.Itoa(int(p.Listen)) + ":" + first
	case p.First != p.Last:
		return first + "-" + strconv.Itoa(int(p.Last))
	}
	return first
}

// Remote returns the range that programs on the remote use.
func (p Ports) Remote() (first, last uint16) {
	if p.Listen != 0 {
		return p.Listen, p.Listen
	}
	return p.First, p.Last
}

// target returns the port of the real service for a port that the remote uses.
func (p Ports) target(port uint16) (uint16, bool) {
	first, last := p.Remote()
	if port == 0 || port < first || port > last {
		return 0, false
	}
	if p.Listen != 0 {
		return p.First, true
	}
	return port, true
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] < '1' || s[0] > '9' {
		return 0, fmt.Errorf("%s is not a port from 1 to 65535", quote(s))
	}
	return uint16(n), nil
}

func parsePorts(s string) (Ports, error) {
	if listen, target, ok := strings.Cut(s, ":"); ok {
		l, err := parsePort(listen)
		t, err2 := parsePort(target)
		switch {
		case err != nil || err2 != nil:
			return Ports{}, fmt.Errorf("%s is not a map of ports such as \"15432:5432\"", quote(s))
		case l == t:
			l = 0
		}
		return Ports{First: t, Last: t, Listen: l}, nil
	}
	from, to, isRange := strings.Cut(s, "-")
	if !isRange || from == "" {
		port, err := parsePort(s)
		return Ports{First: port, Last: port}, err
	}
	first, err := parsePort(from)
	last, err2 := parsePort(to)
	switch {
	case err != nil || err2 != nil:
		return Ports{}, fmt.Errorf("%s is not a range of ports such as \"8000-8010\"", quote(s))
	case last < first:
		return Ports{}, fmt.Errorf("the range %s ends before it begins", s)
	}
	return Ports{First: first, Last: last}, nil
}

// normalPorts sorts ports and merges ranges that overlap. It returns an error if two
// ranges give one port of the remote different targets.
func normalPorts(in []Ports) ([]Ports, error) {
	slices.SortFunc(in, func(a, b Ports) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last), cmp.Compare(a.Listen, b.Listen))
	})
	var out []Ports
	plain := -1 // index in out of the last unmapped range
	for _, p := range in {
		switch {
		case p.Listen == 0 && plain >= 0 && p.First <= out[plain].Last:
			out[plain].Last = max(out[plain].Last, p.Last)
			continue
		case p.Listen != 0 && len(out) > 0 && out[len(out)-1] == p:
			continue
		case p.Listen == 0:
			plain = len(out)
		}
		out = append(out, p)
	}
	byRemote := claims(out, 0)
	for i := 1; i < len(byRemote); i++ {
		if byRemote[i].first <= byRemote[i-1].last {
			return nil, fmt.Errorf("port %d of the remote is given twice, with different targets", byRemote[i].first)
		}
	}
	return out, nil
}

// claim is a range of the remote's ports that belongs to the resource with the index by.
type claim struct {
	first, last uint16
	by          int
}

// claims returns the ranges that the remote's programs use, sorted.
func claims(ports []Ports, by int) []claim {
	out := make([]claim, len(ports))
	for i, p := range ports {
		out[i].first, out[i].last = p.Remote()
		out[i].by = by
	}
	sortClaims(out)
	return out
}

func sortClaims(c []claim) {
	slices.SortFunc(c, func(a, b claim) int { return cmp.Compare(a.first, b.first) })
}

// overlap returns the first port that is in both of two sorted lists, and its resource in
// a. It returns 0 if there is none.
func overlap(a, b []claim) (port uint16, by int) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].last < b[0].first:
			a = a[1:]
		case b[0].last < a[0].first:
			b = b[1:]
		default:
			return max(a[0].first, b[0].first), a[0].by
		}
	}
	return 0, 0
}
