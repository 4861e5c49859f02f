//go:build linux

package dns

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
)

// Names resolve by the nameservers that are not ours, the next one if the first
// fails, and never by the hosts file.
func TestBefore(t *testing.T) {
	f := start(t, nil) // for a port that is free on the addresses of the tests
	echo, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	f.upstream(upstreamA, func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused)) })
	f.upstream(upstreamB, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Name == "nowhere.test." {
			m.Rcode = dns.RcodeNameError
		} else if q.Question[0].Qtype == dns.TypeA {
			rr, _ := dns.NewRR(q.Question[0].Name + " 60 IN A 127.0.0.1")
			m.Answer = []dns.RR{rr}
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp && q.Question[0].Name == "long.test." {
			m.Answer, m.Truncated = nil, true // TCP has the answer
		}
		_ = w.WriteMsg(m)
	})
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("nameserver "+upstreamA.String()+"\nnameserver "+upstreamB.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := NewBefore(path)
	b.port = f.port
	for _, name := range []string{"split.test", "long.test"} {
		c, err := b.Dial(t.Context(), "tcp", name, echo.Addr().(*net.TCPAddr).AddrPort().Port())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	port := echo.Addr().(*net.TCPAddr).AddrPort().Port()
	_ = echo.Close()
	for name, want := range map[string]tunnel.Code{"nowhere.test": tunnel.NoSuchName, "split.test": tunnel.Refused} {
		if _, err := b.Dial(t.Context(), "tcp", name, port); flow.Code(err) != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.lookUp(ctx, "split.test"); flow.Code(err) != tunnel.ResolveFailed {
		t.Error(err)
	}
}
