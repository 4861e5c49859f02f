package resource

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/tailscale/hujson"
)

// entry reads one resource. It leaves out an entry with any mistake, since a misspelled
// field may be a restriction.
func (p *parser) entry(path string, v hujson.Value) (Resource, bool) {
	before := p.count
	obj, ok := v.Value.(*hujson.Object)
	if !ok {
		p.report(v.StartOffset, path, `must be an object such as {"host": "db.example.com", "ports": [5432]}, not %s`, kindOf(v))
		return Resource{}, false
	}
	f := p.fields(path, obj, fieldNames)
	var r Resource
	if host, ok := p.text(path, f, "host", nethost.MaxName+2); ok {
		h, err := nethost.ParsePattern(host)
		if err != nil {
			p.report(f["host"].StartOffset, path+".host", "%v", err)
		}
		r.Host = h
	} else if _, given := f["host"]; !given {
		p.report(v.StartOffset, path, `"host" is missing: the name, address, CIDR or "*.domain" to reach`)
	}
	r.Protocols = p.protocols(path+".protocols", f)
	switch ports, given := f["ports"]; {
	case given && pingOnly(r.Protocols):
		p.report(ports.StartOffset, path+".ports", `have no meaning for "icmp" alone; leave them out, or add "tcp" or "udp" to "protocols"`)
	case given:
		r.Ports = p.ports(path+".ports", ports)
	case !pingOnly(r.Protocols):
		p.report(v.StartOffset, path, `"ports" is missing: the ports to reach, such as [5432]`)
	}
	r.Addresses = p.addresses(path+".addresses", f)
	r.As = p.as(path, f)
	r.Exit, _ = p.text(path, f, "exit", maxExit)
	r.Resolve, _ = p.text(path, f, "resolve", maxText)
	r.Programs = p.programs(path+".programs", f)
	r.Description, _ = p.text(path, f, "description", maxDescription)
	r.Name, _ = p.text(path, f, "name", maxText)
	if p.count == before {
		p.combination(path, v.StartOffset, f, r)
	}
	if p.count == before {
		r.Name = cmp.Or(r.Name, defaultName(r))
		p.unique(path, v.StartOffset, r)
	}
	return r, p.count == before
}

// defaultName returns the name of a resource whose entry gives none.
func defaultName(r Resource) string {
	if !r.OnLocalhost() {
		return r.RemoteHost()
	}
	first, _ := r.Ports[0].Remote() // no other resource has this port of localhost
	return nethost.Localhost + ":" + strconv.Itoa(int(first))
}

// combination reports fields that do not go together.
func (p *parser) combination(path string, at int, f map[string]hujson.Value, r Resource) {
	switch {
	case r.Host.IsLocalhost() && r.As == "":
		p.report(at, path, `localhost needs "as", the name that the remote uses for this machine, such as "laptop.internal". With "as": "localhost", the remote's own localhost leads to it`)
	case r.Exit == "" && given(f, "exit"):
		p.report(f["exit"].StartOffset, path+".exit", "is empty; leave it out")
	case r.Host.IsLocalhost() && r.Exit != "":
		p.report(f["exit"].StartOffset, path+".exit", "localhost is this machine itself, which no exit leads to")
	case given(f, "resolve") && r.Resolve != ByExit:
		p.report(f["resolve"].StartOffset, path+".resolve", "can be %q alone; leave it out, and this machine resolves the name", ByExit)
	case r.Resolve != "" && r.Exit == "":
		p.report(f["resolve"].StartOffset, path+".resolve", `needs "exit", the proxy that resolves the name`)
	case r.Resolve != "" && (r.Host.Kind == nethost.Address || r.Host.Kind == nethost.Prefix):
		p.report(f["resolve"].StartOffset, path+".resolve", "only a host that is a name is resolved; %s is none", r.Host)
	case r.Resolve != "" && len(r.Addresses) > 0:
		p.report(f["addresses"].StartOffset, path+".addresses", "cannot hold for a name that the exit resolves: its addresses are not seen here")
	case r.As != "" && (r.Host.Kind == nethost.Wildcard || r.Host.Kind == nethost.Prefix):
		p.report(f["as"].StartOffset, path+".as", "one name cannot stand for all of %s", r.Host)
	case r.OnLocalhost() && r.allows(ICMP):
		p.report(f["protocols"].StartOffset, path+".protocols", "cannot have icmp together with \"as\": %q: a ping of localhost stays on the remote", nethost.Localhost)
	case r.OnLocalhost() && slices.ContainsFunc(r.Ports, func(q Ports) bool { return q.First != q.Last }):
		p.report(f["ports"].StartOffset, path+".ports", "cannot have a range together with \"as\": %q: list each port, since the remote's own programs cannot use it meanwhile", nethost.Localhost)
	case len(r.Addresses) > 0 && (r.Host.Kind == nethost.Address || r.Host.Kind == nethost.Prefix || r.Host.IsLocalhost()):
		p.report(f["addresses"].StartOffset, path+".addresses", "only a host that is a name can be restricted to addresses; %s is none", r.Host)
	}
}

