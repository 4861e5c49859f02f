// Package dialtest has resolvers and networks for the tests of the gateway.
package dialtest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/resource"
)

// Own are addresses of the interfaces of a machine in tests.
var Own = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("198.51.100.1/32"), netip.MustParsePrefix("2001:db8:1::10/64"),
	netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128"),
}

// Interfaces returns Own.
func Interfaces() ([]netip.Prefix, error) { return Own, nil }

// Parse returns the resources of a list in the spelling of the settings.
func Parse(t testing.TB, src string) []resource.Resource {
	t.Helper()
	list, problems := resource.Parse("", []byte(src))
	if len(problems) > 0 {
		t.Fatalf("problems: %+v", problems)
	}
	return list
}

// Names is a Resolver whose n-th answer for a name is the n-th of the list,
// the last one again and again.
type Names struct {
	Mu      sync.Mutex       // of the fields
	Answers map[string][]any // []string of addresses, or an error
	Asked   []string
}

// LookupNetIP implements dial.Resolver.
func (n *Names) LookupNetIP(_ context.Context, name string) ([]netip.Addr, error) {
	n.Mu.Lock()
	defer n.Mu.Unlock()
	n.Asked = append(n.Asked, name)
	list := n.Answers[name]
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	if len(list) > 1 {
		n.Answers[name] = list[1:]
	}
	if err, ok := list[0].(error); ok {
		return nil, err
	}
	var out []netip.Addr
	for _, s := range list[0].([]string) {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, nil
}

// Net answers dials: an error, nil for a connection, or a time after which
// it connects.
type Net struct {
	Mu     sync.Mutex // of the fields
	Hosts  map[string]any
	Dialed []string
	Conns  []net.Conn
}

// Dial is a netx.DialFunc.
func (n *Net) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	n.Mu.Lock()
	n.Dialed = append(n.Dialed, host)
	behaviour, ok := n.Hosts[host]
	n.Mu.Unlock()
	if !ok {
		behaviour = time.Hour
	}
	switch b := behaviour.(type) {
	case error:
		return nil, b
	case time.Duration:
		select {
		case <-time.After(b):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	a, b := net.Pipe()
	n.Mu.Lock()
	defer n.Mu.Unlock()
	n.Conns = append(n.Conns, b)
	return a, nil
}

// Match returns what a target stands for in a list of resources.
func Match(t testing.TB, src, host string, port uint16) resource.Match {
	t.Helper()
	m, err := resource.NewSet(Parse(t, src)).Match(resource.TCP, host, port)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// SysError is the error of a dial that the system refused.
func SysError(e syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connect: %w", e)}
}
