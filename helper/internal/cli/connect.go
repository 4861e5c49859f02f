package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// startTime bounds how long the remote's helper may take to answer: ssh may ask
// for a password meanwhile, a codespace may have to be started.
const startTime = 3 * time.Minute

func connectCommand(e *env) *cobra.Command {
	var file, events string
	var strict bool
	cmd := &cobra.Command{
		Use:   "connect --resources FILE -- COMMAND [ARG…]",
		Short: "Connect a remote without an editor: this process is the gateway, COMMAND the link",
		Long: `Connect runs the gateway in this process and COMMAND as the link: COMMAND has to
run "causeway capture --stdio" on the remote. FILE holds an array of resources,
as causeway.resources does in the editor's settings, with comments if you like;
naming it is the approval.

It prints one line that begins with "connected" when the remote is usable.
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
			approved, err := readResources(e, file)
			if err != nil {
				return err
			}
			c := connection{e: e, log: e.logs.logger("gateway"), json: events == "json", strict: strict}
			return c.run(cmd.Context(), approved, args)
		},
	}
	cmd.Flags().StringVar(&file, "resources", "", "file with the array of resources that the remote may reach")
	cmd.Flags().StringVar(&events, "events", "", `"json": print a line of JSON per event on stdout`)
	cmd.Flags().BoolVar(&strict, "strict-proxy", false, "the remote's proxy refuses what is no resource")
	_ = cmd.MarkFlagFilename("resources", "json", "jsonc")
	return cmd
}

// readResources reads the file that a user named, which is its approval. What
// is wrong with it is reported, all of it.
func readResources(e *env, file string) ([]gateway.Approved, error) {
	if file == "" {
		return nil, usageError(errors.New("name the resources that the remote may reach: --resources FILE"))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError(err)
	}
	list, problems := resource.Parse("", text)
	for _, p := range problems {
		_, _ = fmt.Fprintf(e.stderr, "%s:%d:%d: %s: %s\n", file, p.Line, p.Column, p.Path, p.Message)
	}
	switch {
	case len(problems) == 1:
		return nil, usageError(fmt.Errorf("1 mistake in %s", file))
	case len(problems) > 1:
		return nil, usageError(fmt.Errorf("%d mistakes in %s", len(problems), file))
	}
	approved := make([]gateway.Approved, len(list))
	for i, r := range list {
		approved[i] = gateway.Approved{Resource: r, From: "file"}
	}
	return approved, nil
}

// connection is one run of connect.
type connection struct {
	e      *env
	log    zerolog.Logger
	json   bool
	strict bool

	last *event // told so far about the remote; nil before it is usable
}

// event is a line of --events=json.
type event struct {
	Event     string          `json:"event"` // "connected", "changed", "disconnected"
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

func (c *connection) run(ctx context.Context, approved []gateway.Approved, args []string) error {
	link := exec.Command(args[0], args[1:]...)
	link.Stderr = c.e.stderr
	in, err := link.StdinPipe()
	if err != nil {
		return err
	}
	out, err := link.StdoutPipe()
	if err != nil {
		return err
	}
	if err := link.Start(); err != nil {
		return fmt.Errorf("start the link: %w", err)
	}
	c.log.Info().Str("link", args[0]).Msg("starting")
	reason := c.bridge(ctx, rpc.NewStdio(out, in), approved)
	// The pipe is closed: the remote cleans up, and the command ends by itself.
	ended := make(chan error, 1)
	go func() { ended <- link.Wait() }()
	var status error
	select {
	case status = <-ended:
	case <-time.After(cleanUpTime):
		_ = link.Process.Kill()
		<-ended
	}
	if ctx.Err() != nil {
		c.tell(event{Event: "disconnected", Reason: "asked to"})
		return nil
	}
	if exit := new(exec.ExitError); errors.As(status, &exit) {
		reason = fmt.Errorf("%w (%s ended with %w)", reason, args[0], exit)
	}
	c.tell(event{Event: "disconnected", Reason: reason.Error()})
	return fmt.Errorf("disconnected: %w", reason)
}

// bridge is the whole session over p. It returns why it ended, and has closed p.
func (c *connection) bridge(ctx context.Context, p rpc.Pipe, approved []gateway.Approved) error {
	starting, cancel := context.WithTimeoutCause(ctx, startTime, errors.New("the remote's helper did not answer"))
	defer cancel()
	conn, info, err := rpc.DialCapture(starting, p, rpc.ClientInfo{Name: "causeway-connect", Version: version}, rpc.CaptureEvents{})
	if err != nil {
		return fmt.Errorf("start the remote's helper: %w", err)
	}
	defer conn.Wait()
	defer func() { _ = conn.Close() }()
	c.log.Info().Str("version", info.Version).Str("os", info.OS).Str("arch", info.Arch).Msg("remote helper")

	s, err := newSession(c.log)
	if err != nil {
		return err
	}
	if err := conn.Call(starting, rpc.MethodSessionOpen, rpc.CaptureOpenParams{Session: s.id(), Secret: s.secret()}, nil); err != nil {
		return fmt.Errorf("open the session: %w", err)
	}
	link, err := conn.OpenLink(starting, "exec")
	if err != nil {
		return fmt.Errorf("open the link: %w", err)
	}
	changed := make(chan struct{}, 1)
	gw := gateway.New(gatewayOptions(c.log, gateway.Options{StrictProxy: c.strict, OnChange: func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}}))
	gw.SetApproved(approved)
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(done)
	wg.Go(func() {
		for {
			select {
			case <-changed:
				c.report(gw.Status())
			case <-done:
				return
			}
		}
	})
	err = s.serve(ctx, link, gw)
	if ctx.Err() != nil {
		// The remote tells when it is clean, or is cut off.
		closing, cancel := context.WithTimeout(context.Background(), cleanUpTime)
		defer cancel()
		_ = conn.Call(closing, rpc.MethodSessionClose, nil, nil)
	}
	return err
}

// report tells of the remote once it has said what it offers.
func (c *connection) report(s gateway.Status) {
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
