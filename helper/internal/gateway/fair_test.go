package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
)

// Whatever hangs in one resource, the next connection to another one is made at
// once.
func TestDeadAddressesStarveNobody(t *testing.T) {
	port := serve(t, echo)
	n := &dialtest.Net{} // never answers
	r := newRig(t, Options{Dial: dial.Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "10.") {
			return n.Dial(ctx, network, address)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}, Timeout: time.Minute}}, `[{"host": "10.0.0.0/8", "ports": ["1-65535"]}, `+loopbackAs("db.test", port)+`]`)
	for i := range 1200 { // more than the rate lets begin at once
		r.open(tunnel.TCP, "10.0.0.1", uint16(i+1), "")
	}
	r.wait("the dials", func(Status) bool { return r.g.dials.InUse() >= 144 })
	for range 20 {
		began := time.Now()
		if code, reason := r.code(tunnel.TCP, "db.test", port); code != tunnel.Connected {
			t.Fatalf("%v %s", code, reason)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("a connection took %s", took)
		}
	}
}

// A program that tries dead addresses of a network starves no other program's connection
// to a live host of the same network.
func TestDeadAddressesOfTheSameResource(t *testing.T) {
	port := serve(t, echo)
	n := &dialtest.Net{}
	r := newRig(t, Options{Dial: dial.Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if !strings.HasPrefix(address, "10.0.0.9:") {
			return n.Dial(ctx, network, address)
		}
		return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
	}, Timeout: time.Minute}}, `[{"host": "10.0.0.0/8", "ports": ["1-65535"]}]`)
	open := func(program, host string, port uint16) *tunnel.Stream {
		t.Helper()
		st, err := r.capture.Open(t.Context(), tunnel.Request{
			Target: tunnel.Target{Network: tunnel.TCP, Host: host, Port: port}, Origin: tunnel.Origin{Program: program}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		return st
	}
	for i := range 1200 {
		open("nmap", fmt.Sprintf("10.1.%d.%d", i/200, i%200+1), 80)
	}
	r.wait("the dials", func(Status) bool { return r.g.dials.InUse() >= 144 })
	for range 20 {
		began := time.Now()
		if _, err := open("psql", "10.0.0.9", 5432).Answer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("a connection took %s", took)
		}
	}
}

func TestOneResourceLeavesFlowsToOthers(t *testing.T) {
	port := serve(t, echo)
	n := &dialtest.Net{}
	r := newRig(t, Options{Dial: dial.Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "10.") {
			return n.Dial(ctx, network, address)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}, Timeout: time.Minute}, MaxFlows: 80}, `[{"host": "10.0.0.0/8", "ports": ["1-65535"]}, `+loopbackAs("db.test", port)+`]`)
	for i := range 80 {
		r.open(tunnel.TCP, "10.0.0.1", uint16(i+1), "")
	}
	r.wait("the flows", func(s Status) bool { return s.Flows == 70 })
	if code, reason := r.code(tunnel.TCP, "db.test", port); code != tunnel.Connected {
		t.Errorf("%v %s", code, reason)
	}
	if code, _ := r.code(tunnel.TCP, "10.0.0.1", 99); code != tunnel.Overloaded {
		t.Errorf("beyond its share: %v", code)
	}
}

// hangingRecords answers for one name, and for no other until the question's time is
// up.
type hangingRecords struct{ answers string }

func (h hangingRecords) Query(ctx context.Context, q records.Question) (*dns.Msg, error) {
	if q.Name != h.answers {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	m := new(dns.Msg)
	m.Answer = []dns.RR{records.Address(q.Name, netip.MustParseAddr("10.0.0.1"), 60)}
	return m, nil
}

func TestNamesThatHangStarveNobody(t *testing.T) {
	r := newRig(t, Options{Dial: dial.Options{Records: hangingRecords{"db.test"}, Timeout: time.Minute}}, `[
		{"host": "*.slow.test", "ports": [80]}, {"host": "db.test", "ports": [80]}]`)
	for i := range 600 {
		r.open(tunnel.DNS, fmt.Sprintf("h%d.slow.test", i), dns.TypeA, "")
	}
	r.wait("the questions", func(Status) bool { return r.g.dns.turns.InUse() >= maxQuestions*9/16 })
	began := time.Now()
	if code, reason := r.code(tunnel.DNS, "db.test", dns.TypeA); code != tunnel.Connected {
		t.Errorf("%v %s", code, reason)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("an answer took %s", took)
	}
}

func TestPingsThatHangStarveNobody(t *testing.T) {
	r := newRig(t, Options{Dial: dial.Options{Ping: func(ctx context.Context, to netip.Addr, data []byte) ([]byte, error) {
		if to == netip.MustParseAddr("11.0.0.1") {
			return data, nil
		}
		<-ctx.Done()
		return nil, errors.New("silent")
	}}}, `[{"host": "10.0.0.0/8", "protocols": ["icmp"]}, {"host": "11.0.0.1", "protocols": ["icmp"]}]`)
	for range 2 * maxEchoes {
		_ = r.open(tunnel.Echo, "10.0.0.1", 0, "data").CloseWrite()
	}
	r.wait("the pings", func(Status) bool { return r.g.echoes.InUse() >= maxEchoes*9/16 })
	st := r.open(tunnel.Echo, "11.0.0.1", 0, "data")
	_ = st.CloseWrite()
	if _, err := st.Answer(t.Context()); err != nil {
		t.Error(err)
	}
}
