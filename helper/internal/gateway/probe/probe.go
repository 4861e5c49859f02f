// Package probe tests whether a resource can be reached, step by step, and says what
// stands in the way.
package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/show"
	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// Step is one step of a test: "approval", "resolve", "judge", "connect", "tls" or "ping".
type Step struct {
	Name   string
	OK     bool
	Detail string
	Hint   string // a common cause, or the next action
	Took   time.Duration
}

// Prober tests resources. All fields are required.
type Prober struct {
	Dialer *dial.Dialer
	// Named returns the approved resource of that name.
	Named func(name string) (resource.Resource, bool)
	// Turn waits until a resource may have one more dial under way. The caller calls
	// release if err is nil.
	Turn func(ctx context.Context, resource string) (release func(), err error)
}

// Test tries to reach an approved resource as a flow would, and returns each step up to
// the first that failed. port is one that the remote uses; 0 means the first. Test dials
// only what a flow may dial.
func (p Prober) Test(ctx context.Context, name string, port uint16) []Step {
	t := &tester{Prober: p}
	t.run(ctx, name, port)
	return t.steps
}

type tester struct {
	Prober
	gentle  bool  // see Check
	err     error // of the step that failed
	steps   []Step
	started time.Time
}

// done adds a step. Its time is that since the step before.
func (t *tester) done(name string, ok bool, hint, format string, args ...any) {
	now := time.Now()
	t.steps = append(t.steps, Step{Name: name, OK: ok, Hint: hint, Detail: fmt.Sprintf(format, args...), Took: now.Sub(t.started)})
	t.started = now
}

func (t *tester) run(ctx context.Context, name string, port uint16) {
	t.started = time.Now()
	m, network, ok := t.approval(name, port)
	if !ok {
		return
	}
	release, err := t.Turn(ctx, name)
	if err != nil {
		t.err = err
		t.done("resolve", false, "Try again in a moment.", "%v", err)
		return
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, t.Dialer.Timeout())
	defer cancel()
	t.started = time.Now()
	if m.ByExit() {
		t.done("resolve", true, "", "the exit resolves %s, so its address is not judged", m.Name)
		to, err := t.Dialer.OpenByName(ctx, network, m)
		t.connected(ctx, m, network, to, err)
		return
	}
	addrs, err := t.Dialer.Resolve(ctx, m)
	if err != nil {
		t.err = err
		t.done("resolve", false, resolveHint(err), "%v", err)
		return
	}
	if m.Name != "" {
		t.done("resolve", true, t.portalHint(ctx, m, addrs), "%s is %s", m.Name, joined(addrs))
	}
	v, err := t.Dialer.Judge(m, addrs)
	if err != nil || len(v.Allowed) == 0 {
		t.err = cmp.Or[error](err, &tunnel.Error{Code: tunnel.Denied, Reason: v.Reason()})
		t.done("judge", false, judgeHint(m), "%s", cmp.Or(v.Reason(), fmt.Sprint(err)))
		return
	}
	t.done("judge", true, "", "allowed: %s", joined(v.Allowed))
	if network == resource.ICMP && t.gentle {
		t.done("ping", false, "", "pings are not tested by themselves")
		return
	}
	if network == resource.ICMP {
		if _, at, err := t.Dialer.Ping(ctx, m, v.Allowed, make([]byte, 56)); err != nil {
			t.done("ping", false, t.connectHint(dial.Error(err), v.Allowed), "%v", err)
		} else {
			t.done("ping", true, "", "%s answers", at)
		}
		return
	}
	to, err := t.Dialer.Race(ctx, string(network), m, v.Allowed)
	t.connected(ctx, m, network, to, err, v.Allowed...)
}

// connected reports the result of a dial of addrs, and tests TLS.
func (t *tester) connected(ctx context.Context, m resource.Match, network resource.Network, to dial.Connection, err error, addrs ...netip.Addr) {
	if err != nil {
		t.err = err
		t.done("connect", false, t.connectHint(dial.Error(err), addrs), "port %d: %v", m.Port, err)
		return
	}
	defer to.Close()
	where := m.Name
	if to.Addr.IsValid() {
		where = to.Addr.String()
	}
	where = net.JoinHostPort(where, strconv.Itoa(int(m.Port)))
	if network == resource.UDP {
		t.done("connect", !t.gentle, "", "UDP to %s: there is a route; UDP does not tell whether a service answers", where)
		return
	}
	t.done("connect", true, "", "connected to %s", where)
	if speaksTLS(m.Port) && !t.gentle {
		t.tls(ctx, to, m)
	}
}

