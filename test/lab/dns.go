//go:build linux

package lab

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Zone is corp's domain.
const Zone = "corp.test"

// zone has the records of corp's nameserver. The second part has the names that a
// gateway must refuse or survive.
var zone = `
$ORIGIN corp.test.
$TTL 60
@            SOA   dns hostmaster 1 3600 600 86400 5
@            NS    dns
@            MX    10 web
@            TXT   "the private network"
dns          A     10.77.0.53
orders-db    A     10.77.0.10
npm          A     10.77.0.11
web          A     10.77.0.12
web          AAAA  fd77::12
git          A     10.77.0.13
echo         A     10.77.0.14
ntp          A     10.77.0.15
www          CNAME web
_http._tcp   SRV   0 5 80 web
*.apps       A     10.77.0.12
six          AAAA  fd77::12
null         NULL  \# 4 01020304
@            CAA   0 issue "ca.corp.test"
web          HTTPS 1 . alpn="h2" ipv4hint="10.77.0.12" ipv6hint="fd77::12"
_svc         SVCB  1 web port="80" ipv4hint="10.77.0.12"
long         TXT   "` + long + `" "` + long + `" "` + long + `" "` + long + `" "` + long + `" "` + long + `"
12.0.77.10.in-addr.arpa. PTR web

unreachable  A     10.77.8.1       ; its router answers that it has no way there
blackhole    A     10.77.9.1       ; its router drops what goes there
noroute      A     192.0.2.1       ; laptop has no route there
second       A     10.77.8.1       ; only the second address answers
second       A     10.77.0.14
rebind       A     127.0.0.1
rebind6      AAAA  ::1
mapped       AAAA  ::ffff:127.0.0.1
mixed        A     10.77.0.14
mixed        A     127.0.0.1
meta         A     169.254.169.254
zero         A     0.0.0.0
laptop       A     10.77.0.2       ; laptop's own interface
`

// long nearly fills one string of a record.
var long = strings.Repeat("x", 250)

// DNS is corp's nameserver. It serves the zone above, and these names:
//
//	servfail  answers SERVFAIL
//	refused   answers REFUSED
//	silent    never answers
//	malformed answers with bytes that are no message
//	slow      answers echo's address after a second
//	flip      answers echo's address and 127.0.0.1 in turn, with a TTL of 0
type DNS struct {
	mu      sync.Mutex
	records map[string][]dns.RR // by lower-case name with a trailing dot
	asked   map[string]int
	soa     dns.RR
}

// Set replaces the addresses of name, which is relative to Zone. No address
// removes the name.
func (d *DNS) Set(name string, addrs ...string) error {
	full := dns.CanonicalName(name + "." + Zone)
	var rrs []dns.RR
	for _, a := range addrs {
		kind := "A"
		if strings.Contains(a, ":") {
			kind = "AAAA"
		}
		rr, err := dns.NewRR(fmt.Sprintf("%s 0 IN %s %s", full, kind, a))
		if err != nil {
			return fmt.Errorf("set address of %s: %w", name, err)
		}
		rrs = append(rrs, rr)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if rrs == nil {
		delete(d.records, full)
	} else {
		d.records[full] = rrs
	}
	return nil
}

// Asked returns the number of questions for each name. Names are in lower case and
// have a trailing dot.
func (d *DNS) Asked() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.asked)
}

func newDNS(zone, origin string) (*DNS, error) {
	d := &DNS{records: map[string][]dns.RR{}, asked: map[string]int{}}
	p := dns.NewZoneParser(strings.NewReader(zone), origin, "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		name := dns.CanonicalName(rr.Header().Name)
		d.records[name] = append(d.records[name], rr)
		if rr.Header().Rrtype == dns.TypeSOA {
			d.soa = rr
		}
	}
	return d, p.Err()
}

// ServeDNS implements dns.Handler.
func (d *DNS) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	if len(q.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		_ = w.WriteMsg(m)
		return
	}
	name := dns.CanonicalName(q.Question[0].Name)
	d.mu.Lock()
	d.asked[name]++
	turn := d.asked[name]
	d.mu.Unlock()
	special, _, _ := strings.Cut(name, ".")
	switch special {
	case "servfail":
		m.Rcode = dns.RcodeServerFailure
	case "refused":
		m.Rcode = dns.RcodeRefused
	case "silent":
		return
	case "malformed":
		b, _ := m.Pack()
		_, _ = w.Write(append(b, 0xC0, 0xFF, 0, 1)[:len(b)-3])
		return
	case "slow":
		time.Sleep(time.Second)
		m.Answer = address(q.Question[0], echoAddr)
	case "flip":
		m.Answer = address(q.Question[0], []string{echoAddr, "127.0.0.1"}[(turn-1)%2])
	default:
		d.answer(m, name, q.Question[0].Qtype)
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

func (d *DNS) answer(m *dns.Msg, name string, qtype uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	owned := d.lookUp(name)
	if owned == nil {
		m.Rcode = dns.RcodeNameError
		if !dns.IsSubDomain(d.soa.Header().Name, name) {
			m.Rcode = dns.RcodeRefused // another zone
			m.Authoritative = false
			return
		}
	}
	for _, rr := range owned {
		if c, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
			m.Answer = append(m.Answer, c)
			owned = append(slices.Clone(owned), d.lookUp(dns.CanonicalName(c.Target))...)
		}
	}
	for _, rr := range owned {
		if rr.Header().Rrtype == qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{d.soa}
	}
}

// lookUp returns the records of a name, or those of a wildcard above it.
func (d *DNS) lookUp(name string) []dns.RR {
	if rrs := d.records[name]; rrs != nil {
		return rrs
	}
	_, parent, _ := strings.Cut(name, ".")
	var rrs []dns.RR
	for _, rr := range d.records["*."+parent] {
		rr = dns.Copy(rr)
		rr.Header().Name = name
		rrs = append(rrs, rr)
	}
	return rrs
}

func address(q dns.Question, addr string) []dns.RR {
	if q.Qtype != dns.TypeA {
		return nil
	}
	return []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET},
		A:   net.ParseIP(addr),
	}}
}

func (l *Lab) startDNS(context.Context) error {
	corp, err := newDNS(zone, "")
	if err != nil {
		return err
	}
	l.DNS = corp
	if err := l.serveDNS(l.Corp, dnsAddr, corp); err != nil {
		return err
	}
	public, err := newDNS(publicZone, "")
	if err != nil {
		return err
	}
	l.setInfo(func(i *Info) { i.DNS = &DNSInfo{Address: dnsAddr + ":53", Zone: Zone} })
	return l.serveDNS(l.Internet, publicDNS, public)
}

func (l *Lab) serveDNS(h *Host, addr string, handler dns.Handler) error {
	pc, err := h.ListenPacket("udp", addr+":53")
	if err != nil {
		return err
	}
	ln, err := h.Listen("tcp", addr+":53")
	if err != nil {
		pc.Close()
		return err
	}
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: ln, Handler: handler}} {
		done := make(chan error, 1)
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { done <- s.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-done:
			return err
		}
		l.onClose(func() error {
			if err := s.Shutdown(); err != nil {
				return err
			}
			return <-done
		})
	}
	return nil
}
