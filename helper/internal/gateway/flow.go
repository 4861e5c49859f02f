package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/journal"
	"github.com/causeway-dev/causeway/helper/internal/gateway/judge"
	"github.com/causeway-dev/causeway/helper/internal/gateway/show"
	"github.com/causeway-dev/causeway/helper/internal/gateway/turns"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// flow is a flow that matched a resource, until it ends.
type flow struct {
	st      *tunnel.Stream
	from    *session
	network resource.Network
	match   resource.Match
	stats   *stats
	row     *journal.Flow
	cancel  context.CancelCauseFunc
	udp     *exchange  // guarded by Gateway.mu; nil until datagrams pass
	dialled netip.Addr // guarded by Gateway.mu; zero until the dial has succeeded, or if the exit resolves the name
}

// target returns the target of the request, fit for a log.
func (f *flow) target() string { return targetOf(f.st.Request()) }

func targetOf(r tunnel.Request) string {
	r.Target.Host = show.Text(r.Target.Host)
	return r.Target.String()
}

// serveFlow serves one stream from its request to its end.
func (g *Gateway) serveFlow(ctx context.Context, from *session, st *tunnel.Stream) {
	defer st.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	st.OnEnd(func() { cancel(errGone) })
	req := st.Request()
	switch req.Target.Network {
	case tunnel.Lookup:
		g.serveLookup(ctx, st)
		return
	case tunnel.DNS:
		g.serveDNS(ctx, st)
		return
	}
	f, err := g.admit(from, st, cancel)
	if err != nil {
		g.refuse(st, f, err)
		return
	}
	defer g.end(f)
	if f.network == resource.ICMP {
		g.serveEcho(ctx, f)
		return
	}
	began := time.Now()
	conn, err := g.connect(ctx, f)
	if err != nil {
		if errors.Is(context.Cause(ctx), errLapsed) {
			err = errLapsed
		} else if ctx.Err() != nil {
			f.row.Close(context.Cause(ctx).Error())
			return // the session ends
		} else {
			g.noteFailed(f.match.Resource, err)
		}
		g.refuse(st, f, err)
		return
	}
	g.noteConnected(f, time.Since(began))
	if e := g.log.Debug(); e.Enabled() {
		e.Str("resource", f.match.Resource.Name).Str("target", f.target()).Str("dialled", dialledText(f.dialled)).
			Str("source", req.Origin.Source).
			Str("program", req.Origin.Program).Uint32("pid", req.Origin.PID).Str("user", req.Origin.User).Msg("connected")
	}
	if f.network == resource.UDP {
		err = g.relayDatagrams(ctx, f, conn)
	} else {
		stop := dial.WatchPeer(conn, func() { netx.ResetConn(conn, "the peer does not answer any more") })
		defer stop()
		err = netx.Relay(ctx, &connected{Stream: st}, conn, netx.RelayOptions{AToB: f.countUp(g), BToA: f.countDown(g)})
	}
	if err != nil {
		f.row.Close(err.Error())
		g.log.Debug().Err(err).Str("resource", f.match.Resource.Name).Str("target", f.target()).Msg("flow aborted")
	}
}

// connected is a stream that sends its answer before the target's first bytes. The
// remote's first bytes reach the target without waiting for that answer: the links may
// be down just then, and servers wait only seconds for a client's first bytes.
type connected struct {
	*tunnel.Stream
	replied bool
}

// WaitWritable sends the answer. A relay calls it before it writes to the stream.
func (c *connected) WaitWritable() (int, error) {
	if !c.replied {
		if err := c.Reply(tunnel.Connected, ""); err != nil {
			return 0, err
		}
		c.replied = true
	}
	return c.Stream.WaitWritable()
}

func dialledText(a netip.Addr) string {
	if !a.IsValid() {
		return "by name"
	}
	return a.String()
}

func (f *flow) countUp(g *Gateway) netx.Counter {
	return func(n int) { g.up.Add(uint64(n)); f.stats.up.Add(uint64(n)); f.row.Up(n) }
}

func (f *flow) countDown(g *Gateway) netx.Counter {
	return func(n int) { g.down.Add(uint64(n)); f.stats.down.Add(uint64(n)); f.row.Down(n) }
}

