// Package doctor checks what a machine offers the two roles, and says what to do
// where it falls short. It changes nothing.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/capture/run"
	"github.com/causeway-dev/causeway/helper/internal/gateway/exit"
	"github.com/causeway-dev/causeway/helper/internal/privileged"
	"github.com/causeway-dev/causeway/helper/internal/resource"
)

// Check is one line of the report.
type Check struct {
	Side   string `json:"side"` // "gateway" or "capture"
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// Gateway checks this machine for the gateway.
func Gateway(ctx context.Context) []Check {
	return []Check{checkConfigDir(), checkResolver(ctx)}
}

func checkConfigDir() Check {
	c := Check{Side: "gateway", Name: "approvals"}
	dir, err := os.UserConfigDir()
	if err != nil {
		c.Detail, c.Hint = err.Error(), "Set HOME (or XDG_CONFIG_HOME): Causeway keeps your approvals there."
		return c
	}
	dir = filepath.Join(dir, "causeway")
	switch info, err := os.Stat(dir); {
	case errors.Is(err, os.ErrNotExist):
		c.OK, c.Detail = true, dir+" does not exist yet: the first approval makes it"
	case err != nil:
		c.Detail, c.Hint = err.Error(), "Make the folder readable for you only."
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		c.Detail, c.Hint = fmt.Sprintf("%s is open to others (mode %o)", dir, info.Mode().Perm()), "chmod 700 "+dir
	default:
		c.OK, c.Detail = true, dir
	}
	return c
}

// Exit checks the settings and files of an exit. It does not connect.
func Exit(name string, e resource.Exit) Check {
	c := Check{Side: "gateway", Name: "exit " + name}
	limits, err := exit.Check(e)
	if err != nil {
		c.Detail, c.Hint = fmt.Sprintf("%s: %v", e, err), "Until this is repaired, the exit reaches nothing, or nothing by name."
		return c
	}
	c.OK, c.Detail, c.Hint = true, e.String(), strings.Join(limits, "; ")
	return c
}

func checkResolver(ctx context.Context) Check {
	c := Check{Side: "gateway", Name: "name resolution"}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	start := time.Now()
	_, err := net.DefaultResolver.LookupHost(ctx, "causeway-doctor.invalid")
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		c.OK, c.Detail = true, fmt.Sprintf("the system's resolver answers in %s", time.Since(start).Round(time.Millisecond))
	case err == nil:
		c.Detail = "a name that cannot exist has an address"
		c.Hint = "A captive portal or a provider's search page answers for unknown names. Sign in, or use another DNS server."
	default:
		c.Detail = "the system's resolver does not answer: " + err.Error()
		c.Hint = "Private names will not resolve. Check the VPN client and /etc/resolv.conf."
	}
	return c
}

// Capture checks this machine for the capture.
func Capture(ctx context.Context) []Check {
	return []Check{checkLoopback(ctx), checkHosts(ctx), checkResolvConf(ctx), checkLowPorts(ctx), checkTun(ctx), checkRun(ctx, run.Try), checkOwner(ctx)}
}

func checkLoopback(ctx context.Context) Check {
	c := Check{Side: "capture", Name: "loopback addresses"}
	ln, err := net.Listen("tcp", "127.64.0.1:0")
	if err != nil {
		c.Detail = "cannot listen on 127.64.0.1: " + err.Error()
		c.Hint = "Names get ports on 127.0.0.1 instead. The view lists them. The proxy works as usual."
		return c
	}
	defer func() { _ = ln.Close() }()
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		c.Detail = "nothing can connect to this machine itself: " + err.Error()
		c.Hint = "The loopback interface may be down. As root, run: ip link set lo up"
		return c
	}
	_ = conn.Close()
	c.OK, c.Detail = true, "each name can have an address of its own out of 127.0.0.0/8"
	return c
}

// containerUser says how the user of a container gets these rights.
const containerUser = ` In a container, "remoteUser": "root" in devcontainer.json does it.`

// readOnlyHint is for files that root cannot change either.
const readOnlyHint = "The file is read-only, for root too. Use the proxy, or start the container without --read-only."

func isReadOnly(err error) bool {
	return strings.Contains(err.Error(), "read-only file system") // it can come as text, from the privileged child
}

