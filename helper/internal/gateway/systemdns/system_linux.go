package systemdns

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/miekg/dns"
)

// system reads the hosts file and then asks the servers of resolv.conf. It follows the
// options timeout, attempts, rotate and use-vc. No search list applies.
type system struct {
	path string        // of resolv.conf; "" means the system's
	port string        // of all servers; "" means 53
	turn atomic.Uint32 // the first server of the next question, with "options rotate"
}

func (s *system) query(ctx context.Context, q records.Question) (*dns.Msg, error) {
	listed := hostsAnswer(ctx, q)
	if listed != nil && len(listed.Answer) > 0 {
		return listed, nil
	}
	if listed != nil && (q.Type == dns.TypeA || q.Type == dns.TypeAAAA) {
		return listed, nil // getaddrinfo asks no server then
	}
	m, err := s.ask(ctx, q)
	if err == nil && listed != nil && m.Rcode == dns.RcodeNameError {
		return listed, nil // the name exists in the hosts file
	}
	return m, err
}

// ask asks the servers of resolv.conf.
func (s *system) ask(ctx context.Context, q records.Question) (*dns.Msg, error) {
	c, useTCP, rotate, err := readConfig(cmp.Or(s.path, "/etc/resolv.conf"))
	if err != nil {
		return nil, err
	}
	first := 0
	if rotate {
		first = int(s.turn.Add(1))
	}
	servers := Servers{Timeout: time.Duration(max(1, c.Timeout)) * time.Second, Attempts: c.Attempts, UseTCP: useTCP}
	for i := range c.Servers {
		servers.At = append(servers.At, net.JoinHostPort(c.Servers[(first+i)%len(c.Servers)], cmp.Or(s.port, c.Port)))
	}
	return servers.Query(ctx, q)
}

// maxServers is how many servers the C library asks.
const maxServers = 3

func readConfig(path string) (c *dns.ClientConfig, useTCP, rotate bool, err error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, false, false, fmt.Errorf("read resolver configuration: %w", err)
	}
	if c, err = dns.ClientConfigFromReader(bytes.NewReader(b)); err != nil {
		return nil, false, false, fmt.Errorf("read resolver configuration: %w", err)
	}
	c.Servers = c.Servers[:min(len(c.Servers), maxServers)]
	if len(c.Servers) == 0 {
		c.Servers = []string{"127.0.0.1"} // resolv.conf(5)
	}
	// The DNS library does not read these options.
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == "options" {
			useTCP = useTCP || slices.Contains(f, "use-vc")
			rotate = rotate || slices.Contains(f, "rotate")
		}
	}
	return c, useTCP, rotate, nil
}

// hostsAnswer returns nil if the hosts file does not have the name.
func hostsAnswer(ctx context.Context, q records.Question) *dns.Msg {
	if a, ok := records.Reverse(q.Name); ok {
		if q.Type != dns.TypePTR {
			return nil
		}
		names, err := hostsFile.LookupAddr(ctx, a.String())
		if err != nil {
			return nil
		}
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
		for _, name := range names {
			m.Answer = append(m.Answer, &dns.PTR{Hdr: unknown(q), Ptr: dns.Fqdn(name)})
		}
		return m
	}
	addrs, err := Listed(ctx, q.Name)
	if err != nil {
		return nil
	}
	return addressAnswer(q, addrs)
}
