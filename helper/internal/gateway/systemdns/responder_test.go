package systemdns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// fakeResponder is mDNSResponder as far as questions go. It answers by say, which
// may return a code in place of records; -1 is silence.
func fakeResponder(t *testing.T, say func(name string, kind uint16) ([]dns.RR, int32)) responder {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				name, kind := readQuestion(t, c)
				_, _ = c.Write(make([]byte, 4))
				rrs, code := say(name, kind)
				for i, rr := range rrs {
					flags := uint32(flagAdd)
					if i < len(rrs)-1 || code != 0 {
						flags |= flagMore
					}
					_, _ = c.Write(replyOf(t, flags, 0, rr))
				}
				if code < -1 {
					_, _ = c.Write(replyOf(t, 0, code, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET}}))
				}
				_, _ = c.Read(make([]byte, 1)) // until the client has gone
			})
		}
	})
	return responder{path: path}
}

func readQuestion(t *testing.T, c io.Reader) (name string, kind uint16) {
	head := make([]byte, 28)
	_, _ = io.ReadFull(c, head)
	body := make([]byte, binary.BigEndian.Uint32(head[4:]))
	_, _ = io.ReadFull(c, body)
	text, rest, ok := bytes.Cut(body[8:], []byte{0})
	if !bytes.Equal(head[:4], []byte{0, 0, 0, 1}) || !bytes.Equal(head[8:16], []byte{0, 0, 0, 0, 0, 0, 0, 8}) || !bytes.Equal(body[:8], []byte{0, 1, 0x10, 0, 0, 0, 0, 0}) ||
		!ok || len(rest) != 4 || rest[3] != 1 {
		t.Errorf("asked by % x % x", head, body)
		return "", 0
	}
	return string(text), binary.BigEndian.Uint16(rest)
}

func replyOf(t *testing.T, flags uint32, code int32, rr dns.RR) []byte {
	wire := make([]byte, 1000)
	end, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		t.Error(err)
	}
	h := rr.Header()
	_, off, _ := dns.UnpackDomainName(wire, 0)
	rdata := wire[off+10 : end]
	body := binary.BigEndian.AppendUint32(nil, flags)
	body = binary.BigEndian.AppendUint32(body, 4)
	body = binary.BigEndian.AppendUint32(body, uint32(code))
	body = append(append(body, h.Name...), 0)
	body = binary.BigEndian.AppendUint16(body, h.Rrtype)
	body = binary.BigEndian.AppendUint16(body, h.Class)
	body = binary.BigEndian.AppendUint16(body, uint16(len(rdata)))
	body = append(body, rdata...)
	body = binary.BigEndian.AppendUint32(body, h.Ttl)
	body = append(body, "more that newer versions say"...)
	head := make([]byte, 28)
	binary.BigEndian.PutUint32(head, 1)
	binary.BigEndian.PutUint32(head[4:], uint32(len(body)))
	binary.BigEndian.PutUint32(head[12:], 68)
	return slices.Concat(head, body)
}

