package systemdns

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"unsafe"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// apiList builds what DnsQuery_UTF8 would return.
type apiList struct {
	first, last *apiRecord
	keep        []any
}

func text(s string) *byte { return &append([]byte(s), 0)[0] }

// add appends a record whose structure, or data, is given. There is room for it
// behind the record, as in the system's memory.
func add[T any](l *apiList, section uint32, name string, kind uint16, data T) {
	r := &struct {
		apiRecord
		room [2048]byte
	}{}
	r.name, r.kind, r.length, r.flags, r.ttl = text(name), kind, uint16(unsafe.Sizeof(data)), section|0x2008, 60
	*(*T)(unsafe.Pointer(&r.data)) = data
	l.keep = append(l.keep, r, &data)
	if l.last == nil {
		l.first = &r.apiRecord
	} else {
		l.last.next = &r.apiRecord
	}
	l.last = &r.apiRecord
}

// raw is data of a type that the union does not name.
func raw(l *apiList, name string, kind uint16, data string) {
	var room [1024]byte
	copy(room[:], data)
	add(l, sectionAnswer, name, kind, room)
	l.last.length = uint16(len(data))
}

// TestAPIRecords is the contract of Windows's way: its structures, as windns.h
// has them, become the records that they were.
func TestAPIRecords(t *testing.T) {
	const name = "x.corp.test"
	type txt struct {
		count uint32
		texts [3]*byte
	}
	type null struct {
		count uint32
		data  [3]byte
	}
	for _, c := range []struct {
		kind uint16
		fill func(*apiList)
		want string
	}{
		{dns.TypeA, func(l *apiList) {
			add(l, sectionAnswer, name, dns.TypeA, [4]byte{10, 0, 0, 1})
			add(l, sectionAnswer, name, dns.TypeA, [4]byte{10, 0, 0, 2})
			add(l, 3, name, dns.TypeA, [4]byte{127, 0, 0, 1})
		}, "NOERROR|10.0.0.1|10.0.0.2"},
		{dns.TypeAAAA, func(l *apiList) { add(l, sectionAnswer, name, dns.TypeAAAA, [16]byte{0: 0xfd, 15: 1}) }, "NOERROR|fd00::1"},
		{dns.TypeA, func(l *apiList) {
			add(l, sectionAnswer, name, dns.TypeCNAME, apiName{text("y.corp.test")})
			add(l, sectionAnswer, "y.corp.test", dns.TypeA, [4]byte{10, 0, 0, 3})
		}, "NOERROR|y.corp.test.|10.0.0.3"},
		{dns.TypeNS, func(l *apiList) { add(l, sectionAnswer, name, dns.TypeNS, apiName{text("dns.corp.test")}) }, "NOERROR|dns.corp.test."},
		{dns.TypePTR, func(l *apiList) { add(l, sectionAnswer, name, dns.TypePTR, apiName{text("web.corp.test.")}) }, "NOERROR|web.corp.test."},
		{dns.TypeSOA, func(l *apiList) {
			add(l, sectionAnswer, name, dns.TypeSOA, apiSOA{text("dns.corp.test"), text("me.corp.test"), 1, 2, 3, 4, 5})
		}, "NOERROR|dns.corp.test. me.corp.test. 1 2 3 4 5"},
		{dns.TypeMX, func(l *apiList) {
			add(l, sectionAnswer, name, dns.TypeMX, apiMX{name: text("mail.corp.test"), preference: 10})
		}, "NOERROR|10 mail.corp.test."},
		{dns.TypeSRV, func(l *apiList) {
			add(l, sectionAnswer, name, dns.TypeSRV, apiSRV{target: text("web.corp.test"), priority: 1, weight: 2, port: 3})
		}, "NOERROR|1 2 3 web.corp.test."},
		{dns.TypeTXT, func(l *apiList) {
			add(l, sectionAnswer, name, dns.TypeTXT, txt{3, [3]*byte{text("one"), text(`"two\`), text("")}})
		}, `NOERROR|"one" "\"two\\" ""`},
		{dns.TypeNULL, func(l *apiList) { add(l, sectionAnswer, name, dns.TypeNULL, null{3, [3]byte{'a', 0, 'b'}}) }, "NOERROR|a\x00b"},
		{dns.TypeCAA, func(l *apiList) { raw(l, name, dns.TypeCAA, "\x00\x05issueca.test") }, `NOERROR|0 issue "ca.test"`},
		{dns.TypeHTTPS, func(l *apiList) { raw(l, name, dns.TypeHTTPS, "\x00\x01\x00\x00\x01\x00\x03\x02h2") }, `NOERROR|1 . alpn="h2"`},
		{65280, func(l *apiList) { raw(l, name, 65280, "\xab\xcd") }, "NOERROR|x.corp.test.\t60\tCLASS1\tTYPE65280\t\\# 2 abcd"},
	} {
		var l apiList
		c.fill(&l)
		m, err := apiAnswer(records.Question{Name: name, Type: c.kind}, 0, l.first)
		if err != nil {
			t.Errorf("%s: %v", dns.Type(c.kind), err)
			continue
		}
		got := told(m)
		if n, ok := m.Answer[0].(*dns.NULL); ok {
			got = "NOERROR|" + n.Data
		}
		if got != c.want || m.Answer[0].Header().Ttl != 60 {
			t.Errorf("%s: %q, want %q", dns.Type(c.kind), got, c.want)
		}
		if _, err := m.Pack(); err != nil {
			t.Errorf("%s: %v", dns.Type(c.kind), err)
		}
		runtime.KeepAlive(l.keep)
	}
}

func TestAPIStatus(t *testing.T) {
	q := records.Question{Name: "x.corp.test", Type: dns.TypeTXT}
	for status, want := range map[uint32]string{
		0: "NOERROR", 9501: "NOERROR", 9003: "NXDOMAIN", 9714: "NXDOMAIN", 9002: "SERVFAIL", 9004: "NOTIMP", 9005: "REFUSED", 9001: "FORMERR",
	} {
		if m, err := apiAnswer(q, status, nil); err != nil || told(m) != want {
			t.Errorf("%d: %v %v, want %s", status, m, err, want)
		}
	}
	if m, err := apiAnswer(q, 1460, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v %v", m, err)
	}
	if m, err := apiAnswer(q, 87, nil); err == nil {
		t.Errorf("%v", m)
	}
	var l apiList
	add(&l, sectionAuthority, "corp.test", dns.TypeSOA, apiSOA{text("dns.corp.test"), text("me.corp.test"), 1, 2, 3, 4, 5})
	if m, err := apiAnswer(q, 9003, l.first); err != nil || len(m.Ns) != 1 || m.Rcode != dns.RcodeNameError {
		t.Errorf("%v %v", m, err)
	}
	for _, kind := range []uint16{dns.TypeANY, dns.TypeSVCB, dns.TypeDNSKEY, dns.TypeNAPTR} {
		if apiReads(kind) {
			t.Errorf("%s is read", dns.Type(kind))
		}
	}
}

// What the system hands over wrongly, or a server made it to, is an error.
func TestAPIMistakes(t *testing.T) {
	q := func(kind uint16) records.Question { return records.Question{Name: "x", Type: kind} }
	for what, fill := range map[string]func(*apiList) uint16{
		"no name": func(l *apiList) uint16 {
			add(l, sectionAnswer, "x", dns.TypeNS, apiName{text("a b")})
			return dns.TypeNS
		},
		"short data":  func(l *apiList) uint16 { raw(l, "x", dns.TypeHTTPS, "\x00"); return dns.TypeHTTPS },
		"a long NULL": func(l *apiList) uint16 { add(l, sectionAnswer, "x", dns.TypeNULL, uint32(1<<31)); return dns.TypeNULL },
		"many texts":  func(l *apiList) uint16 { add(l, sectionAnswer, "x", dns.TypeTXT, uint32(1<<31)); return dns.TypeTXT },
		"a long text": func(l *apiList) uint16 {
			add(l, sectionAnswer, "x", dns.TypeTXT, apiTexts{1, &make([]byte, maxAPIText+1, maxAPIText+2)[0]})
			for i := range maxAPIText {
				*(*byte)(unsafe.Add(unsafe.Pointer((*apiTexts)(unsafe.Pointer(&l.last.data)).first), i)) = 'x'
			}
			return dns.TypeTXT
		},
		"a circle": func(l *apiList) uint16 {
			add(l, sectionAnswer, "x", dns.TypeA, [4]byte{})
			l.last.next = l.first
			return dns.TypeA
		},
	} {
		var l apiList
		kind := fill(&l)
		if m, err := apiAnswer(q(kind), 0, l.first); err == nil {
			t.Errorf("%s: %v", what, m)
		}
		runtime.KeepAlive(l.keep)
	}
}
