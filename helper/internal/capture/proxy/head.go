package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxHeader bounds the head of a message, and its trailer, in bytes.
const maxHeader = 64 << 10

// Framings of a body; a number from 0 is its length in bytes.
const (
	chunked  int64 = -1
	untilEnd int64 = -2 // of the connection
)

// messageError is why a message cannot be passed on, as an HTTP status and a sentence.
type messageError struct {
	status int
	reason string
}

func (b *messageError) Error() string { return b.reason }

func bad(reason string) error { return &messageError{http.StatusBadRequest, reason} }

var errTooLong = &messageError{http.StatusRequestHeaderFieldsTooLarge, "The header is too long."}

// request is what the proxy has to know of a request. Everything else passes as the
// client wrote it.
type request struct {
	method, target, version string
	host                    string // of the target
	port                    uint16
	path                    string   // of the target, with the query
	fields                  []string // the lines of the header that go on
	body                    int64
	keep                    bool // the client may send more requests
	upgrade, expects        bool
}

// readHead reads the lines of a head, without the empty line that ends it. If strict,
// it refuses what recipients read differently: lines that do not end with CRLF, and
// characters that end lines for some.
func readHead(r *bufio.Reader, strict bool) (lines []string, err error) {
	for room := maxHeader; ; {
		line, err := readLine(r, room, strict)
		if err != nil {
			return lines, err
		}
		room -= len(line)
		if strings.TrimRight(line, "\r\n") != "" {
			lines = append(lines, line)
		} else if len(lines) > 0 {
			return lines, nil
		} // else it is an empty line before the message, which RFC 9112 ignores
	}
}

// readLine reads a line with its end, of at most limit bytes.
func readLine(r *bufio.Reader, limit int, strict bool) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); len(line) > limit {
			return "", errTooLong
		}
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return string(line), err
		}
	}
	s := string(line)
	text, crlf := strings.CutSuffix(s, "\r\n")
	if strict && (!crlf || strings.ContainsAny(text, "\r\x00")) {
		return "", bad("A line of the request does not end with CRLF, or has a CR or NUL inside.")
	}
	return s, nil
}

// splitField splits a line of a header. The name is in lower case.
func splitField(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(strings.TrimRight(line, "\r\n"), ":")
	return strings.ToLower(name), strings.Trim(value, " \t"), ok && isToken(name)
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	})
}

