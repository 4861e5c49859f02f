package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/gateway"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// startTime bounds how long the remote's helper may take to answer: ssh may ask
// for a password meanwhile, a codespace may have to be started.
const startTime = 3 * time.Minute

func connectCommand(e *env) *cobra.Command {
	var file, exits, secrets, events string
	var sources rpc.Sources
	var bridges []string
	var strict bool
	var resume time.Duration
	cmd := &cobra.Command{
		Use:   "connect --resources FILE -- COMMAND [ARG…]",
		Short: "Connect a remote without an editor: this process is the gateway, COMMAND the link",
		Long: `Connect runs the gateway in this process and COMMAND as the link: COMMAND has to
run "causeway capture --stdio" on the remote. FILE holds an array of resources,
as causeway.resources does in the editor's settings, with comments if you like;
naming it is the approval.

A resource with "exit": "office" is reached by the exit of that name in the file
of --exits, an object such as
  {"office": {"type": "wireguard", "file": "/home/me/office.conf"},
   "jump": {"type": "proxy", "url": "socks5://proxy.corp.example:1080"}}
A WireGuard profile runs in this process, without privileges. A proxy may be
socks5, http or https; PAC files are not supported. What a proxy asks of its users
is in the file of --credentials, which nobody else may read:
  {"socks5://proxy.corp.example:1080": {"user": "me", "password": "…"}}

It prints one line that begins with "connected" when the remote is usable. If
the link is lost, COMMAND is run again, and connections go on where they were.
Ctrl-C disconnects and cleans up. A wrong file ends it with exit code 2 and
every mistake.`,
		Example: `  causeway connect --resources resources.json -- ssh host causeway capture --stdio
  causeway connect --resources resources.json -- docker exec -i box causeway capture --stdio
  causeway connect --resources resources.json -- gh codespace ssh -c NAME -- causeway capture --stdio`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(errors.New(`connect needs a command for the link, as in: -- ssh host causeway capture --stdio`))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if events != "" && events != "json" {
				return usageError(fmt.Errorf("--events takes json, not %q", events))
			}
			if err := errors.Join(sources.Check(), checkBridges(bridges)); err != nil {
				return usageError(err)
			}
			approved, err := readResources(e, file)
			if err != nil {
				return err
			}
			ways, err := readExits(e, exits, approved)
			if err != nil {
				return err
			}
			credentials, err := readCredentials(e, secrets)
			if err != nil {
				return err
			}
			if resume <= 0 || resume > maxResume {
				return usageError(fmt.Errorf("--resume takes a time of at most %v", maxResume))
			}
			c := connection{e: e, log: e.logs.logger("gateway"), json: events == "json", strict: strict, resume: resume, command: args, exits: ways, credentials: credentials, sources: sources, bridges: bridges}
			return c.run(cmd.Context(), approved)
		},
	}
	cmd.Flags().StringVar(&file, "resources", "", "file with the array of resources that the remote may reach")
	cmd.Flags().StringVar(&exits, "exits", "", "file with the exits that resources name by \"exit\"")
	cmd.Flags().StringVar(&secrets, "credentials", "", "file, of mode 0600, with the user and password of each proxy among the exits")
	cmd.Flags().StringVar(&events, "events", "", `"json": print a line of JSON per event on stdout`)
	addSources(cmd, &sources)
	addBridges(cmd, &bridges)
	cmd.Flags().BoolVar(&strict, "strict-proxy", false, "the remote's proxy refuses what is no resource")
	cmd.Flags().DurationVar(&resume, "resume", carrier.DefaultResumeLimit, "how long to try to get a lost link back, at most 3h; connections wait meanwhile")
	_ = cmd.MarkFlagFilename("resources", "json", "jsonc")
	_ = cmd.MarkFlagFilename("exits", "json", "jsonc")
	_ = cmd.MarkFlagFilename("credentials", "json", "jsonc")
	return cmd
}

// readResources reads the file that a user named, which is its approval. What
// is wrong with it is reported, all of it.
func readResources(e *env, file string) ([]resource.Approved, error) {
	if file == "" {
		return nil, usageError(errors.New("name the resources that the remote may reach: --resources FILE"))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError(err)
	}
	list, problems := resource.Parse("", text)
	if err := reportProblems(e, file, problems); err != nil {
		return nil, err
	}
	approved := make([]resource.Approved, len(list))
	for i, r := range list {
		approved[i] = resource.Approved{Resource: r, From: resource.FromFile}
	}
	return approved, nil
}

// connection is one run of connect.
type connection struct {
	e           *env
	log         zerolog.Logger
	json        bool
	strict      bool
	resume      time.Duration                   // how long to try to get a lost link back
	command     []string                        // the link's
	exits       map[string]resource.Exit        // by what the resources name
	peers       dial.Resolver                   // finds those of exits; nil: this machine's
	credentials map[string]resource.Credentials // of proxies, by their URLs
	sources     rpc.Sources
	bridges     []string // of the remote

	last *event // told so far about the remote; nil before it is usable
	lost bool   // told last that there is no link
}

// event is a line of --events=json.
type event struct {
	Event     string          `json:"event"` // "connected", "changed", "reconnecting", "reconnected", "disconnected"
	Reason    string          `json:"reason,omitempty"`
	Proxy     string          `json:"proxy,omitempty"`
	Resources []eventResource `json:"resources,omitempty"`
	Notes     []string        `json:"notes,omitempty"`
}

