package systemdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"unsafe"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// apiRecord is DNS_RECORDA of Windows, which DnsQuery_UTF8 returns as a list. The content
// begins at data. For the types in Windows' union it is a structure with pointers, in
// this machine's byte order. For all other types it is the data of the record itself.
type apiRecord struct {
	next         *apiRecord
	name         *byte // text that ends with 0, as all here
	kind, length uint16
	flags        uint32 // the section in the lowest two bits
	ttl          uint32
	_            uint32
	data         uintptr // or more
}

const (
	sectionAnswer    = 1
	sectionAuthority = 2

	maxAPIRecords = 4096
	maxAPIText    = 64 << 10 // bytes
)

// The structures of the union that are read. Pointers are texts.
type (
	apiName struct{ name *byte }
	apiSOA  struct {
		primary, admin                          *byte
		serial, refresh, retry, expire, minimum uint32
	}
	apiMX struct {
		name          *byte
		preference, _ uint16
	}
	apiSRV struct {
		target                    *byte
		priority, weight, port, _ uint16
	}
	apiTexts struct {
		count uint32
		first *byte
	}
	apiNull struct {
		count uint32
		first byte
	}
)

// apiUnread are the other types of the union. Their structures lose parts of the record
// or depend on the version of Windows.
var apiUnread = map[uint16]bool{
	11: true, dns.TypeMINFO: true, dns.TypeRP: true, dns.TypeSIG: true, dns.TypeKEY: true, dns.TypeNXT: true, 34: true, dns.TypeNAPTR: true,
	dns.TypeOPT: true, dns.TypeDS: true, dns.TypeRRSIG: true, dns.TypeNSEC: true, dns.TypeDNSKEY: true, dns.TypeDHCID: true, dns.TypeNSEC3: true,
	dns.TypeNSEC3PARAM: true, dns.TypeTLSA: true, dns.TypeSVCB: true, dns.TypeTKEY: true, dns.TypeTSIG: true, 0xff01: true, 0xff02: true,
}

// apiAnswer returns the answer to q for the status and the list of the API.
func apiAnswer(q records.Question, status uint32, list *apiRecord) (*dns.Msg, error) {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
	switch status {
	case 0:
	case 9501, 9701: // no records of that type
	case 9001, 9002, 9003, 9004, 9005:
		m.Rcode = int(status - 9000)
	case 9714: // no such name, by what is known here
		m.Rcode = dns.RcodeNameError
	case 1460:
		return nil, context.DeadlineExceeded
	default:
		return nil, fmt.Errorf("DnsQuery: error %d", status)
	}
	for n := 0; list != nil; list, n = list.next, n+1 {
		if n == maxAPIRecords {
			return nil, errors.New("DnsQuery: too many records")
		}
		section := list.flags & 3
		wanted := section == sectionAnswer && (list.kind == q.Type || list.kind == dns.TypeCNAME) ||
			section == sectionAuthority && list.kind == dns.TypeSOA
		if !wanted {
			continue
		}
		rr, err := list.record()
		if err != nil {
			return nil, fmt.Errorf("DnsQuery: %w", err)
		}
		if section == sectionAnswer {
			m.Answer = append(m.Answer, rr)
		} else {
			m.Ns = append(m.Ns, rr)
		}
	}
	return tidy(m, q), nil
}

// record reads one record of a type that is not in apiUnread.
func (r *apiRecord) record() (dns.RR, error) {
	name, err := hostName(r.name)
	if err != nil {
		return nil, err
	}
	h := dns.RR_Header{Name: name, Rrtype: r.kind, Class: dns.ClassINET, Ttl: r.ttl}
	data := unsafe.Pointer(&r.data)
	switch r.kind {
	case dns.TypeA:
		return &dns.A{Hdr: h, A: net.IP(copied(data, net.IPv4len))}, nil
	case dns.TypeAAAA:
		return &dns.AAAA{Hdr: h, AAAA: net.IP(copied(data, net.IPv6len))}, nil
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR, dns.TypeDNAME, dns.TypeMB, dns.TypeMD, dns.TypeMF, dns.TypeMG, dns.TypeMR:
		target, err := hostName((*apiName)(data).name)
		if err != nil {
			return nil, err
		}
		return dns.NewRR(presented(h, target))
	case dns.TypeSOA:
		d := (*apiSOA)(data)
		primary, err := hostName(d.primary)
		admin, err2 := hostName(d.admin)
		return &dns.SOA{Hdr: h, Ns: primary, Mbox: admin, Serial: d.serial, Refresh: d.refresh, Retry: d.retry, Expire: d.expire, Minttl: d.minimum}, errors.Join(err, err2)
	case dns.TypeMX, dns.TypeAFSDB, dns.TypeRT:
		d := (*apiMX)(data)
		target, err := hostName(d.name)
		if err != nil {
			return nil, err
		}
		return dns.NewRR(presented(h, fmt.Sprintf("%d %s", d.preference, target)))
	case dns.TypeSRV:
		d := (*apiSRV)(data)
		target, err := hostName(d.target)
		return &dns.SRV{Hdr: h, Priority: d.priority, Weight: d.weight, Port: d.port, Target: target}, err
	case dns.TypeTXT, dns.TypeHINFO, dns.TypeX25, 20 /* ISDN */ :
		return r.texts(h)
	case dns.TypeNULL:
		d := (*apiNull)(data)
		if d.count > maxAPIText {
			return nil, errors.New("a record is too long")
		}
		return &dns.NULL{Hdr: h, Data: string(copied(unsafe.Pointer(&d.first), int(d.count)))}, nil
	}
	return fromRdata(name, r.kind, dns.ClassINET, r.ttl, copied(data, int(r.length)))
}

// texts reads a record that is a list of character strings.
func (r *apiRecord) texts(h dns.RR_Header) (dns.RR, error) {
	d := (*apiTexts)(unsafe.Pointer(&r.data))
	if d.count > 1024 {
		return nil, errors.New("a record has too many texts")
	}
	var list []string
	for _, at := range unsafe.Slice(&d.first, d.count) {
		text, err := textAt(at)
		if err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return fromTexts(h, list)
}

// presented returns a record of names that is written as in a zone file.
func presented(h dns.RR_Header, data string) string { return h.String() + data }

// hostName reads a name and adds the final dot.
func hostName(at *byte) (string, error) {
	text, err := textAt(at)
	name := dns.Fqdn(text)
	if _, ok := dns.IsDomainName(name); err == nil && (!ok || strings.ContainsAny(name, " \t\r\n\"();")) {
		err = errors.New("not a valid name")
	}
	return name, err
}

func textAt(at *byte) (string, error) {
	if at == nil {
		return "", nil
	}
	for n := range maxAPIText {
		if *(*byte)(unsafe.Add(unsafe.Pointer(at), n)) == 0 {
			return string(copied(unsafe.Pointer(at), n)), nil
		}
	}
	return "", errors.New("a text is too long")
}

func copied(at unsafe.Pointer, n int) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(at), n)...)
}

// apiReads reports whether the API can answer a question. It cannot answer ANY.
func apiReads(kind uint16) bool { return !apiUnread[kind] && kind != dns.TypeANY }
