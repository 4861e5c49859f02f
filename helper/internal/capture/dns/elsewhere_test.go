//go:build linux

package dns

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// public is a nameserver that knows some names by both families and TXT.
func public(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	known := map[string]string{"A": "192.0.2.1", "AAAA": "2001:db8::1", "TXT": "public"}[dns.Type(q.Question[0].Qtype).String()]
	if strings.HasPrefix(q.Question[0].Name, "nowhere.") {
		m.Rcode = dns.RcodeNameError
	} else if rr, err := dns.NewRR(q.Question[0].Name + " 60 IN " + dns.Type(q.Question[0].Qtype).String() + " " + known); err == nil {
		m.Answer = []dns.RR{rr}
	}
	_ = w.WriteMsg(m)
}

// A name below a wildcard that the laptop does not know, or whose addresses the
// resource excludes, resolves as it did before. Private names, failures and
// resources of their own do not: no question about them goes elsewhere.
func TestNamesThatAreNotPrivate(t *testing.T) {
	f := start(t, nil)
	asked := make(chan string, 100)
	f.upstream(upstreamA, func(w dns.ResponseWriter, q *dns.Msg) {
		asked <- q.Question[0].Name
		public(w, q)
	})
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"www.wild.corp.test", dns.TypeA, "NOERROR|www.wild.corp.test. 60 IN A 192.0.2.1"},
		{"www.wild.corp.test", dns.TypeAAAA, "NOERROR|www.wild.corp.test. 60 IN AAAA 2001:db8::1"},
		{"www.wild.corp.test", dns.TypeTXT, `NOERROR|www.wild.corp.test. 60 IN TXT "public"`},
		{"denied.wild.corp.test", dns.TypeA, "NOERROR|denied.wild.corp.test. 60 IN A 192.0.2.1"},
		{"nowhere.wild.corp.test", dns.TypeA, "NXDOMAIN|" + soa},
		{"failed.wild.corp.test", dns.TypeA, "SERVFAIL"},
		{"db.wild.corp.test", dns.TypeAAAA, "NOERROR|" + soa},
		{"six.wild.corp.test", dns.TypeA, "NOERROR|six.wild.corp.test. 30 IN A 127.9.9.1"},
		{"nope.corp.test", dns.TypeA, "NXDOMAIN|" + soa},
		{"denied.corp.test", dns.TypeA, "REFUSED"},
		{"denied4.corp.test", dns.TypeA, "REFUSED"},
		{"denied4.wild.corp.test", dns.TypeA, "NOERROR|denied4.wild.corp.test. 60 IN A 192.0.2.1"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := f.ask(network, c.name, c.kind); got != c.want {
				t.Errorf("%s %s %s: %s, want %s", network, c.name, dns.Type(c.kind), got, c.want)
			}
		}
	}
	for len(asked) > 0 {
		name := <-asked
		for _, private := range []string{"failed.wild.", "db.wild.", "six.wild.", "nope.corp.", "denied.corp."} {
			if strings.HasPrefix(name, private) {
				t.Errorf("%s was asked elsewhere", name)
			}
		}
	}
}

// Nameservers that are silent delay the laptop's answer, and do not replace it.
func TestSilenceElsewhere(t *testing.T) {
	f := start(t, nil)
	f.upstream(upstreamA, func(dns.ResponseWriter, *dns.Msg) {})
	begin := time.Now()
	if got := f.ask("udp", "www.wild.corp.test", dns.TypeA); got != "NXDOMAIN|"+soa || time.Since(begin) > elsewhereTime+2*time.Second {
		t.Errorf("%s after %s", got, time.Since(begin))
	}
}

// Service labels of a resource's name are asked at the laptop. If it has none, the
// nameservers may.
func TestServiceLabels(t *testing.T) {
	f := start(t, nil)
	f.upstream(upstreamA, public)
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"_ldap._tcp.exact.test", dns.TypeSRV, "NOERROR|_ldap._tcp.exact.test. 60 IN SRV 0 0 389 dc.corp.test."},
		{"_x._tcp.exact.test", dns.TypeTXT, `NOERROR|_x._tcp.exact.test. 60 IN TXT "public"`},
		{"_ldap._tcp.other.test", dns.TypeTXT, `NOERROR|_ldap._tcp.other.test. 60 IN TXT "public"`},
		{"_ldap._tcp.exact.test", dns.TypeA, "NOERROR|_ldap._tcp.exact.test. 60 IN A 192.0.2.1"},
		{"www.exact.test", dns.TypeA, "NOERROR|www.exact.test. 60 IN A 192.0.2.1"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := f.ask(network, c.name, c.kind); got != c.want {
				t.Errorf("%s %s %s: %s, want %s", network, c.name, dns.Type(c.kind), got, c.want)
			}
		}
	}
	for len(f.asked) > 0 {
		if r := <-f.asked; r.Target.Host != "_ldap._tcp.exact.test" && r.Target.Host != "_x._tcp.exact.test" {
			t.Errorf("the gateway was asked for %s", r.Target.Host)
		}
	}
}
