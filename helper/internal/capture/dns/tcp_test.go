//go:build linux

package dns

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// On one connection no question waits for the answer to another, and a client that
// has asked all it wanted gets every answer.
func TestTCPQuestionsWaitForNoOther(t *testing.T) {
	f := start(t, nil)
	f.upstream(upstreamA, says("public"))
	c, err := dns.Dial("tcp", f.s.at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, name := range []string{"stalled.corp.test.", "web.corp.test.", "example.test."} {
		if err := c.WriteMsg(new(dns.Msg).SetQuestion(name, dns.TypeTXT)); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	var got []string
	for range 3 {
		m, err := c.ReadMsg()
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, m.Question[0].Name+dns.RcodeToString[m.Rcode])
	}
	if got[2] != "stalled.corp.test.SERVFAIL" || !strings.HasSuffix(got[0], "NOERROR") || !strings.HasSuffix(got[1], "NOERROR") {
		t.Error(got)
	}
	if _, err := c.ReadMsg(); err == nil {
		t.Error("the connection goes on")
	}
}

// More connections than there may be: the next one is closed, and takes the place
// of one that ends.
func TestTCPConnectionsAreBounded(t *testing.T) {
	f := start(t, nil)
	var all []net.Conn
	for range maxConns {
		c, err := net.Dial("tcp", f.s.at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	c, err := net.Dial("tcp", f.s.at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("connection %d: %v", maxConns+1, err)
	}
	_ = all[0].Close()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		client := dns.Client{Net: "tcp"}
		if m, _, err := client.Exchange(new(dns.Msg).SetQuestion("web.corp.test.", dns.TypeTXT), f.s.at.String()); err == nil && m.Rcode == dns.RcodeSuccess {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no connection is served after one has ended")
		}
	}
}

// An answer of a previous nameserver that is too long for UDP says so, also about a
// name that the laptop does not know, and is whole over TCP.
func TestTruncatedElsewhere(t *testing.T) {
	f := start(t, nil)
	long := strings.Repeat("x", 255)
	f.upstream(upstreamA, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		for _, text := range []string{"1", "2", "3"} {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: 1}, Txt: []string{long, text}})
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncate(dns.MinMsgSize)
		}
		_ = w.WriteMsg(m)
	})
	for _, name := range []string{"public.test", "www.wild.corp.test"} {
		if got := f.ask("udp", name, dns.TypeTXT); !strings.HasPrefix(got, "NOERROR|truncated") {
			t.Errorf("%s over UDP: %s", name, got)
		}
		if got := f.ask("tcp", name, dns.TypeTXT); strings.Count(got, long) != 3 {
			t.Errorf("%s over TCP: %s", name, got)
		}
	}
}
