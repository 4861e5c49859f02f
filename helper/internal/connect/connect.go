// Package connect drives a session without an editor: it runs the gateway in this
// process, and a command as the link to the capture on the remote. It reports
// events, and prints nothing.
package connect

import (
	"context"
	"errors"
	"fmt"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"reflect"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/gateway"
	"github.com/causeway-dev/causeway/helper/internal/link"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/session"
	"github.com/causeway-dev/causeway/helper/internal/session/gatewayrole"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
)

// Options of Run. Log, Link, Resume and Tell are required.
type Options struct {
	Log         zerolog.Logger
	Link        link.Command
	Approved    []resource.Approved             // what the remote may reach
	Exits       map[string]resource.Exit        // by what the resources name
	Peers       dial.Resolver                   // finds the addresses of exits; nil: this machine's resolver
	Credentials map[string]resource.Credentials // of proxies, by their URLs
	Strict      bool                            // the remote's proxy refuses what is no resource
	Sources     rpc.Sources
	Bridges     []string      // of the remote
	Users       []string      // of the remote, as owner.CheckUsers takes them
	Resume      time.Duration // how long to try to get a lost link back
	// Tell is told of each event, one at a time. It must not block.
	Tell func(Event)
}

// Event is something that happened to the session.
type Event struct {
	Event     string     `json:"event"` // one of the names below
	Reason    string     `json:"reason,omitempty"`
	Proxy     string     `json:"proxy,omitempty"`
	Resources []Resource `json:"resources,omitempty"`
	Notes     []string   `json:"notes,omitempty"`
}

// Names of events.
const (
	Connected    = "connected" // the first; the remote is usable
	Changed      = "changed"   // Proxy, Resources or Notes
	Reconnecting = "reconnecting"
	Reconnected  = "reconnected"
	Disconnected = "disconnected" // the last
)

// Resource is what the remote offers of a resource.
type Resource struct {
	Name    string   `json:"name"`
	Served  []string `json:"served"`
	Address string   `json:"address,omitempty"`
	Trouble string   `json:"trouble,omitempty"`
}

// connection is one run.
type connection struct {
	Options
	last *Event // told so far about the remote; nil before it is usable
	lost bool   // told last that there is no link
	anew bool   // the session is in place of a lost one, and that was not told yet
}

// anewTime is how long Run tries to start a new session in place of a lost one.
const anewTime = 2 * time.Minute

// noteAnew is the note of the Reconnected event of a new session.
const noteAnew = "The remote's helper has started a new session. Connections that were open are reset."

// Run connects and serves the remote until ctx or the session ends. The end of ctx is
// not an error. If the remote's helper has lost the session, Run starts a new one:
// the remote was restarted, or this machine has slept for longer than Resume.
func Run(ctx context.Context, o Options) error {
	c := &connection{Options: o}
	err := c.run(ctx)
	for c.last != nil && !c.anew && ctx.Err() == nil && isLost(err) {
		c.Log.Warn().Err(err).Msg("the session is lost: its connections are reset, and a new session starts")
		if !c.lost {
			c.lost = true
			c.Tell(Event{Event: Reconnecting, Reason: err.Error()})
		}
		c.anew = true
		err = c.run(ctx)
	}
	if err == nil {
		c.Tell(Event{Event: Disconnected, Reason: "asked to"})
		return nil
	}
	c.Tell(Event{Event: Disconnected, Reason: err.Error()})
	return fmt.Errorf("disconnected: %w", err)
}

var errAway = errors.New("the remote did not come back")

// isLost reports whether err means that the remote's helper does not have the
// session any more, and that nobody has ended it on purpose.
func isLost(err error) bool {
	if e, ok := errors.AsType[*rpc.Error](err); ok && e.Code == rpc.CodeNoSession {
		return true
	}
	closed, ok := errors.AsType[*carrier.ClosedError](err)
	return errors.Is(err, carrier.ErrNoLink) || ok && closed.Reason == session.ErrEnding.Error()
}

// run is one session. It returns nil when ctx ends.
func (c *connection) run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	touch := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	keys, err := session.NewKeys()
	if err != nil {
		return err
	}
	s := carrier.New(carrier.Options{Role: carrier.Gateway, Session: keys.ID, Secret: keys.Secret, Log: c.Log, ResumeLimit: c.Resume, Changed: touch})
	gw := gatewayrole.NewGateway(c.Log, gateway.Options{StrictProxy: c.Strict, OnChange: touch})
	exits := gatewayrole.NewExits(c.Log, c.Peers)
	defer exits.Keep(nil)
	exits.SetCredentials(c.Credentials)
	gw.SetExits(exits.Use(c.Exits))
	gw.SetApproved(c.Approved)
	serving, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	served := make(chan error, 1)
	go func() { served <- session.Serve(serving, s, c.Log, tunnel.Server, gw.Serve) }()

	l, err := c.first(ctx, s, keys)
	if err == nil {
		err = c.keep(ctx, s, keys, l, func() { c.report(gw.Status(), s.Link()) }, changed)
	}
	switch {
	case ctx.Err() != nil:
		err = nil
		stop(session.ErrDisconnected)
	case err != nil:
		stop(err)
	} // else the carrier has ended, and Serve returns why
	if reason := <-served; ctx.Err() == nil {
		switch {
		case err == nil:
			err = reason
		case s.Err() != nil && reason != nil && !errors.Is(reason, err):
			err = fmt.Errorf("%w (%w)", reason, err)
		}
	}
	return err
}

