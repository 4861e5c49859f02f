package names

import (
	"errors"
	"io"
	"net/netip"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/held"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// loopback is the index of lo, in every namespace.
const loopback = 1

var errNotHeld = errors.New("ports are not held here")

// watcher is what holds ports, as long as that is possible.
type watcher struct {
	*held.Watcher
	by  Hosts // who shows SYNs to it
	err error // why by does not
}

// hold holds the port at for e: a connection to it waits for the gateway's
// answer. It fails with errNotHeld where that takes a right that nobody has. The
// caller holds s.mu.
func (s *Source) hold(at netip.AddrPort, e endpoint) (io.Closer, error) {
	if s.o.CheckConnecting == nil || s.o.Place != nil || s.hosts.editor == nil {
		return nil, errNotHeld
	}
	if s.watchLoopback(); s.watcher.err != nil {
		return nil, errNotHeld
	}
	return s.watcher.Hold(at, func(a *held.Attempt) { s.attempt(a, e) })
}

// watchLoopback has the present privileged child show SYNs. The caller holds s.mu.
func (s *Source) watchLoopback() {
	if s.watcher.by == s.hosts.editor {
		return
	}
	s.watcher.by, s.watcher.err = s.hosts.editor, nil
	file, err := s.hosts.editor.Watch(s.setup)
	if err != nil {
		s.watcher.err = err
		s.o.Log.Info().Err(err).Msg("connections to names are accepted before the gateway has connected")
		return
	}
	if s.watcher.Watcher == nil {
		s.watcher.Watcher = held.NewWatcher(s.refuse)
	}
	s.watcher.Watch(file)
}

// stopped tells whether nobody shows SYNs to the held port l any more: a program
// would wait for nothing. It goes on with the next privileged child, if there is
// one. The caller holds s.mu.
func (s *Source) stopped(l *listener) bool {
	if !l.held {
		return false
	}
	if s.hosts.editor == nil || s.hosts.died() {
		return true
	}
	s.watchLoopback()
	return s.watcher.err != nil
}

// cannotHold tells whether a right is missing to hold ports.
func (s *Source) cannotHold() bool { return s.watcher.err != nil }

// refuse has the privileged child tell a program.
func (s *Source) refuse(r held.Refusal) error {
	s.mu.Lock()
	editor := s.hosts.editor
	s.mu.Unlock()
	if editor == nil {
		return errors.New("refuse a connection: the privileged child has ended")
	}
	return editor.Refuse(s.ctx, r)
}

// attempt carries a connection that a program asks for, from its SYN to its end.
func (s *Source) attempt(a *held.Attempt, e endpoint) {
	target := tunnel.Target{Network: tunnel.TCP, Host: e.host, Port: e.port}
	g := s.o.Gateway
	who, err := s.o.CheckConnecting(a.Client, a.Server, loopback)
	if err != nil {
		g.Stranger(target, err)
		s.refuseFor(a, err)
		return
	}
	st, err := g.Dial(a.Context(), g.Request("names", target, who))
	if err != nil {
		g.Failed(target, err)
		s.refuseFor(a, err)
		return
	}
	c, err := a.Complete()
	if err != nil {
		g.Failed(target, err)
		st.Reset("the program did not wait")
		_ = st.Close()
		return
	}
	s.wg.Go(func() { g.Relay(s.ctx, c, st, target) })
}

// refuseFor shows a program err as a network does.
func (s *Source) refuseFor(a *held.Attempt, err error) {
	why := shown(err)
	if why != "" && s.ctx.Err() != nil {
		why = held.Refused // names are going away
	}
	if why == "" {
		return
	}
	if err := a.Refuse(why); err != nil {
		s.o.Log.Debug().Err(err).Msg("a program is not told of a refusal")
	}
}

// RefuseUDP shows err to the program that has sent a datagram from client to at, both
// of loopback. Without NET_RAW the program hears nothing.
func (s *Source) RefuseUDP(client, at netip.AddrPort, err error) {
	why := shown(err)
	if why == "" || s.o.Place != nil || s.ctx.Err() != nil {
		return
	}
	if err := s.refuse(held.Refusal{UDP: true, Client: client, Server: at, Why: why}); err != nil {
		s.o.Log.Debug().Err(err).Msg("a program is not told of a refusal")
	}
}

// shown is what a network shows for err. A time-out is silence, in which the program
// tries again: "".
func shown(err error) held.Reason {
	switch flow.Code(err) {
	case tunnel.Refused, tunnel.Reset:
		return held.Refused
	case tunnel.Denied:
		return held.Prohibited
	case tunnel.NetUnreachable:
		return held.NetworkUnreach
	case tunnel.TimedOut, tunnel.Overloaded:
		return ""
	}
	return held.HostUnreach
}

// closeWatcher lets every port go. The caller does not hold s.mu.
func (s *Source) closeWatcher() {
	if s.watcher.Watcher != nil {
		_ = s.watcher.Close()
	}
}
