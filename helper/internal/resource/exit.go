package resource

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tailscale/hujson"
)

// MaxExits bounds the number of exits.
const MaxExits = 64

// The types of exit.
const (
	WireGuard = "wireguard"
	Proxy     = "proxy"
)

// Exit is one way from the gateway into a private network, as the settings
// name it. It holds no secret.
type Exit struct {
	Type string   // WireGuard or Proxy
	File string   // of a WireGuard: the profile, on the gateway's machine
	URL  *url.URL // of a Proxy: scheme socks5, http or https; no credentials, with a port
}

// String returns the file or the URL, for a person to read.
func (e Exit) String() string {
	if e.URL != nil {
		return e.URL.String()
	}
	return e.File
}

// Via returns one line that holds the name of an exit and where it leads. Once the exits
// are known, Resource.Exit is this line, so that the user sees and approves both.
func (e Exit) Via(name string) string {
	return name + ": " + e.Type + " " + strconv.Quote(e.String())
}

// Absolute makes file names absolute, relative to the folder base. If base is empty, it
// reports relative names and leaves their exits out.
func Absolute(root string, exits map[string]Exit, base string) (problems []Problem) {
	for _, name := range slices.Sorted(maps.Keys(exits)) {
		e := exits[name]
		path := strings.TrimPrefix(root+"["+quote(name)+"]", ".")
		switch {
		case e.File == "" || filepath.IsAbs(e.File):
		case base == "":
			problems = append(problems, Problem{Path: path + ".file", Message: "must be an absolute path on this machine"})
			delete(exits, name)
			continue
		default:
			e.File = filepath.Join(base, e.File)
			exits[name] = e
		}
		if len(e.Via(name)) > maxExit {
			problems = append(problems, Problem{Path: path, Message: "its name and path are too long"})
			delete(exits, name)
		}
	}
	return problems
}

// ParseExits reads named exits: a JSON object in which comments and trailing
// commas are allowed. It returns every mistake, with paths that begin with
// root, and the exits that have none.
func ParseExits(root string, data []byte) (map[string]Exit, []Problem) {
	if len(data) > MaxInput {
		return nil, []Problem{{Path: root, Message: fmt.Sprintf("longer than %d bytes", MaxInput)}}
	}
	p := &parser{src: data}
	v, ok, err := p.json(root)
	switch obj, isObject := v.Value.(*hujson.Object); {
	case !ok:
	case err != nil:
		p.syntax(root, err)
	case !isObject:
		p.report(v.StartOffset, root, `must be an object such as {"office": {"type": "wireguard", "file": "…"}}, not %s`, kindOf(v))
	case len(obj.Members) > MaxExits:
		p.report(v.StartOffset, root, "there are more than %d exits", MaxExits)
	default:
		return p.exits(root, obj), p.result(root)
	}
	return nil, p.result(root)
}

func (p *parser) exits(root string, obj *hujson.Object) map[string]Exit {
	out := map[string]Exit{}
	for _, m := range obj.Members {
		name := m.Name.Value.(hujson.Literal).String()
		path := strings.TrimPrefix(root+"["+quote(name)+"]", ".")
		before := p.count
		_, twice := out[name]
		switch trouble := checkText(name, maxText); {
		case name == "" || trouble != "":
			p.report(m.Name.StartOffset, path, "the name of an exit is a short printable text")
		case twice:
			p.report(m.Name.StartOffset, path, "is given twice")
		}
		e := p.exit(path, m.Value)
		if p.count == before {
			out[name] = e
		}
	}
	return out
}

func (p *parser) exit(path string, v hujson.Value) (e Exit) {
	obj, ok := v.Value.(*hujson.Object)
	if !ok {
		p.report(v.StartOffset, path, "must be an object, not %s", kindOf(v))
		return e
	}
	f := p.fields(path, obj, []string{"type", "file", "url"})
	e.Type, _ = p.text(path, f, "type", maxText)
	belongs := map[string]string{WireGuard: "file", Proxy: "url"}[e.Type]
	if strings.EqualFold(e.Type, "pac") {
		p.report(v.StartOffset, path, pacTrouble)
		return e
	}
	if belongs == "" {
		p.report(v.StartOffset, path, `"type" is %q or %q`, WireGuard, Proxy)
		return e
	}
	for _, field := range []string{"file", "url"} {
		if field != belongs && given(f, field) {
			p.report(f[field].StartOffset, path+"."+field, "%s does not belong to an exit of type %s", field, e.Type)
		}
	}
	value, ok := p.text(path, f, belongs, 4096)
	switch {
	case !given(f, belongs) || ok && value == "":
		p.report(v.StartOffset, path, "%q is missing", belongs)
	case ok && e.Type == WireGuard:
		e.File = value
	case ok:
		var trouble string
		if e.URL, trouble = proxyURL(value); trouble != "" {
			p.report(f["url"].StartOffset, path+".url", "%s", trouble)
		}
	}
	return e
}

// proxyURL returns the URL of a proxy in its normal spelling. trouble says what is wrong
// with s. It does not repeat s, which may hold a password.
func proxyURL(s string) (u *url.URL, trouble string) {
	if strings.Contains(s, "@") {
		return nil, `holds a user or a password, which belong in no settings: give the URL without, and them by the command "Causeway: Set Proxy Credentials…" or in the file of --credentials`
	}
	u, err := url.Parse(s)
	switch {
	case err == nil && isPAC(u.Path):
		return nil, pacTrouble
	case err != nil || !slices.Contains([]string{"socks5", "http", "https"}, u.Scheme) || u.Hostname() == "" || u.Port() == "" ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, "must be socks5://host:port, http://host:port or https://host:port"
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}, ""
}

const pacTrouble = "PAC files are not supported: give the proxy that the file would choose, as an exit of type proxy"

func isPAC(path string) bool {
	path = strings.ToLower(path)
	return strings.HasSuffix(path, ".pac") || strings.HasSuffix(path, "/wpad.dat")
}