// first opens the first link of a session. In place of a lost session it tries for
// anewTime: the remote may still start, or the network of this machine.
func (c *connection) first(ctx context.Context, s *carrier.Conn, keys session.Keys) (*link.Exec, error) {
	l, err := c.open(ctx, s, keys, false)
	if err == nil || !c.anew {
		return l, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, min(c.Resume, anewTime), errAway)
	defer cancel()
	for backoff := link.Retries(); err != nil; l, err = c.open(ctx, s, keys, false) {
		c.Log.Warn().Err(err).Msg("no link yet")
		if backoff.Wait(ctx) != nil {
			break
		}
	}
	return l, err
}

// open runs the command for a link of the session. Resumed tells the remote that
// it has the session already.
func (c *connection) open(ctx context.Context, s *carrier.Conn, keys session.Keys, resumed bool) (*link.Exec, error) {
	id, secret := keys.Hex()
	return c.Link.Start(ctx, s, rpc.CaptureOpenParams{
		Session: id, Secret: secret, Resumed: resumed, ResumeSeconds: int(c.Resume / time.Second), Sources: c.Sources, Bridges: c.Bridges, Users: c.Users,
	})
}

// keep replaces lost links until the session or ctx ends. Then it closes the last
// link and returns nil.
func (c *connection) keep(ctx context.Context, s *carrier.Conn, keys session.Keys, l *link.Exec, report func(), changed <-chan struct{}) error {
	opened := make(chan *link.Exec)
	failed := make(chan error)
	trying := false
	var retry <-chan time.Time
	backoff := link.Retries()
	look := time.NewTicker(time.Second) // nothing tells that a link has become silent
	defer look.Stop()
	trial, giveUp := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer giveUp()
	try := func() {
		trying, retry = true, nil
		wg.Go(func() {
			next, err := c.open(trial, s, keys, true)
			if err != nil {
				select {
				case failed <- err:
				case <-trial.Done():
				}
				return
			}
			select {
			case opened <- next:
			case <-trial.Done():
				next.Close(true)
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			if l != nil {
				l.Close(true)
			}
			return nil
		case <-s.Done():
			if l != nil {
				return l.Close(false)
			}
			return nil
		case <-changed:
			report()
		case <-look.C:
		case next := <-opened:
			trying = false
			backoff.Reset()
			if l != nil {
				_ = l.Abandon()
			}
			l = next
			report()
		case err := <-failed:
			trying = false
			if remote := (*rpc.Error)(nil); errors.As(err, &remote) && remote.Code == rpc.CodeNoSession {
				return err
			}
			wait := backoff.Next()
			c.Log.Warn().Err(err).Dur("retry", wait).Msg("no link yet")
			retry = time.After(wait)
		case <-retry:
			try()
		}
		state := s.Link()
		if l != nil && state.Kind == "" {
			status := l.Abandon()
			l = nil
			if status != nil {
				c.Log.Info().Err(status).Msg("the link's command has ended")
			}
		}
		// A silent link may recover, or not. keep starts another one beside it, which
		// takes its place if it comes up.
		if (l == nil || state.Silent) && !trying && retry == nil {
			report()
			try()
		}
	}
}

// report reports what the remote offers, when the remote has said it, and the loss
// of the link.
func (c *connection) report(s gateway.Status, link carrier.LinkState) {
	if c.anew && !s.Reported {
		return
	}
	lost := link.Kind == "" && link.Reason != nil
	if c.last != nil && lost != c.lost {
		c.lost = lost
		if lost {
			c.Log.Warn().Err(link.Reason).Stringer("atMost", c.Resume).Msg("reconnecting")
			c.Tell(Event{Event: Reconnecting, Reason: link.Reason.Error()})
		} else {
			ev := Event{Event: Reconnected}
			if c.anew {
				ev.Notes, c.anew = []string{noteAnew}, false
			}
			c.Log.Info().Strs("notes", ev.Notes).Msg("reconnected")
			c.Tell(ev)
		}
	}
	if !s.Reported {
		return
	}
	ev := Event{Event: Changed, Proxy: s.Proxy, Notes: s.Notes}
	for _, r := range s.Resources {
		ev.Resources = append(ev.Resources, Resource{r.Resource.Name, r.Served, r.Address, r.Trouble})
	}
	if c.last != nil && reflect.DeepEqual(*c.last, ev) {
		return // only flows have come and gone
	}
	last := ev
	if c.last == nil {
		ev.Event = Connected
	}
	c.last = &last
	c.Tell(ev)
}
