package exit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/systemdns"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
	"github.com/rs/zerolog"
	"golang.zx2c4.com/wireguard/device"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// Limits of an exit that comes up.
const (
	handshakeLimit = 8 * time.Second  // for the first handshake of a peer
	startLimit     = 20 * time.Second // for look-ups and the handshake together
	// retryPause is how long callers get the result of a failed handshake instead of
	// a handshake of their own.
	retryPause = 2 * time.Second
)

// Limits of a device that is up.
const (
	idleLimit    = 5 * time.Minute   // without use, after which the device goes down
	silenceLimit = 135 * time.Second // since the last handshake; a peer that is up renews it every 120 s
	lookPeriod   = 10 * time.Second  // how often the watch checks both
)

// wireGuard is an exit by a profile run in user space. It comes up at the first
// use, and goes down when nothing has used it for a while.
type wireGuard struct {
	file   string
	system System
	log    zerolog.Logger

	idle, silence, look time.Duration // the limits above

	families systemdns.Families

	tasks sync.WaitGroup // attempts and watches

	mu        sync.Mutex            // held only for a moment, never while the exit waits for something
	up        *running              // nil while the exit is down
	starting  *attempt              // nil unless one is under way
	endpoints map[string]netip.Addr // last found of the peers whose endpoint is a name, by public key
	closed    bool
	users     int // connections and questions that use the exit
	unused    time.Time

	silent      error // result of the last failed handshake
	silentUntil time.Time
}

// running is an exit that is up: a peer has completed a handshake.
type running struct {
	dev     *device.Device
	stack   *userStack
	profile *profile
	unwatch context.CancelFunc
}

func newWireGuard(file string, system System, log zerolog.Logger) *wireGuard {
	return &wireGuard{file: file, system: system, log: log, idle: idleLimit, silence: silenceLimit, look: lookPeriod}
}

// Dial implements Exit.
func (w *wireGuard) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	up, release, err := w.use(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := w.whilePeer(ctx, up, to.Addr())
	if err != nil {
		release()
		return nil, err
	}
	defer cancel()
	c, err := up.stack.DialContext(ctx, network, address)
	if err != nil {
		release()
		if silent, ok := errors.AsType[*tunnel.Error](context.Cause(ctx)); ok {
			return nil, silent
		}
		return nil, w.told(up, stackError(err))
	}
	switch c := c.(type) {
	case *gonet.TCPConn:
		return tcpConn{c, release}, nil
	case *gonet.UDPConn:
		return udpConn{c, release}, nil
	}
	release()
	_ = c.Close()
	return nil, fmt.Errorf("dial %s: no such network", network)
}

// tcpConn and udpConn keep the exit up until they are closed.
type tcpConn struct {
	*gonet.TCPConn
	release func()
}

// Close implements net.Conn.
func (c tcpConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}

type udpConn struct {
	*gonet.UDPConn
	release func()
}

// Close implements net.Conn.
func (c udpConn) Close() error {
	defer c.release()
	return c.UDPConn.Close()
}

// told replaces a timeout by another answer if the peer itself has been silent.
func (w *wireGuard) told(up *running, err error) error {
	timeout, isNet := errors.AsType[net.Error](err)
	answer, isAnswer := errors.AsType[*tunnel.Error](err)
	timedOut := isNet && timeout.Timeout() || isAnswer && answer.Code == tunnel.TimedOut
	if !timedOut {
		return err
	}
	peers, stateErr := peerStates(up.dev)
	last := lastHandshake(peers)
	if silence := time.Since(last); stateErr == nil && !last.IsZero() && silence > w.silence {
		return &tunnel.Error{Code: tunnel.TimedOut, Reason: fmt.Sprintf("no WireGuard peer has answered for %s", silence.Round(time.Second))}
	}
	return err
}

