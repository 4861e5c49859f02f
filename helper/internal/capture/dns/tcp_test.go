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