type eventResource struct {
	Name    string   `json:"name"`
	Served  []string `json:"served"`
	Address string   `json:"address,omitempty"`
	Trouble string   `json:"trouble,omitempty"`
}

func (c *connection) run(ctx context.Context, approved []resource.Approved) error {
	changed := make(chan struct{}, 1)
	touch := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	s, err := newSession(c.log, c.resume, touch)
	if err != nil {
		return err
	}
	gw := gateway.New(gatewayOptions(c.log, gateway.Options{StrictProxy: c.strict, OnChange: touch}))
	exits := exitSet{log: c.e.logs.logger("exit"), names: c.peers}
	defer exits.keep(nil)
	exits.credentials.Store(&c.credentials)
	gw.SetExits(exits.use(c.exits))
	gw.SetApproved(approved)
	serving, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	served := make(chan error, 1)
	go func() { served <- s.serve(serving, gw) }()

	l, err := c.open(ctx, s, false)
	if err == nil {
		err = c.keep(ctx, s, l, func() { c.report(gw.Status(), s.carrier.Link()) }, changed)
	}
	if ctx.Err() != nil {
		err = nil
		stop(errUserDisconnected)
	}
	stop(err)
	if reason := <-served; ctx.Err() == nil {
		switch {
		case err == nil:
			err = reason
		case s.carrier.Err() != nil && reason != nil && !errors.Is(reason, err):
			err = fmt.Errorf("%w (%w)", reason, err)
		}
	}
	if err == nil {
		c.tell(event{Event: "disconnected", Reason: "asked to"})
		return nil
	}
	c.tell(event{Event: "disconnected", Reason: err.Error()})
	return fmt.Errorf("disconnected: %w", err)
}

// keep sees to it that the session has a link until it ends, or ctx: then it
// returns nil, with the last link closed.
func (c *connection) keep(ctx context.Context, s *session, l *execLink, report func(), changed <-chan struct{}) error {
	opened := make(chan *execLink)
	failed := make(chan error)
	trying := false
	var retry <-chan time.Time
	wait := firstRetry
	look := time.NewTicker(time.Second)
	defer look.Stop()
	trial, giveUp := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer giveUp()
	try := func() {
		trying, retry = true, nil
		wg.Go(func() {
			next, err := c.open(trial, s, true)
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
				next.close(true)
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			if l != nil {
				l.close(true)
			}
			return nil
		case <-s.carrier.Done():
			if l != nil {
				return l.close(false)
			}
			return nil
		case <-changed:
			report()
		case <-look.C:
		case next := <-opened:
			trying, wait = false, firstRetry
			if l != nil {
				_ = l.abandon()
			}
			l = next
			report()
		case err := <-failed:
			trying = false
			if remote := (*rpc.Error)(nil); errors.As(err, &remote) && remote.Code == rpc.CodeNoSession {
				return err
			}
			c.log.Warn().Err(err).Dur("retry", wait).Msg("no link yet")
			retry = time.After(wait)
			wait = min(2*wait, lastRetry)
		case <-retry:
			try()
		}
		state := s.carrier.Link()
		if l != nil && state.Kind == "" {
			status := l.abandon()
			l = nil
			if status != nil {
				c.log.Info().Err(status).Msg("the link's command has ended")
			}
		}
		// A link that says nothing may come back, or never: another one is
		// tried beside it, and takes its place if it comes up.
		if (l == nil || state.Stalled) && !trying && retry == nil {
			report()
			try()
		}
	}
}

// report tells of the remote once it has said what it offers, and of the loss of
// its link.
func (c *connection) report(s gateway.Status, link carrier.LinkState) {
	lost := link.Kind == "" && link.Reason != nil
	if c.last != nil && lost != c.lost {
		c.lost = lost
		if lost {
			c.log.Warn().Err(link.Reason).Stringer("atMost", c.resume).Msg("reconnecting")
			c.tell(event{Event: "reconnecting", Reason: link.Reason.Error()})
		} else {
			c.log.Info().Msg("reconnected")
			c.tell(event{Event: "reconnected"})
		}
	}
	if !s.Reported {
		return
	}
	ev := event{Event: "changed", Proxy: s.Proxy, Notes: s.Notes}
	for _, r := range s.Resources {
		ev.Resources = append(ev.Resources, eventResource{r.Resource.Name, r.Served, r.Address, r.Trouble})
	}
	if c.last != nil && reflect.DeepEqual(*c.last, ev) {
		return // only flows have come and gone
	}
	last := ev
	if c.last == nil {
		ev.Event = "connected"
	}
	c.last = &last
	c.tell(ev)
}

// tell prints an event; without --events=json only what a person wants to know.
func (c *connection) tell(ev event) {
	if c.json {
		_ = json.NewEncoder(c.e.stdout).Encode(ev)
		return
	}
	if ev.Event != "connected" {
		return
	}
	what := []string{fmt.Sprintf("%d resources", len(ev.Resources))}
	if ev.Proxy != "" {
		what = append(what, "proxy at "+ev.Proxy)
	}
	_, _ = fmt.Fprintln(c.e.stdout, "connected", strings.Join(what, ", "))
	for _, n := range ev.Notes {
		c.log.Warn().Msg(n)
	}
	for _, r := range ev.Resources {
		if r.Trouble != "" {
			c.log.Warn().Str("resource", r.Name).Msg(r.Trouble)
		}
	}
}