// admit matches a request against the approved set and registers the flow, in one step,
// so that SetApproved misses none. If it returns an error, the flow is not registered
// and is nil unless a resource matched.
func (g *Gateway) admit(from *session, st *tunnel.Stream, cancel context.CancelCauseFunc) (*flow, error) {
	f := &flow{st: st, from: from, cancel: cancel, network: resource.TCP}
	t := st.Request().Target
	switch t.Network {
	case tunnel.UDP:
		f.network = resource.UDP
	case tunnel.Echo:
		f.network = resource.ICMP
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m, err := g.set.Match(f.network, t.Host, t.Port)
	if err != nil {
		return nil, &tunnel.Error{Code: tunnel.Denied, Reason: err.Error()}
	}
	f.match, f.stats = m, g.stats[m.Resource.Name]
	if program := st.Request().Origin.Program; !m.Resource.Admits(program) {
		return f, &tunnel.Error{Code: tunnel.Denied, Reason: notAdmitted(m.Resource, program)}
	}
	own := int(f.stats.flows.Load())
	if g.full(own) && f.network == resource.UDP {
		g.makeRoom(m.Resource.Name)
		own = int(f.stats.flows.Load())
	}
	if g.full(own) {
		return f, &tunnel.Error{Code: tunnel.Overloaded, Reason: fmt.Sprintf("%d connections are open already, %d of them to this resource", len(g.flows), own)}
	}
	f.stats.flows.Add(1)
	f.row = g.journal.Begin(st.Request(), m.Resource.Name)
	g.flows[f] = struct{}{}
	return f, nil
}

// notAdmitted returns the reason why a resource refuses a program.
func notAdmitted(r resource.Resource, program string) string {
	of := "which program asks is not known"
	if program != "" {
		of = fmt.Sprintf("%q asks", show.Text(program))
	}
	return fmt.Sprintf("resource %q is limited to %s, and %s", r.Name, strings.Join(r.Programs, ", "), of)
}

// full reports whether a resource with so many flows must not have another. The caller
// holds g.mu.
func (g *Gateway) full(own int) bool { return own >= flowPart*(g.o.MaxFlows-len(g.flows)) }

func (g *Gateway) end(f *flow) {
	f.row.Close("")
	g.mu.Lock()
	g.forget(f)
	g.mu.Unlock()
	g.o.OnChange()
}

// forget takes a flow out of the count. The caller holds g.mu.
func (g *Gateway) forget(f *flow) {
	if _, counted := g.flows[f]; counted {
		delete(g.flows, f)
		f.stats.flows.Add(-1)
	}
}

// stillAllowed reports whether the approved set of now allows a flow that an earlier
// set allowed. The caller holds g.mu.
func (g *Gateway) stillAllowed(f *flow, around judge.Surroundings) bool {
	t := f.st.Request().Target
	m, err := g.set.Match(f.network, t.Host, t.Port)
	if err != nil || m.Name != f.match.Name || m.Addr != f.match.Addr || m.Port != f.match.Port ||
		!m.Resource.Admits(f.st.Request().Origin.Program) {
		return false
	}
	if !f.dialled.IsValid() {
		// The flow is still being resolved or dialled, or the exit resolves its name.
		// Without an address to judge, only the same resource still allows it.
		return m.Resource.Equal(f.match.Resource)
	}
	return judge.Refusal(m, f.dialled, around) == ""
}

// connect waits for a turn and dials.
func (g *Gateway) connect(ctx context.Context, f *flow) (net.Conn, error) {
	release, err := g.turnOfFlow(ctx, f)
	if err != nil {
		return nil, err
	}
	defer release()
	g.o.OnChange()
	to, err := g.dialer.Open(ctx, f.network, f.match, f.reached)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	f.dialled = to.Addr
	g.mu.Unlock()
	if ctx.Err() != nil {
		netx.ResetConn(to.Conn, "no longer wanted")
		return nil, context.Cause(ctx)
	}
	f.row.Connect(to.Addr)
	return to.Conn, nil
}

// reached records a step of the dial.
func (f *flow) reached(s dial.Stage) {
	switch s {
	case dial.Resolved:
		f.row.Reach(journal.LookedUp)
	case dial.Allowed:
		f.row.Reach(journal.Judged)
	}
}

// turnOf returns whose turn a request to a resource waits for. A program that tries many
// dead addresses keeps only itself waiting. If the program is not known, the target's
// host stands for it.
func turnOf(resource string, r tunnel.Request) turns.Key {
	caller := r.Origin.Program
	if caller == "" {
		caller = "\x00" + r.Target.Host
	}
	return turns.Key{Resource: resource, Caller: caller}
}

// turn waits until key may have one more dial or look-up under way. The caller calls
// release if err is nil.
func turn(ctx context.Context, among *turns.Turns, key turns.Key) (release func(), err error) {
	release, err = among.Wait(ctx, key)
	if errors.Is(err, turns.ErrBusy) {
		return nil, &tunnel.Error{Code: tunnel.Overloaded, Reason: "too many connections are being opened at once"}
	}
	return release, err
}

// refuse answers a flow that has failed, and reports the failure in the log and the
// status. f is nil if no resource matched.
func (g *Gateway) refuse(st *tunnel.Stream, f *flow, err error) {
	e := dial.Error(err)
	name := ""
	if f != nil {
		name = f.match.Resource.Name
		f.stats.fail(time.Now(), e)
		if f.row != nil {
			f.row.Fail(e)
		}
	}
	g.refused(st.Request(), name, e)
	if e.Code == tunnel.Reset {
		// The target accepted the connection first. A direct connection would show that.
		_ = st.Reply(tunnel.Connected, "")
		st.Reset(e.Reason)
	} else {
		_ = st.Reply(e.Code, e.Reason)
	}
	g.o.OnChange()
}

// refused reports a failure in the log and to watchers. The name is that of the resource,
// "" if there is none.
func (g *Gateway) refused(r tunnel.Request, name string, e *tunnel.Error) {
	g.refusals.add(r, name, e)
	g.journal.Refuse(r, name, e)
}

// serveLookup answers with the allowed addresses of a resource's name.
func (g *Gateway) serveLookup(ctx context.Context, st *tunnel.Stream) {
	began := time.Now()
	addrs, name, err := g.lookup(ctx, st.Request().Target.Host)
	g.recordLookup(st.Request(), began, name, addrs, err)
	if err != nil {
		e := dial.Error(err)
		if r, ok := g.named(name); ok && (e.Code == tunnel.NoSuchName || e.Code == tunnel.ResolveFailed) {
			g.noteFailed(r, e)
		}
		g.refused(st.Request(), name, e)
		_ = st.Reply(e.Code, e.Reason)
		return
	}
	var list []string
	size := 0
	for _, a := range addrs {
		s := a.String()
		if size += len(s) + 1; size > tunnel.MaxReason {
			break
		}
		list = append(list, s)
	}
	_ = st.Reply(tunnel.Connected, strings.Join(list, ","))
}

func (g *Gateway) lookup(ctx context.Context, host string) (allowed []netip.Addr, name string, err error) {
	g.mu.Lock()
	set := g.set
	g.mu.Unlock()
	matches, err := set.Named(host)
	denied := func(format string, args ...any) error {
		return &tunnel.Error{Code: tunnel.Denied, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case err != nil:
		return nil, "", denied("%v", err)
	case len(matches) == 0:
		return nil, "", denied("no approved resource names %s", show.Text(host))
	case matches[0].Name == "" && matches[0].Resource.As == "":
		return nil, "", denied("%s is an address, not a name", matches[0].Addr)
	case matches[0].Resource.Host.IsLocalhost():
		return nil, matches[0].Resource.Name, denied("%s is this machine, which has no address that the remote could use", show.Text(host))
	}
	first := matches[0]
	release, err := turn(ctx, g.dials, turns.Key{Resource: first.Resource.Name})
	if err != nil {
		return nil, first.Resource.Name, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, g.dialer.Timeout())
	defer cancel()
	addrs, err := g.dialer.Resolve(ctx, first)
	if err != nil {
		return nil, first.Resource.Name, err
	}
	allowed, err = g.allowed(matches, addrs)
	return allowed, first.Resource.Name, err
}

// allowed returns the addresses of a name that the judge allows for any of the resources
// that cover the name. matches is the result of Named, at least one; addrs are the
// addresses of its first. The error says why no address is allowed.
func (g *Gateway) allowed(matches []resource.Match, addrs []netip.Addr) ([]netip.Addr, error) {
	var out []netip.Addr
	var why string
	for _, m := range matches {
		if m.Name != matches[0].Name || m.Addr != matches[0].Addr {
			continue
		}
		v, err := g.dialer.Judge(m, addrs)
		if err != nil {
			return nil, err
		}
		out = append(out, v.Allowed...)
		why = v.Reason()
	}
	if len(out) == 0 {
		return nil, &tunnel.Error{Code: tunnel.Denied, Reason: why}
	}
	return unique(out), nil
}

func unique(addrs []netip.Addr) []netip.Addr {
	seen := map[netip.Addr]bool{}
	out := addrs[:0]
	for _, a := range addrs {
		if !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out
}
