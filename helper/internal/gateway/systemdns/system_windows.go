package systemdns

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
	"golang.org/x/sys/windows"
)

// system asks DnsQuery of Windows, which knows the hosts file, the cache and the name
// resolution policy table. This file has not been run on Windows: only the code that it
// calls is tested.
type system struct{}

const (
	queryTreatAsFQDN   = 0x1000 // DNS_QUERY_TREAT_AS_FQDN: no search list
	freeRecordListDeep = 1      // DnsFreeRecordList
)

var dnsQuery = windows.NewLazySystemDLL("dnsapi.dll").NewProc("DnsQuery_UTF8")

// underWay has a slot for each call. A call cannot be canceled and may last longer than
// its caller waits.
var underWay = make(chan struct{}, 256)

func (system) query(ctx context.Context, q records.Question) (*dns.Msg, error) {
	if !apiReads(q.Type) {
		return &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Rcode: dns.RcodeNotImplemented}}, nil
	}
	select {
	case underWay <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	type result struct {
		m   *dns.Msg
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-underWay }()
		m, err := queryAPI(q)
		done <- result{m, err}
	}()
	select {
	case r := <-done:
		return r.m, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func queryAPI(q records.Question) (*dns.Msg, error) {
	name, err := windows.BytePtrFromString(dns.Fqdn(q.Name))
	if err != nil {
		return nil, err
	}
	if err := dnsQuery.Find(); err != nil {
		return nil, fmt.Errorf("DnsQuery: %w", err)
	}
	var list *apiRecord
	status, _, _ := dnsQuery.Call(uintptr(unsafe.Pointer(name)), uintptr(q.Type), queryTreatAsFQDN, 0, uintptr(unsafe.Pointer(&list)), 0)
	if list != nil {
		defer windows.DnsRecordListFree((*windows.DNSRecord)(unsafe.Pointer(list)), freeRecordListDeep)
	}
	return apiAnswer(q, uint32(status), list)
}
