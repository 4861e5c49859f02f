package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// Numbers of RFC 1928; resolve is the extension that Tor introduced.
const (
	socksVersion = 5

	cmdConnect   = 1
	cmdAssociate = 3
	cmdResolve   = 0xf0

	atypIPv4 = 1
	atypName = 3
	atypIPv6 = 4

	repOK             = 0
	repFailure        = 1
	repDenied         = 2
	repNetUnreachable = 3
	repUnreachable    = 4
	repRefused        = 5
	repTimedOut       = 6
	repNoCommand      = 7
	repNoAddress      = 8
)

var errAddressType = errors.New("unknown type of address")

// serveSOCKS speaks SOCKS5, whose version byte has been read. It owns c.
func (p *Proxy) serveSOCKS(c *net.TCPConn, who owner.Owner) {
	cmd, host, port, err := greetSOCKS(c)
	if err != nil {
		if errors.Is(err, errAddressType) {
			replySOCKS(c, repNoAddress, netip.AddrPort{})
		}
		_ = c.Close()
		return
	}
	_ = c.SetDeadline(time.Time{})
	switch cmd {
	case cmdConnect:
		p.socksConnect(c, host, port, who)
	case cmdAssociate:
		p.socksAssociate(c, who)
	case cmdResolve:
		p.socksResolve(c, host, who)
	default:
		replySOCKS(c, repNoCommand, netip.AddrPort{})
		_ = c.Close()
	}
}

// greetSOCKS agrees on no authentication and reads the request.
func greetSOCKS(c io.ReadWriter) (cmd byte, host string, port uint16, err error) {
	var b [256]byte
	if _, err = io.ReadFull(c, b[:1]); err != nil {
		return
	}
	methods := b[1 : 1+int(b[0])]
	if _, err = io.ReadFull(c, methods); err != nil {
		return
	}
	accepted := byte(0xff)
	for _, m := range methods {
		if m == 0 {
			accepted = 0
		}
	}
	if _, err = c.Write([]byte{socksVersion, accepted}); err != nil {
		return
	}
	if accepted != 0 {
		err = errors.New("client insists on authentication")
		return
	}
	if _, err = io.ReadFull(c, b[:3]); err != nil {
		return
	}
	if b[0] != socksVersion {
		err = errors.New("not SOCKS5")
		return
	}
	cmd = b[1]
	host, port, err = readAddress(c)
	return
}

// readAddress reads the address of a request or a datagram.
func readAddress(r io.Reader) (host string, port uint16, err error) {
	var b [257]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return "", 0, err
	}
	var n int
	switch b[0] {
	case atypIPv4:
		n = 4
	case atypIPv6:
		n = 16
	case atypName:
		if _, err := io.ReadFull(r, b[:1]); err != nil {
			return "", 0, err
		}
		n = int(b[0])
		if _, err := io.ReadFull(r, b[:n+2]); err != nil {
			return "", 0, err
		}
		if n == 0 || n > tunnel.MaxHost {
			return "", 0, errors.New("name is too long or empty")
		}
		if bytes.ContainsFunc(b[:n], notInName) {
			return "", 0, errors.New("name has characters that no host name has")
		}
		return string(b[:n]), binary.BigEndian.Uint16(b[n:]), nil
	default:
		return "", 0, errAddressType
	}
	if _, err := io.ReadFull(r, b[:n+2]); err != nil {
		return "", 0, err
	}
	addr, _ := netip.AddrFromSlice(b[:n])
	return addr.Unmap().String(), binary.BigEndian.Uint16(b[n:]), nil
}

// notInName tells which characters no name has; "%" would begin the zone of an
// address.
func notInName(r rune) bool { return r <= ' ' || r == '%' || r == 0x7f }

// appendAddress appends host and port as readAddress reads them.
func appendAddress(b []byte, host string, port uint16) []byte {
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		b = append(append(b, atypName, byte(len(host))), host...)
	case addr.Is4():
		b = append(append(b, atypIPv4), addr.AsSlice()...)
	default:
		b = append(append(b, atypIPv6), addr.AsSlice()...)
	}
	return binary.BigEndian.AppendUint16(b, port)
}

func replySOCKS(c io.Writer, code byte, bound netip.AddrPort) {
	if !bound.IsValid() {
		bound = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	_, _ = c.Write(appendAddress([]byte{socksVersion, code, 0}, bound.Addr().Unmap().String(), bound.Port()))
}

// replyCode is the SOCKS5 reply for the outcome of a dial.
func replyCode(err error) byte {
	switch flow.Code(err) {
	case tunnel.Denied:
		return repDenied
	case tunnel.NetUnreachable:
		return repNetUnreachable
	case tunnel.HostUnreachable, tunnel.NoSuchName:
		return repUnreachable
	case tunnel.Refused:
		return repRefused
	case tunnel.TimedOut:
		return repTimedOut
	default:
		return repFailure
	}
}

func (p *Proxy) socksConnect(c *net.TCPConn, host string, port uint16, who owner.Owner) {
	p.connectSOCKS(c, host, port, who, func(err error) {
		code := byte(repOK)
		if err != nil {
			code = replyCode(err)
		}
		replySOCKS(c, code, netip.AddrPort{})
	})
}

// connectSOCKS connects, replies with the outcome, and relays.
func (p *Proxy) connectSOCKS(c *net.TCPConn, host string, port uint16, who owner.Owner, reply func(error)) {
	ctx, stop := whileThere(p.ctx, c)
	target, err := p.out.dial(ctx, "socks", host, port, who)
	stop()
	reply(err)
	if err != nil {
		_ = c.Close()
		return
	}
	p.o.Gateway.Relay(p.ctx, c, target, tunnel.Target{Network: tunnel.TCP, Host: tunnel.Clean(host), Port: port})
}

// whileThere returns a context that ends when the client has left. The caller must
// call stop, which ends the watch and the context.
func whileThere(ctx context.Context, c *net.TCPConn) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	unwatch := netx.WatchPeer(c, cancel) // clients do not half-close before the reply
	return ctx, func() { unwatch(); cancel() }
}

// socksResolve answers with the first address of a name.
func (p *Proxy) socksResolve(c *net.TCPConn, host string, who owner.Owner) {
	defer func() { _ = c.Close() }()
	ctx, stop := whileThere(p.ctx, c)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	addr, err := p.lookUp(ctx, host, who)
	if err != nil {
		replySOCKS(c, replyCode(err), netip.AddrPort{})
		return
	}
	replySOCKS(c, repOK, netip.AddrPortFrom(addr, 0))
}

func (p *Proxy) lookUp(ctx context.Context, host string, who owner.Owner) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr, nil
	}
	if !p.o.Match("lookup", host, 0) {
		if p.out.strict() {
			return netip.Addr{}, errStrict
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return netip.Addr{}, directError(err)
		}
		return addrs[0].Unmap(), nil
	}
	list, _, err := p.o.Gateway.Ask(ctx, p.o.Gateway.Request("socks", tunnel.Target{Network: tunnel.Lookup, Host: host}, who), nil, 0)
	if err != nil {
		return netip.Addr{}, err
	}
	first, _, _ := strings.Cut(list, ",")
	addr, err := netip.ParseAddr(strings.TrimSpace(first))
	if err != nil {
		return netip.Addr{}, &tunnel.Error{Code: tunnel.NoSuchName, Reason: "the name has no address"}
	}
	return addr, nil
}
