package exit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// handshakeLimit is how long a peer may take to answer the first handshake.
const handshakeLimit = 8 * time.Second

// retryPause is how long a peer that has not answered is taken for silent.
const retryPause = 2 * time.Second

// wireGuard is an exit by a profile run in user space. It comes up at the first
// use.
type wireGuard struct {
	file string
	log  zerolog.Logger

	mu     sync.Mutex
	dev    *device.Device // nil while it is down
	net    *netstack.Net
	hasDNS bool
	spoken bool // a peer has completed a handshake
	closed bool

	silent      error // what the last wait for an answer ended with
	silentUntil time.Time
}

// up brings the exit up and waits until a peer has answered.
func (w *wireGuard) up(ctx context.Context) (*netstack.Net, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, net.ErrClosed
	}
	// Whoever waited for this wait too must not begin another.
	if time.Now().Before(w.silentUntil) {
		return nil, w.silent
	}
	if w.dev == nil {
		if err := w.start(ctx); err != nil {
			return nil, &tunnel.Error{Code: tunnel.Failed, Reason: fmt.Sprintf("WireGuard profile %s: %v", w.file, err)}
		}
	}
	if !w.spoken {
		if err := w.await(ctx); err != nil {
			if ctx.Err() == nil {
				w.silent, w.silentUntil = err, time.Now().Add(retryPause)
			}
			w.stop() // resolves the endpoints anew next time
			return nil, err
		}
		w.spoken = true
	}
	return w.net, nil
}

func (w *wireGuard) start(ctx context.Context) error {
	text, err := os.ReadFile(w.file)
	if err != nil {
		return err
	}
	p, err := parseProfile(text)
	if err != nil {
		return err
	}
	config, err := uapi(ctx, p)
	if err != nil {
		return err
	}
	t, stack, err := netstack.CreateNetTUN(p.addresses, p.dns, p.mtu)
	if err != nil {
		return err
	}
	if len(p.ignored) > 0 {
		w.log.Warn().Strs("keys", p.ignored).Str("file", w.file).Msg("WireGuard profile: keys without meaning here")
	}
	dev := device.NewDevice(t, conn.NewDefaultBind(), &device.Logger{
		Verbosef: func(string, ...any) {},
		Errorf: func(format string, args ...any) {
			w.log.Debug().Str("file", w.file).Msgf("wireguard: "+format, args...)
		},
	})
	if err := errors.Join(dev.IpcSet(config), dev.Up()); err != nil {
		dev.Close()
		return err
	}
	w.dev, w.net, w.hasDNS = dev, stack, len(p.dns) > 0
	return nil
}

// await waits for the answer to a handshake, which a keep-alive of one's own
// makes the device begin.
func (w *wireGuard) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	for {
		state, err := w.dev.IpcGet()
		if err != nil {
			return err
		}
		for line := range strings.SplitSeq(state, "\n") {
			if s, ok := strings.CutPrefix(line, "last_handshake_time_sec="); ok && s != "0" {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return &tunnel.Error{Code: tunnel.TimedOut, Reason: "no WireGuard peer answers the handshake: a wrong key, a wrong endpoint, or a peer that is down"}
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (w *wireGuard) stop() {
	if w.dev != nil {
		w.dev.Close()
	}
	w.dev, w.net, w.spoken = nil, nil, false
}

// Close implements Exit.
func (w *wireGuard) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.stop()
	return nil
}

// Dial implements Exit.
func (w *wireGuard) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	stack, err := w.up(ctx)
	if err != nil {
		return nil, err
	}
	c, err := stack.DialContext(ctx, network, address)
	if err != nil {
		return nil, stackError(err)
	}
	return c, nil
}

// stackError tells the errors of the network stack apart, of which only the
// texts are left.
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

// LookupNetIP implements Exit. The profile's DNS servers are asked, through the
// tunnel.
func (w *wireGuard) LookupNetIP(ctx context.Context, name string) ([]netip.Addr, error) {
	stack, err := w.up(ctx)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	hasDNS := w.hasDNS
	w.mu.Unlock()
	if !hasDNS {
		return nil, &tunnel.Error{Code: tunnel.ResolveFailed, Reason: fmt.Sprintf("WireGuard profile %s has no DNS", w.file)}
	}
	found, err := stack.LookupContextHost(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, s := range found {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, a)
		}
	}
	return out, nil
}

// uapi is a profile in the words of WireGuard's configuration protocol, with
// its endpoints resolved by the machine.
func uapi(ctx context.Context, p *profile) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "private_key=%s\nlisten_port=%d\nreplace_peers=true\n", p.private, p.port)
	for _, peer := range p.peers {
		fmt.Fprintf(&b, "public_key=%s\n", peer.public)
		if peer.shared != "" {
			fmt.Fprintf(&b, "preshared_key=%s\n", peer.shared)
		}
		if peer.host != "" {
			addrs, err := new(net.Resolver).LookupNetIP(ctx, "ip", peer.host)
			if err != nil {
				return "", fmt.Errorf("endpoint of line %d: %w", peer.line, err)
			}
			fmt.Fprintf(&b, "endpoint=%s\n", netip.AddrPortFrom(addrs[0].Unmap(), peer.port))
			// Without one nothing would begin a handshake before the first packet.
			if peer.keepalive == 0 {
				peer.keepalive = 25
			}
		}
		fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", peer.keepalive)
		for _, a := range peer.allowed {
			fmt.Fprintf(&b, "allowed_ip=%s\n", a)
		}
	}
	return b.String(), nil
}