func given(f map[string]hujson.Value, field string) bool {
	_, ok := f[field]
	return ok
}

// fields indexes an object's members and reports those that are not among names.
func (p *parser) fields(path string, obj *hujson.Object, names []string) map[string]hujson.Value {
	out := make(map[string]hujson.Value, len(obj.Members))
	for _, m := range obj.Members {
		key := m.Name.Value.(hujson.Literal).String()
		_, twice := out[key]
		switch {
		case twice:
			p.report(m.Name.StartOffset, path, "%s is given twice", quote(key))
		case slices.Contains(names, key):
			out[key] = m.Value
		default:
			if near := nearest(key, names); near != "" {
				p.report(m.Name.StartOffset, path, "there is no %s; did you mean %q?", quote(key), near)
			} else {
				p.report(m.Name.StartOffset, path, "there is no %s; the fields are %s", quote(key), strings.Join(names, ", "))
			}
		}
	}
	return out
}

// text reads an optional one-line string; false if it is absent or wrong.
func (p *parser) text(path string, f map[string]hujson.Value, field string, limit int) (string, bool) {
	v, given := f[field]
	if !given {
		return "", false
	}
	s, ok := stringOf(v)
	if !ok {
		p.report(v.StartOffset, path+"."+field, "must be a string, not %s", kindOf(v))
		return "", false
	}
	s = strings.TrimSpace(s)
	if field == "host" {
		return s, true // its own parser says more
	}
	if trouble := checkText(s, limit); trouble != "" {
		p.report(v.StartOffset, path+"."+field, "%s %s", field, trouble)
		return "", false
	}
	return s, true
}

func (p *parser) ports(path string, v hujson.Value) []Ports {
	before := p.count
	elements := []hujson.Value{v}
	at := func(int) string { return path }
	if list, ok := v.Value.(*hujson.Array); ok {
		elements = list.Elements
		at = func(i int) string { return path + "[" + strconv.Itoa(i) + "]" }
	}
	switch {
	case len(elements) == 0:
		p.report(v.StartOffset, path, "lists no port")
	case len(elements) > MaxPorts:
		p.report(v.StartOffset, path, "lists more than %d ports; use ranges such as \"8000-8010\"", MaxPorts)
		return nil
	}
	out := make([]Ports, 0, len(elements))
	for i, e := range elements {
		lit, ok := e.Value.(hujson.Literal)
		if !ok || (lit.Kind() != '0' && lit.Kind() != '"') {
			p.report(e.StartOffset, at(i), `must be a port such as 5432, "8000-8010" or "15432:5432", not %s`, kindOf(e))
			continue
		}
		ports, err := parsePorts(lit.String())
		if err != nil {
			p.report(e.StartOffset, at(i), "%v", err)
		}
		out = append(out, ports)
	}
	if p.count != before {
		return nil
	}
	out, err := normalPorts(out)
	if err != nil {
		p.report(v.StartOffset, path, "%v", err)
	}
	return out
}

