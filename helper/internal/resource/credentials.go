package resource

import (
	"fmt"
	"strings"

	"github.com/tailscale/hujson"
)

// maxSecret bounds a user and a password, in bytes (RFC 1929).
const maxSecret = 255

// Credentials are the user and password for a proxy. They print as a placeholder, so that
// they do not reach a log.
type Credentials struct{ User, Password string }

// String returns a placeholder.
func (Credentials) String() string { return "(credentials)" }

// GoString returns a placeholder.
func (Credentials) GoString() string { return "(credentials)" }

// ParseCredentials reads the credentials of proxies: a JSON object that maps the URL of an
// exit to {"user": "…", "password": "…"}. Comments and trailing commas are allowed. It
// returns the credentials by Exit.String, and every mistake. The messages do not repeat
// the input.
func ParseCredentials(root string, data []byte) (map[string]Credentials, []Problem) {
	if len(data) > MaxInput {
		return nil, []Problem{{Path: root, Message: fmt.Sprintf("longer than %d bytes", MaxInput)}}
	}
	p := &parser{src: data}
	v, ok, err := p.json(root)
	switch obj, isObject := v.Value.(*hujson.Object); {
	case !ok:
	case err != nil:
		p.count++
		p.problems = append(p.problems, Problem{Path: root, Message: "not valid JSON"})
	case !isObject || len(obj.Members) > MaxExits:
		p.report(v.StartOffset, root, `must be an object of at most %d members such as "http://proxy:3128": {"user": "me", "password": "…"}`, MaxExits)
	default:
		out := map[string]Credentials{}
		for _, m := range obj.Members {
			before := p.count
			u, trouble := proxyURL(m.Name.Value.(hujson.Literal).String())
			if trouble != "" {
				p.report(m.Name.StartOffset, root, "the URL of a proxy %s", trouble)
			}
			c := p.credentials(root, m.Value)
			if p.count > before {
				continue
			}
			if _, twice := out[u.String()]; twice {
				p.report(m.Name.StartOffset, root, "a proxy is given twice")
			}
			out[u.String()] = c
		}
		return out, p.result(root)
	}
	return nil, p.result(root)
}

func (p *parser) credentials(path string, v hujson.Value) (c Credentials) {
	obj, ok := v.Value.(*hujson.Object)
	if !ok {
		p.report(v.StartOffset, path, `credentials are an object such as {"user": "me", "password": "…"}`)
		return c
	}
	for _, m := range obj.Members {
		s, isString := stringOf(m.Value)
		switch m.Name.Value.(hujson.Literal).String() {
		case "user":
			c.User = s
		case "password":
			c.Password = s
		default:
			p.report(m.Name.StartOffset, path, `credentials have a "user" and a "password", and nothing else`)
		}
		if !isString || len(s) > maxSecret || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			p.report(m.Value.StartOffset, path, "a user and a password are strings of at most %d bytes, on one line", maxSecret)
		}
	}
	if c.User == "" || strings.Contains(c.User, ":") {
		p.report(v.StartOffset, path, `"user" is missing, or has a colon in it`)
	}
	return c
}
