package hostnet

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/held"
)

// request has one of these fields. Requests and answers are JSON, one per line.
type request struct {
	// Hosts replaces our block of the hosts file, if no other field is set.
	Hosts []Entry `json:"hosts"`
	// Resolver makes the stub resolver at that address the nameserver; the zero
	// address removes the stub resolver.
	Resolver *netip.Addr `json:"resolver,omitempty"`
	// Listen opens a port below 1024 and passes the socket to the caller.
	Listen *endpoint `json:"listen,omitempty"`
	// Tun makes a TUN device, at most once, and passes its descriptor to the caller.
	Tun bool `json:"tun,omitempty"`
	// Routes replaces the routes to that device.
	Routes *[]netip.Prefix `json:"routes,omitempty"`
	// Bridge makes this host answer for the addresses of names behind that bridge,
	// at most once.
	Bridge string `json:"bridge,omitempty"`
	// Watch opens the packet socket that shows SYNs to held ports, and passes it on.
	Watch bool `json:"watch,omitempty"`
	// Refuse refuses one of these SYNs, or a datagram.
	Refuse *held.Refusal `json:"refuse,omitempty"`
}

type endpoint struct {
	UDP bool           `json:"udp,omitempty"`
	At  netip.AddrPort `json:"at"`
	// Device is the only bridge from which the port is reachable; "" for loopback.
	Device string `json:"device,omitempty"`
}

type answer struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`

	Device *Device       `json:"device,omitempty"` // to Tun
	Routes []RouteReport `json:"routes,omitempty"` // to Routes
	Names  *netip.Prefix `json:"names,omitempty"`  // to Bridge: their addresses
	// Overruled has, to Hosts, the names to which other lines of the file give
	// addresses, at most maxOverruled.
	Overruled []string `json:"overruled,omitempty"`
}

// Options of Serve.
type Options struct {
	// HostsPath is the file to edit; "" means DefaultPath. A command that can run as
	// root must not take the path from its caller.
	HostsPath string
	// ResolvPath is the resolver configuration; "" means DefaultResolvPath. RunDir
	// is the folder of running programs; "" means /run.
	ResolvPath, RunDir string
	// Poll is the time between two looks at the files, in addition to the kernel's
	// reports of changes. 0 means 10 s, or 1 s if the kernel reports nothing.
	Poll time.Duration
}

// Serve is the privileged subcommand. It removes the remains of processes that have
// ended, and answers the requests on stdin. If another program rewrites a file,
// Serve puts our part back. When stdin ends or SIGTERM arrives, it removes our part.
// It changes the process's handling of signals. If it returns because of a signal,
// it leaves a goroutine that reads stdin behind.
func Serve(stdin io.Reader, stdout io.Writer, o Options) (err error) {
	outlive()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	defer signal.Stop(stop)
	id, err := identity()
	if err != nil {
		return err
	}
	o.HostsPath = cmp.Or(o.HostsPath, DefaultPath)
	o.ResolvPath = cmp.Or(o.ResolvPath, DefaultResolvPath)
	o.RunDir = cmp.Or(o.RunDir, "/run")
	w := watchFiles(o.HostsPath, o.ResolvPath)
	defer w.close()
	if o.Poll == 0 && w.events() != nil {
		o.Poll = 10 * time.Second
	}
	o.Poll = cmp.Or(o.Poll, time.Second)
	c := newChanges(o, id)
	c.hostsError = Cleanup(o.HostsPath)
	c.resolvError = CleanupResolv(o.ResolvPath, o.RunDir)
	sweepRanges()
	defer func() { err = errors.Join(err, c.undo()) }()
	return c.serve(stdin, stdout, stop, w.events(), o.Poll)
}

func (c *changes) serve(stdin io.Reader, stdout io.Writer, stop <-chan os.Signal, changed <-chan struct{}, poll time.Duration) error {
	quit := make(chan struct{})
	defer close(quit)
	lines := readLines(stdin, quit)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	out := json.NewEncoder(stdout)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return nil
			}
			reply := answer{OK: true}
			if err := c.handle(line, stdin, &reply); err != nil {
				reply = answer{Error: err.Error()}
			}
			if err := out.Encode(reply); err != nil {
				return nil // nobody reads: the caller is gone
			}
		case <-changed:
			c.restore()
		case <-tick.C:
			c.restore()
		case <-stop:
			return nil
		}
	}
}

// readLines sends each line until stdin ends or a line is longer than a
// request may be.
func readLines(stdin io.Reader, quit <-chan struct{}) <-chan []byte {
	lines := make(chan []byte)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(stdin)
		s.Buffer(make([]byte, 0, 4096), maxRequest)
		for s.Scan() {
			select {
			case lines <- append([]byte(nil), s.Bytes()...):
			case <-quit:
				return
			}
		}
	}()
	return lines
}

func (c *changes) handle(line []byte, caller io.Reader, reply *answer) (err error) {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	switch {
	case r.Listen != nil:
		check := func() error { return checkListen(r.Listen.At) }
		if r.Listen.Device != "" {
			check = func() error { return c.bridge.checkListen(*r.Listen) }
		}
		if err := check(); err != nil {
			return fmt.Errorf("check request: %w", err)
		}
		return passSocket(caller, *r.Listen)
	case r.Bridge != "":
		if err := c.bridge.begin(r.Bridge); err != nil {
			return err
		}
		reply.Names = &c.bridge.names
		return nil
	case r.Watch:
		return c.refuser.passWatch(caller)
	case r.Refuse != nil:
		return c.refuser.refuse(*r.Refuse)
	case r.Tun:
		if c.tun.device != nil {
			return errors.New("there is a device already")
		}
		reply.Device, err = passDevice(caller)
		c.tun = tunnel{device: reply.Device, routes: make(map[netip.Prefix]bool)}
		return err
	case r.Routes != nil:
		reply.Routes, err = c.tun.setRoutes(*r.Routes, survey, changeRoute)
		return err
	case r.Resolver != nil:
		if r.Resolver.IsValid() && !isLoopback(*r.Resolver) {
			return fmt.Errorf("check request: %s is not in %s", *r.Resolver, loopback)
		}
		if c.resolvError != nil {
			return c.resolvError
		}
		before := c.stub
		c.stub = *r.Resolver
		err = c.resolv.write()
		if err != nil {
			c.stub = before
		}
		return err
	}
	if err := check(r.Hosts); err != nil {
		return fmt.Errorf("check request: %w", err)
	}
	if c.hostsError != nil {
		return c.hostsError
	}
	c.entries = r.Hosts
	if err := c.hosts.write(); err != nil {
		return err
	}
	if content, err := os.ReadFile(c.hosts.path); err == nil {
		_, names := overruled(content, c.entries)
		reply.Overruled = names[:min(len(names), maxOverruled)]
	}
	return nil
}
