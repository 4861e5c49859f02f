package systemdns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/miekg/dns"
)

// fromRdata makes a record of a name as text and of data in wire format without
// compressed names.
func fromRdata(name string, kind, class uint16, ttl uint32, rdata []byte) (dns.RR, error) {
	if len(rdata) > math.MaxUint16 {
		return nil, errors.New("a record's data: too long")
	}
	room := make([]byte, 256)
	off, err := dns.PackDomainName(dns.Fqdn(name), room, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("a record's name: %w", err)
	}
	var wire []byte
	wire = append(wire, room[:off]...)
	wire = binary.BigEndian.AppendUint16(wire, kind)
	wire = binary.BigEndian.AppendUint16(wire, class)
	wire = binary.BigEndian.AppendUint32(wire, ttl)
	wire = binary.BigEndian.AppendUint16(wire, uint16(len(rdata)))
	wire = append(wire, rdata...)
	rr, end, err := dns.UnpackRR(wire, 0)
	switch {
	case err != nil:
		return nil, fmt.Errorf("a record's data: %w", err)
	case end != len(wire):
		return nil, errors.New("a record's data: too long")
	}
	return rr, nil
}

// fromTexts makes a record whose data are character strings.
func fromTexts(h dns.RR_Header, list []string) (dns.RR, error) {
	var rdata []byte
	for _, s := range list {
		if len(s) > 255 {
			return nil, errors.New("a record's data: a text is too long")
		}
		rdata = append(append(rdata, byte(len(s))), s...)
	}
	return fromRdata(h.Name, h.Rrtype, h.Class, h.Ttl, rdata)
}