// TestResponder is the contract of macOS's way, with a stand-in for the system.
func TestResponder(t *testing.T) {
	m := new(dns.Msg)
	answer := fromZone(t)
	r := fakeResponder(t, func(name string, kind uint16) ([]dns.RR, int32) {
		if strings.HasPrefix(name, "silent.") {
			return nil, errTimeout
		}
		m := m.Copy()
		answer(m, dns.Question{Name: name, Qtype: kind})
		if len(m.Answer) == 0 || m.Answer[len(m.Answer)-1].Header().Rrtype != kind {
			return m.Answer, errNoSuchRecord
		}
		return m.Answer, 0
	})
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web.corp.test", dns.TypeA, "NOERROR|10.77.0.12"},
		{"www.corp.test", dns.TypeA, "NOERROR|web.corp.test.|10.77.0.12"},
		{"www.corp.test", dns.TypeCNAME, "NOERROR|web.corp.test."},
		{"www.corp.test", dns.TypeMX, "NOERROR|web.corp.test."},
		{"corp.test", dns.TypeSOA, "NOERROR|dns.corp.test. hostmaster.corp.test. 1 3600 600 86400 5"},
		{"corp.test", dns.TypeTXT, `NOERROR|"the private network"`},
		{"corp.test", dns.TypeMX, "NOERROR|10 web.corp.test."},
		{"_h._tcp.corp.test", dns.TypeSRV, "NOERROR|0 5 80 web.corp.test."},
		{"web.corp.test", dns.TypeHTTPS, "NOERROR"},
		{"web.corp.test", dns.TypeAAAA, "NOERROR|fd77::12"},
		{"gone.corp.test", dns.TypeTXT, "NXDOMAIN"},
		{"gone.corp.test", dns.TypeA, "NXDOMAIN"},
	} {
		m, err := r.query(t.Context(), records.Question{Name: c.name, Type: c.kind})
		if err != nil || told(m) != c.want {
			t.Errorf("%s %s: %v %v, want %s", c.name, dns.Type(c.kind), m, err, c.want)
		}
	}
	if m, err := r.query(t.Context(), records.Question{Name: "silent.corp.test", Type: dns.TypeA}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errResponder) {
		t.Errorf("silent: %v %v", m, err)
	}
	if _, err := (responder{path: r.path + "x"}).query(t.Context(), records.Question{Name: "web.corp.test", Type: dns.TypeA}); !errors.Is(err, errResponder) {
		t.Errorf("not there: %v", err)
	}
}

// Replies of every raw type are read as the wire has them, all of a set.
func TestResponderTypes(t *testing.T) {
	for kind, texts := range map[uint16][]string{
		dns.TypeHTTPS: {`x.corp.test. 60 IN HTTPS 1 . alpn="h2" ipv4hint="10.0.0.1"`},
		dns.TypeCAA:   {`x.corp.test. 60 IN CAA 0 issue "ca.test"`},
		dns.TypeNULL:  {`x.corp.test. 60 IN NULL \# 3 010203`},
		dns.TypeA:     {"x.corp.test. 60 IN A 10.0.0.1", "x.corp.test. 60 IN A 10.0.0.2"},
		65280:         {`x.corp.test. 60 IN TYPE65280 \# 2 abcd`},
	} {
		var rrs []dns.RR
		for _, text := range texts {
			rr, err := dns.NewRR(text)
			if err != nil {
				rr = &dns.NULL{Hdr: dns.RR_Header{Name: "x.corp.test.", Rrtype: kind, Class: 1, Ttl: 60}, Data: "\x01\x02\x03"}
			}
			rrs = append(rrs, rr)
		}
		r := fakeResponder(t, func(string, uint16) ([]dns.RR, int32) { return rrs, 0 })
		m, err := r.query(t.Context(), records.Question{Name: "x.corp.test", Type: kind})
		if err != nil || len(m.Answer) != len(rrs) {
			t.Errorf("%s: %v %v", dns.Type(kind), m, err)
			continue
		}
		for i, rr := range rrs {
			if m.Answer[i].String() != rr.String() {
				t.Errorf("%s, want %s", m.Answer[i], rr)
			}
		}
	}
}

// A responder that says nothing holds up nobody for longer than they wait.
func TestSilentResponder(t *testing.T) {
	r := fakeResponder(t, func(string, uint16) ([]dns.RR, int32) { return nil, -1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if m, err := r.query(ctx, records.Question{Name: "web.corp.test", Type: dns.TypeA}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v %v", m, err)
	}
}

type conversation struct {
	io.Reader
	io.Writer
}

func FuzzResponder(f *testing.F) {
	rr, _ := dns.NewRR("www.corp.test. 60 IN A 10.0.0.1")
	b := replyOf(nil, flagAdd, 0, rr)
	f.Add(append(make([]byte, 4), b...))
	f.Add(append(make([]byte, 4), b[:40]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := converse(conversation{bytes.NewReader(b), io.Discard}, records.Question{Name: "www.corp.test", Type: dns.TypeA})
		if (m == nil) == (err == nil) {
			t.Fatalf("%v %v", m, err)
		}
		if err == nil {
			if _, err := m.Pack(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