// stackError returns the answer to a flow for an error of the network stack. gonet keeps
// only the text of the error.
func stackError(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	for text, code := range map[string]tunnel.Code{
		(&tcpip.ErrConnectionRefused{}).String():  tunnel.Refused,
		(&tcpip.ErrHostUnreachable{}).String():    tunnel.HostUnreachable,
		(&tcpip.ErrNetworkUnreachable{}).String(): tunnel.NetUnreachable,
		(&tcpip.ErrTimeout{}).String():            tunnel.TimedOut,
	} {
		if op.Err.Error() == text {
			return &tunnel.Error{Code: code, Reason: text + ", through the WireGuard tunnel"}
		}
	}
	return err
}

// LookupNetIP implements Exit.
func (w *wireGuard) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	return systemdns.Addresses(ctx, w, &w.families, name)
}

// LookupIPv6 finds the IPv6 addresses of a name, which LookupNetIP does not always
// wait for.
func (w *wireGuard) LookupIPv6(ctx context.Context, name string) ([]netip.Addr, error) {
	return systemdns.IPv6Addresses(ctx, w, name)
}

// Query implements Exit. It asks the DNS servers of the profile that the tunnel leads to.
func (w *wireGuard) Query(ctx context.Context, q records.Question) (*dns.Msg, error) {
	up, release, err := w.use(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	at, beyond := up.profile.nameServers()
	if len(at) == 0 {
		why := "it has no DNS"
		if len(beyond) > 0 {
			why = strings.Join(beyond, "; ")
		}
		return nil, &tunnel.Error{Code: tunnel.ResolveFailed, Reason: fmt.Sprintf("WireGuard profile %s: %s", w.file, why)}
	}
	servers := systemdns.Servers{Dial: up.stack.DialContext}
	for _, a := range at {
		servers.At = append(servers.At, netip.AddrPortFrom(a, 53).String())
	}
	return servers.Query(ctx, q)
}

// resolve looks up the endpoints that are names with the machine's resolver. It keeps the
// address found before if that is still among the answers.
func (w *wireGuard) resolve(ctx context.Context, p *profile, before map[string]netip.Addr) (map[string]netip.Addr, error) {
	out := map[string]netip.Addr{}
	for _, peer := range p.peers {
		if peer.host == "" {
			continue
		}
		if _, err := netip.ParseAddr(peer.host); err == nil {
			continue
		}
		addrs, err := w.system.LookupNetIP(ctx, peer.host)
		if err == nil && len(addrs) == 0 {
			err = errors.New("it has no address")
		}
		if err != nil {
			return nil, fmt.Errorf("endpoint of line %d: %w", peer.line, err)
		}
		out[peer.public] = addrs[0].Unmap()
		if a := before[peer.public]; slices.Contains(addrs, a) {
			out[peer.public] = a
		}
	}
	return out, nil
}

// endpoint returns the endpoint of a peer: the address of the profile, or the one found.
func (p wgPeer) endpoint(found map[string]netip.Addr) netip.AddrPort {
	a, err := netip.ParseAddr(p.host)
	if err != nil {
		a = found[p.public]
	}
	return netip.AddrPortFrom(a.Unmap(), p.port)
}

// uapi returns a profile in the syntax of WireGuard's configuration protocol.
func uapi(p *profile, found map[string]netip.Addr) string {
	var b strings.Builder
	fmt.Fprintf(&b, "private_key=%s\nlisten_port=%d\nreplace_peers=true\n", p.private, p.port)
	for _, peer := range p.peers {
		fmt.Fprintf(&b, "public_key=%s\n", peer.public)
		if peer.shared != "" {
			fmt.Fprintf(&b, "preshared_key=%s\n", peer.shared)
		}
		if peer.host != "" {
			fmt.Fprintf(&b, "endpoint=%s\n", peer.endpoint(found))
			// A keep-alive makes the device begin a handshake before the first packet.
			if peer.keepalive == 0 {
				peer.keepalive = 25
			}
		}
		fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", peer.keepalive)
		for _, a := range peer.allowed {
			fmt.Fprintf(&b, "allowed_ip=%s\n", a)
		}
	}
	return b.String()
}