func checkHosts(ctx context.Context) Check {
	c := Check{Side: "capture", Name: "hosts file"}
	h, err := privileged.Start(ctx, hostnet.Start)
	if err == nil {
		err = h.Close()
	}
	if err != nil {
		c.Detail = err.Error()
		c.Hint = "Run as root, allow sudo without a password, or use the proxy, which needs neither." + containerUser
		if isReadOnly(err) {
			c.Hint = readOnlyHint
		}
		return c
	}
	c.OK, c.Detail = true, "private names can be put into the hosts file"
	return c
}

// checkResolvConf reports whether the stub resolver can work. If another program
// manages the file, the check passes: exact names work without.
func checkResolvConf(ctx context.Context) Check {
	c := Check{Side: "capture", Name: "stub resolver"}
	h, err := privileged.Start(ctx, hostnet.StartResolver)
	if err == nil {
		err = errors.Join(canListen(ctx, h), h.Close())
	}
	switch {
	case err == nil:
		c.OK, c.Detail = true, "names of domains and every type of record can be served"
	case errors.Is(err, hostnet.ErrManaged):
		c.OK, c.Detail = true, err.Error()
		c.Hint = "The hosts file serves exact names. Only the proxy serves names of domains."
	default:
		c.Detail = err.Error()
		c.Hint = "Only the proxy serves names of domains. Run as root, or allow sudo without a password." + containerUser
		if isReadOnly(err) {
			c.Hint = readOnlyHint
		}
	}
	return c
}

// canListen tries port 53 as the stub resolver does.
func canListen(ctx context.Context, h *hostnet.Host) error {
	pc, err := net.ListenPacket("udp4", "127.64.0.1:53")
	if errors.Is(err, os.ErrPermission) {
		pc, err = h.ListenUDP(ctx, netip.MustParseAddrPort("127.64.0.1:53"))
	}
	if err != nil {
		return err
	}
	return pc.Close()
}

func checkLowPorts(ctx context.Context) Check {
	c := Check{Side: "capture", Name: "ports below 1024"}
	for _, port := range []uint16{443, 389, 636, 80} {
		ln, err := listenLow(ctx, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 64, 0, 1}), port))
		if err == nil {
			_ = ln.Close()
			c.OK, c.Detail = true, "can be listened on"
			return c
		}
		c.Detail = err.Error()
	}
	c.Hint = `Map such a port in the settings, as in "8443:443", or reach it through the proxy.`
	return c
}

// listenLow listens as the capture does.
func listenLow(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	ln, err := net.Listen("tcp4", at.String())
	if !errors.Is(err, os.ErrPermission) {
		return ln, err
	}
	h, herr := privileged.Start(ctx, hostnet.Start)
	if herr != nil {
		return nil, err
	}
	defer func() { _ = h.Close() }()
	return h.ListenTCP(ctx, at)
}

// checkTun reports whether programs reach addresses without the proxy. If not, the
// check passes all the same.
func checkTun(ctx context.Context) Check {
	c := Check{Side: "capture", Name: "TUN device", OK: true}
	d, err := privileged.StartTun(ctx)
	if err != nil {
		c.Detail = err.Error()
		c.Hint = "Addresses and networks are reached under \"causeway run\" and through the proxy. In a container, " +
			`"runArgs": ["--cap-add=NET_ADMIN", "--device=/dev/net/tun"] in devcontainer.json gives any program the way.`
		return c
	}
	if err := errors.Join(d.File.Close(), d.Host.Close()); err != nil {
		c.OK, c.Detail = false, err.Error()
		return c
	}
	c.Detail = "any program can reach addresses and networks that are resources"
	return c
}

// checkRun runs a command as causeway run does.
func checkRun(ctx context.Context, try func(context.Context) error) Check {
	c := Check{Side: "capture", Name: "causeway run", OK: true}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := try(ctx); err != nil {
		c.OK, c.Detail = errors.Is(err, run.ErrUnsupported), err.Error()
		c.Hint = "Without a TUN device, only the proxy reaches addresses and networks."
		return c
	}
	c.Detail = "a command and its children can reach addresses and networks, without any privilege"
	return c
}

func checkOwner(ctx context.Context) Check {
	c := Check{Side: "capture", Name: "who connects"}
	err := func() error {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer func() { _ = ln.Close() }()
		client, err := new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		defer func() { _ = client.Close() }()
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		checker := owner.New(os.Geteuid())
		defer func() { _ = checker.Close() }()
		_, err = checker.Check(conn)
		return err
	}()
	if err != nil {
		c.Detail = "the kernel does not tell who connects: " + err.Error()
		c.Hint = "The capture cannot tell your connections from those of other users, and refuses all of them."
		return c
	}
	c.OK, c.Detail = true, "the kernel tells who connects"
	return c
}
