package proxy

import (
	"bufio"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

func TestSOCKS4(t *testing.T) {
	for _, c := range []struct{ what, request, target string }{
		{"a name", "\x04\x01\x00\x50\x00\x00\x00\x01me\x00web.corp.test\x00", "tcp web.corp.test:80"},
		{"an address", "\x04\x01\x01\xbb\x0a\x00\x00\x07\x00", "tcp 10.0.0.7:443"},
	} {
		for _, code := range []tunnel.Code{tunnel.Connected, tunnel.Refused} {
			f := start(t, Options{Match: func(_, host string, _ uint16) bool { return true }})
			client := f.dial()
			f.say(client, c.request)
			st := f.accept()
			if got := st.Request(); got.Target.String() != c.target || got.Origin.Source != "socks" {
				t.Errorf("%s: %+v", c.what, got)
			}
			_ = st.Reply(code, "")
			if code != tunnel.Connected {
				f.hear(client, "\x00\x5b\x00\x00\x00\x00\x00\x00")
				continue
			}
			f.hear(client, "\x00\x5a\x00\x00\x00\x00\x00\x00")
			f.say(client, "hello")
			f.hear(st, "hello")
			f.say(st, "back")
			f.hear(client, "back")
			_ = st.Close()
		}
	}
}

func TestSOCKS4Refuses(t *testing.T) {
	for what, request := range map[string]string{
		"BIND":              "\x04\x02\x00\x50\x0a\x00\x00\x07\x00",
		"a long user":       "\x04\x01\x00\x50\x0a\x00\x00\x07" + strings.Repeat("x", maxUser+1),
		"an empty name":     "\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00",
		"a name of no host": "\x04\x01\x00\x50\x00\x00\x00\x01\x00a b\x00",
		"a long name":       "\x04\x01\x00\x50\x00\x00\x00\x01\x00" + strings.Repeat("x", tunnel.MaxHost+1),
	} {
		f := start(t, Options{})
		client := f.dial()
		f.say(client, request)
		b := make([]byte, 8)
		if n, err := client.Read(b); n > 0 && b[1] != rep4Failure || n == 0 && err == nil {
			t.Errorf("%s: %x %v", what, b[:n], err)
		}
		if f.gateway.Flows() > 0 {
			t.Errorf("%s opened a flow", what)
		}
	}
}

// A request for a resource has the path and the headers that the client wrote.
func TestRequestAsWritten(t *testing.T) {
	f := start(t, Options{})
	client := f.dial()
	f.say(client, "GET http://web.corp.test/a|b/%7e/[x]?q=a|b&%7C HTTP/1.1\r\nHost: web.corp.test\r\n"+
		"Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nAccept: */*\r\n\r\n")
	st := f.accept()
	_ = st.Reply(tunnel.Connected, "")
	r := bufio.NewReader(st)
	got := map[string]bool{}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			break
		}
		got[strings.TrimSpace(line)] = true
	}
	for _, want := range []string{"GET /a|b/%7e/[x]?q=a|b&%7C HTTP/1.1", "Host: web.corp.test", "Forwarded: for=192.0.2.1",
		"X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "Accept: */*"} {
		if !got[want] {
			t.Errorf("%q is missing in %v", want, got)
		}
	}
	if len(got) != 6 {
		t.Errorf("%v", got)
	}
	f.say(st, "HTTP/1.1 204 No Content\r\n\r\n")
	f.hear(client, "HTTP/1.1 204 No Content\r\n")
}