func (p *parser) protocols(path string, f map[string]hujson.Value) []Network {
	if _, given := f["protocols"]; !given {
		return []Network{TCP}
	}
	out := []Network{}
	p.strings(path, f["protocols"], 16, func(s string) error {
		switch n := Network(s); n {
		case TCP, UDP, ICMP:
			out = append(out, n)
			return nil
		}
		return errors.New(quote(s) + ` is none of "tcp", "udp" and "icmp"`)
	})
	slices.Sort(out)
	return slices.Compact(out)
}

func (p *parser) addresses(path string, f map[string]hujson.Value) []netip.Prefix {
	if _, given := f["addresses"]; !given {
		return nil
	}
	var out []netip.Prefix
	p.strings(path, f["addresses"], MaxAddresses, func(s string) error {
		prefix, err := nethost.ParsePrefix(s)
		out = append(out, prefix)
		return err
	})
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out)
}

func (p *parser) programs(path string, f map[string]hujson.Value) []string {
	if _, given := f["programs"]; !given {
		return nil
	}
	var out []string
	p.strings(path, f["programs"], MaxPrograms, func(s string) error {
		out = append(out, s)
		switch trouble := checkText(s, maxProgram); {
		case trouble != "":
			return errors.New("the program's name " + trouble)
		case s == "" || strings.Contains(s, "/"):
			return errors.New(quote(s) + ` is no name of a program, such as "psql", without its folder`)
		}
		return nil
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// strings reads a list that must not be empty, since an empty restriction looks like
// none.
func (p *parser) strings(path string, v hujson.Value, limit int, each func(string) error) {
	list, ok := v.Value.(*hujson.Array)
	switch {
	case !ok:
		p.report(v.StartOffset, path, "must be an array of strings, not %s", kindOf(v))
		return
	case len(list.Elements) == 0:
		p.report(v.StartOffset, path, "is an empty list; leave it out")
		return
	case len(list.Elements) > limit:
		p.report(v.StartOffset, path, "lists more than %d", limit)
		return
	}
	for i, e := range list.Elements {
		at := path + "[" + strconv.Itoa(i) + "]"
		s, ok := stringOf(e)
		if !ok {
			p.report(e.StartOffset, at, "must be a string, not %s", kindOf(e))
		} else if err := each(s); err != nil {
			p.report(e.StartOffset, at, "%v", err)
		}
	}
}

func (p *parser) as(path string, f map[string]hujson.Value) string {
	s, ok := p.text(path, f, "as", 4*nethost.MaxName)
	if !ok {
		return ""
	}
	h, err := nethost.Parse(s)
	switch {
	case err == nil && h.Addr.IsLoopback():
		err = errors.New(`"as" is a name, not an address; "localhost" stands for the remote's 127.0.0.1 and ::1`)
	case err == nil && h.Addr.IsValid():
		err = errors.New(`"as" is a name, not an address`)
	case err == nil && h.Name == nethost.Localhost:
	case err == nil && h.IsLocalhost():
		err = errors.New(`"as" cannot be a name below localhost, which every program takes for its own machine`)
	case err == nil && !strings.Contains(h.Name, "."):
		err = errors.New(`"as" is a full name with a dot in it, such as "laptop.internal", or "localhost"`)
	}
	if err != nil {
		p.report(f["as"].StartOffset, path+".as", "%v", err)
	}
	return h.Name
}

func stringOf(v hujson.Value) (string, bool) {
	lit, ok := v.Value.(hujson.Literal)
	if !ok || lit.Kind() != '"' {
		return "", false
	}
	return lit.String(), true
}

// kindOf names the kind of a value for a message.
func kindOf(v hujson.Value) string {
	switch v.Value.Kind() {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 'n':
		return "null"
	default:
		return "true or false"
	}
}

// nearest returns the field that is most like key, or "".
func nearest(key string, names []string) string {
	lower := strings.ToLower(key)
	best, bestDistance := "", 3
	for _, f := range names {
		if len(f) > 2 && strings.HasPrefix(lower, f) {
			return f
		}
		if d := distance(lower, f); d < bestDistance && d < len(f) {
			best, bestDistance = f, d
		}
	}
	return best
}

// distance returns the number of edits between two strings, or a large number if their
// lengths differ much.
func distance(a, b string) int {
	if len(a) > len(b)+3 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