// approval finds the target of the test.
func (t *tester) approval(name string, port uint16) (m resource.Match, n resource.Network, ok bool) {
	r, ok := t.Named(name)
	if !ok {
		t.done("approval", false, "Approve it first.", "no approved resource is called %q", show.Text(name))
		return m, n, false
	}
	n = r.Protocols[len(r.Protocols)-1]
	if slices.Contains(r.Protocols, resource.TCP) {
		n = resource.TCP
	}
	if port == 0 && n != resource.ICMP {
		port, _ = r.Ports[0].Remote()
	}
	host := r.RemoteHost()
	if host != r.RemoteName() && r.Host.Kind != nethost.Address {
		t.done("approval", true, "", "approved")
		t.done("resolve", false, "Test one of these hosts by using it from the remote, through the proxy.", "%s stands for many hosts", host)
		return m, n, false
	}
	// The set has this resource only: a more specific one must not match instead.
	m, err := resource.NewSet([]resource.Resource{r}).Match(n, host, port)
	if err != nil {
		t.done("approval", false, "Add the port to the resource.", "%v", err)
		return m, n, false
	}
	if n == resource.ICMP {
		t.done("approval", true, "", "approved: pings of %s", host)
	} else {
		t.done("approval", true, "", "approved: %s port %d", host, port)
	}
	return m, n, true
}

func joined(addrs []netip.Addr) string {
	var out []string
	for _, a := range addrs[:min(len(addrs), 8)] {
		out = append(out, a.WithZone("").String())
	}
	if len(addrs) > 8 {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

func resolveHint(err error) string {
	e, ok := errors.AsType[*tunnel.Error](err)
	switch {
	case ok && e.Code == tunnel.NoSuchName:
		return "Check the spelling. A private name resolves only while the VPN to its network is connected."
	case ok && e.Code == tunnel.ResolveFailed:
		return "The DNS server does not answer or refuses. If the VPN was connected or disconnected a moment ago, try again. Otherwise check the VPN."
	}
	return ""
}

func judgeHint(m resource.Match) string {
	if len(m.Resource.Addresses) > 0 {
		return "The name has another address than the resource says. If the VPN is down, a public DNS server may have answered. Otherwise update \"addresses\"."
	}
	return "If this is meant, list that very address in the resource's \"addresses\", or make a resource of localhost and give it the name by \"as\"."
}

// probeName is reserved never to exist (RFC 6761).
const probeName = "causeway-test.invalid"

// portalHint finds out whether the resolver answers for names that do not exist.
func (t *tester) portalHint(ctx context.Context, m resource.Match, addrs []netip.Addr) string {
	way, err := t.Dialer.Exit(m.Resource)
	if err != nil || t.gentle || m.Resource.Host.IsLocalhost() {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	lies, err := way.LookupNetIP(ctx, probeName)
	if err != nil || !slices.ContainsFunc(lies, func(a netip.Addr) bool { return slices.Contains(addrs, a) }) {
		return ""
	}
	return "The DNS server returns this address for names that do not exist, too. It may be a captive portal or a provider's search page. Open a browser and sign in, or connect the VPN."
}

func (t *tester) connectHint(e *tunnel.Error, addrs []netip.Addr) string {
	around, _ := t.Dialer.Surroundings()
	onLink := slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return slices.ContainsFunc(around.Own, func(p netip.Prefix) bool { return p.Bits() > 0 && p.Masked().Contains(a) })
	})
	private := slices.ContainsFunc(addrs, netip.Addr.IsPrivate)
	switch {
	case len(addrs) == 0:
		return "The exit resolves this name and connects to it. This machine knows only the exit's answer."
	case e.Code == tunnel.HostUnreachable && onLink && localNetworkHint != "":
		return localNetworkHint
	case e.Code == tunnel.Refused:
		return "The host answers that nothing listens on this port. Check the port, and whether the service runs."
	case e.Code == tunnel.HostUnreachable && onLink:
		return "The address is in a network of this machine, but no host answers at it."
	case (e.Code == tunnel.NetUnreachable || e.Code == tunnel.HostUnreachable) && private:
		return "There is no route to this private address: is the VPN connected?"
	case e.Code == tunnel.NetUnreachable || e.Code == tunnel.HostUnreachable:
		return "There is no route to this address: is this machine online?"
	case e.Code == tunnel.TimedOut && private:
		return "Nothing answers: is the VPN connected, and does it lead to this network? A firewall may also drop the attempt."
	case e.Code == tunnel.TimedOut:
		return "Nothing answers: a firewall drops the attempt, or the host is down."
	}
	return "A firewall or security program on this machine may forbid the connection."
}
