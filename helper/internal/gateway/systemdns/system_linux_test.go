package systemdns

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// ask asks servers, the first of which is at its port on 127.0.0.1.
func ask(t *testing.T, s *server, name string, kind uint16) (*dns.Msg, error) {
	t.Helper()
	servers := Servers{At: []string{"127.0.0.1:" + s.port}, Timeout: time.Second}
	return servers.Query(t.Context(), records.Question{Name: name, Type: kind})
}

func TestLongAnswersComeByTCP(t *testing.T) {
	s := serve(t, fromZone(t))
	m, err := ask(t, s, "long.corp.test", dns.TypeTXT)
	if err != nil || len(m.Answer) != 1 || len(m.Answer[0].(*dns.TXT).Txt) != 3 {
		t.Fatalf("%v %v", m, err)
	}
	if got := strings.Join(s.questions(), ", "); got != "udp long.corp.test. TXT, tcp long.corp.test. TXT" {
		t.Error(got)
	}
}

func TestServersBeforeEDNSAreAskedWithout(t *testing.T) {
	s := serve(t, func(m *dns.Msg, _ dns.Question) { m.Rcode = dns.RcodeFormatError })
	if m, err := ask(t, s, "web.corp.test", dns.TypeA); err != nil || m.Rcode != dns.RcodeFormatError || len(s.questions()) != 2 {
		t.Fatalf("%v %v %v", m, err, s.questions())
	}
}

func TestAnotherQuestionIsNoAnswer(t *testing.T) {
	s := serve(t, func(m *dns.Msg, _ dns.Question) { m.Question[0].Name = "evil.test." })
	if m, err := ask(t, s, "web.corp.test", dns.TypeA); err == nil {
		t.Fatalf("%v", m)
	}
}

func TestConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\nsearch a.test\noptions timeout:1 attempts:3 rotate\noptions use-vc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, useTCP, rotate, err := readConfig(path)
	if err != nil || !useTCP || !rotate || len(c.Servers) != 3 || c.Timeout != 1 || c.Attempts != 3 {
		t.Errorf("%+v %v %v %v", c, useTCP, rotate, err)
	}
	c, _, _, err = readConfig(path + ".missing")
	if err != nil || len(c.Servers) != 1 || c.Servers[0] != "127.0.0.1" {
		t.Errorf("%+v %v", c, err)
	}
}

func TestHostsFileFirst(t *testing.T) {
	var r Resolver
	r.path = filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(r.path, []byte("nameserver 192.0.2.1\noptions timeout:1 attempts:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := r.Query(t.Context(), records.Question{Name: "localhost", Type: dns.TypeA})
	if err != nil || told(m) != "NOERROR|127.0.0.1" {
		t.Errorf("%v %v", m, err)
	}
	if m, err := r.Query(t.Context(), records.Question{Name: "1.0.0.127.in-addr.arpa", Type: dns.TypePTR}); err != nil || len(m.Answer) == 0 {
		t.Errorf("%v %v", m, err)
	}
	if m, err := r.Query(t.Context(), records.Question{Name: "web.corp.test", Type: dns.TypeA}); err == nil {
		t.Errorf("a silent server: %v", m)
	} else if errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestServersInTurn has the first of two servers fail in each of the ways in
// which servers do.
func TestServersInTurn(t *testing.T) {
	good := serveAt(t, "127.0.0.3:0", fromZone(t))
	for _, c := range []struct {
		name  string
		first func(*dns.Msg, dns.Question)
	}{
		{"not there", nil},
		{"refuses", func(m *dns.Msg, _ dns.Question) { m.Rcode = dns.RcodeRefused }},
		{"fails", func(m *dns.Msg, _ dns.Question) { m.Rcode = dns.RcodeServerFailure }},
		{"answers something else", func(m *dns.Msg, _ dns.Question) { m.Question[0].Name = "evil.test." }},
		{"is silent", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := "127.0.0.2:" + good.port
			if c.first != nil {
				serveAt(t, at, c.first)
			} else if c.name == "is silent" {
				silent, err := net.ListenPacket("udp", at)
				if err != nil {
					t.Fatal(err)
				}
				defer silent.Close()
			}
			var r Resolver
			r.port, r.path = good.port, filepath.Join(t.TempDir(), "resolv.conf")
			if err := os.WriteFile(r.path, []byte("nameserver 127.0.0.2\nnameserver 127.0.0.3\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			m, err := r.Query(t.Context(), records.Question{Name: "web.corp.test", Type: dns.TypeA})
			if err != nil || told(m) != "NOERROR|10.77.0.12" || time.Since(start) > 3*time.Second {
				t.Errorf("%v %v after %s", m, err, time.Since(start))
			}
		})
	}
	var r Resolver
	r.port, r.path = good.port, filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(r.path, []byte("nameserver 127.0.0.3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := r.Query(t.Context(), records.Question{Name: "gone.corp.test", Type: dns.TypeA}); err != nil || told(m) != "NXDOMAIN" || len(m.Ns) != 1 {
		t.Errorf("%v %v", m, err)
	}
}