// options returns the members of a comma-separated list, in lower case.
func options(value string) (all []string) {
	for s := range strings.SplitSeq(value, ",") {
		if s = strings.ToLower(strings.Trim(s, " \t")); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// ownOptions are options of Connection that hold for the connection to the server
// too: it lives as long as the client's, and bodies pass with their transfer coding.
var ownOptions = []string{"close", "keep-alive", "upgrade", "http2-settings", "te"}

// hopByHop are fields for the proxy alone.
var hopByHop = []string{"proxy-connection", "proxy-authorization", "keep-alive"}

// framed are fields on which all recipients must agree. Connection cannot remove them.
var framed = []string{"host", "content-length", "transfer-encoding", "trailer"}

// parseRequest understands a head that was read strictly.
func parseRequest(lines []string) (*request, error) {
	first := strings.Split(strings.TrimSuffix(lines[0], "\r\n"), " ")
	if len(first) != 3 || !isToken(first[0]) || first[1] == "" || strings.ContainsFunc(first[1], func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, bad("The first line is no HTTP request.")
	}
	q := &request{method: first[0], target: first[1], version: first[2]}
	if q.version != "HTTP/1.1" && q.version != "HTTP/1.0" {
		return nil, &messageError{http.StatusHTTPVersionNotSupported, "Causeway's proxy speaks HTTP/1.1 and HTTP/1.0."}
	}
	seen := make(map[string][]string) // values by name
	for _, line := range lines[1:] {
		name, value, ok := splitField(line)
		if !ok {
			return nil, bad("A line of the header is no field: a space is before its colon, or it continues another line.")
		}
		seen[name] = append(seen[name], value)
	}
	connection := options(strings.Join(seen["connection"], ","))
	q.keep = !slices.Contains(connection, "close") && (q.version == "HTTP/1.1" || slices.Contains(connection, "keep-alive"))
	q.upgrade = len(seen["upgrade"]) > 0 && slices.Contains(connection, "upgrade")
	q.expects = len(seen["expect"]) > 0
	gone := func(option string) bool { return !slices.Contains(ownOptions, option) }
	remove := slices.Concat(hopByHop, slices.DeleteFunc(slices.Clone(connection), func(o string) bool { return !gone(o) || slices.Contains(framed, o) }))
	for _, line := range lines[1:] {
		name, value, _ := splitField(line)
		if all := options(value); name == "connection" && slices.ContainsFunc(all, gone) {
			if all = slices.DeleteFunc(all, gone); len(all) > 0 {
				q.fields = append(q.fields, line[:len(name)]+": "+strings.Join(all, ", ")+"\r\n")
			}
		} else if !slices.Contains(remove, name) {
			q.fields = append(q.fields, line)
		}
	}
	if len(seen["host"]) > 1 {
		return nil, bad("The request has more than one Host.")
	}
	if err := q.frame(seen["content-length"], seen["transfer-encoding"]); err != nil {
		return nil, err
	}
	return q, q.split()
}

// frame finds out how long the body is. It refuses what another recipient could read
// differently.
func (q *request) frame(lengths, codings []string) error {
	var err error
	switch {
	case len(codings) > 0 && (len(lengths) > 0 || len(codings) > 1 || q.version == "HTTP/1.0"):
		return bad("The request has Transfer-Encoding and Content-Length, or Transfer-Encoding twice or in HTTP/1.0.")
	case len(codings) > 0:
		if q.body = chunked; !strings.EqualFold(codings[0], "chunked") {
			return &messageError{http.StatusNotImplemented, "The only Transfer-Encoding of requests is chunked."}
		}
	case len(lengths) > 1:
		return bad("The request has more than one Content-Length.")
	case len(lengths) == 1:
		if q.body, err = parseLength(lengths[0], 10); err != nil {
			return bad("The request's Content-Length is no number.")
		}
	}
	if q.method == http.MethodConnect && (len(codings) > 0 || q.body > 0) {
		return bad("CONNECT has no body.")
	}
	return nil
}

// parseLength reads a number of digits alone.
func parseLength(s string, base int) (int64, error) {
	n, err := strconv.ParseUint(s, base, 63) // refuses signs, "_" and "0x"
	return int64(n), err
}

// split takes the target apart.
func (q *request) split() (err error) {
	if q.method == http.MethodConnect {
		if q.host, q.port, err = splitTarget(q.target, ""); err != nil {
			return bad("CONNECT takes host:port: " + err.Error())
		}
		return nil
	}
	const scheme = "http://"
	if len(q.target) < len(scheme) || !strings.EqualFold(q.target[:len(scheme)], scheme) {
		return bad("This is causeway's proxy: it takes CONNECT and absolute http:// URLs, and SOCKS4 and 5.")
	}
	authority := q.target[len(scheme):]
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		authority, q.path = authority[:i], authority[i:]
	}
	switch {
	case q.path == "" && q.method == http.MethodOptions:
		q.path = "*" // RFC 9112, 3.2.4
	case !strings.HasPrefix(q.path, "/"):
		q.path = "/" + q.path
	}
	authority = authority[strings.LastIndex(authority, "@")+1:]
	if q.host, q.port, err = splitTarget(strings.TrimSuffix(authority, ":"), "80"); err != nil {
		return bad("The URL has no host: " + err.Error())
	}
	return nil
}

// response is what the proxy has to know of a response.
type response struct {
	status int
	body   int64
	keep   bool // the server takes more requests
	asked  bool // the server has asked for the body (100 Continue)
}

// parseResponse understands the head of the answer to a request of that method.
func parseResponse(lines []string, method string) (*response, error) {
	version, rest, _ := strings.Cut(strings.TrimRight(lines[0], "\r\n"), " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := parseLength(code, 10)
	if version != "HTTP/1.1" && version != "HTTP/1.0" || err != nil || len(code) != 3 || status < 100 {
		return nil, fmt.Errorf("it begins with %.100q", lines[0])
	}
	p := &response{status: int(status), body: untilEnd}
	var lengths, codings, connection []string
	for _, line := range lines[1:] {
		switch name, value, _ := splitField(line); name {
		case "connection":
			connection = append(connection, options(value)...)
		case "transfer-encoding":
			codings = append(codings, options(value)...)
		case "content-length":
			lengths = append(lengths, options(value)...)
		}
	}
	p.keep = !slices.Contains(connection, "close") && (version == "HTTP/1.1" || slices.Contains(connection, "keep-alive"))
	lengths = slices.Compact(lengths)
	switch {
	case method == http.MethodHead || status < 200 || status == http.StatusNoContent || status == http.StatusNotModified:
		p.body = 0
	case len(codings) > 0:
		if version == "HTTP/1.1" && codings[len(codings)-1] == "chunked" {
			p.body = chunked
		}
		p.keep = p.keep && len(lengths) == 0
	case len(lengths) == 1:
		if p.body, err = parseLength(lengths[0], 10); err != nil {
			return nil, fmt.Errorf("its Content-Length is %.100q", lengths[0])
		}
	case len(lengths) > 1:
		return nil, errors.New("it has several values of Content-Length")
	}
	p.keep = p.keep && p.body != untilEnd
	return p, nil
}
