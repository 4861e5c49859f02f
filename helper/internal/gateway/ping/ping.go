// Package ping sends ICMP echo requests without privilege. It uses ping sockets if the
// system lets its users open them, and the system's ping program otherwise. It takes
// addresses, and judges and resolves nothing.
package ping

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Protocol numbers, as icmp.ParseMessage wants them.
const (
	protocolICMP   = 1
	protocolICMPv6 = 58
)

// maxMessage bounds the bytes read of an answer.
const maxMessage = 65535

// errNoSocket reports that this user cannot open ping sockets.
var errNoSocket = errors.New("this system has no ping sockets for its users")

// Pinger sends echo requests. The zero value is ready for use, by many at once.
type Pinger struct {
	noSocket atomic.Bool // an attempt to open one has failed
	program  program
}

// Ping sends one request to the address to, which has no zone, and waits for the reply
// until ctx ends. It returns the data of the reply. Its errors are those of a dial.
func (p *Pinger) Ping(ctx context.Context, to netip.Addr, data []byte) ([]byte, error) {
	if !p.noSocket.Load() {
		c, err := open(to)
		if err == nil {
			defer c.Close()
			return Exchange(ctx, c, to, data, ownsID)
		}
		if !errors.Is(err, os.ErrPermission) && !errors.Is(err, errNoSocket) {
			return nil, err // such as no route
		}
		p.noSocket.Store(true)
	}
	return p.program.ping(ctx, to, data)
}

// Conn is a socket for pings of one address. Each read and each write is one message.
type Conn interface {
	io.ReadWriter
	SetDeadline(t time.Time) error
}

// Exchange sends a request over c, which is connected to the address to, and returns the
// data of the reply. If ownsID is false, the system replaces the identifier of the
// request by that of the socket, and c receives only replies with that identifier.
func Exchange(ctx context.Context, c Conn, to netip.Addr, data []byte, ownsID bool) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: rand.IntN(1 << 16), Seq: rand.IntN(1 << 16), Data: data}}
	if to.Is6() {
		request.Type = ipv6.ICMPTypeEchoRequest
	}
	b, err := request.Marshal(nil)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	buf := make([]byte, maxMessage)
	for {
		n, err := c.Read(buf)
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return nil, err
		}
		if reply := replyTo(request, buf[:n], ownsID); reply != nil {
			return reply.Data, nil
		}
	}
}

// replyTo parses b, and returns the message if it is the reply to request.
func replyTo(request icmp.Message, b []byte, ownsID bool) *icmp.Echo {
	protocol, want := protocolICMP, icmp.Type(ipv4.ICMPTypeEchoReply)
	if request.Type == ipv6.ICMPTypeEchoRequest {
		protocol, want = protocolICMPv6, ipv6.ICMPTypeEchoReply
	} else if len(b) > 0 && b[0]>>4 == 4 { // some systems leave the IP header in front
		b = b[min(int(b[0]&15)*4, len(b)):]
	}
	m, err := icmp.ParseMessage(protocol, b)
	if err != nil || m.Type != want {
		return nil
	}
	asked, _ := request.Body.(*icmp.Echo)
	reply, ok := m.Body.(*icmp.Echo)
	if !ok || reply.Seq != asked.Seq || ownsID && reply.ID != asked.ID {
		return nil
	}
	return reply
}
