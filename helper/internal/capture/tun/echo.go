package tun

import (
	"context"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	maxEchoes = 128     // echo requests that wait for their replies at a time
	maxEchoed = 1 << 20 // bytes that they carry
	// echoTime is how long the capture waits for a reply, which is longer than the
	// gateway waits.
	echoTime = 20 * time.Second
)

// ping takes the echo request at b[at:], a packet of t. If too many are under way, it
// drops the request.
func (e *engine) ping(t tuple, b []byte, at int) {
	if !e.covers("icmp", t.server) {
		e.link.send(unreachable(t, quoteEcho(b, at), prohibited))
		return
	}
	size := len(b) - at
	e.mu.Lock()
	full := e.echoes >= maxEchoes || e.echoing+size > maxEchoed
	if !full {
		e.echoes, e.echoing = e.echoes+1, e.echoing+size
	}
	e.mu.Unlock()
	if full {
		return
	}
	release := func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.echoes, e.echoing = e.echoes-1, e.echoing-size
	}
	packet := append([]byte(nil), b...)
	if !e.spawn(func() {
		defer release()
		e.echo(t, packet, at)
	}) {
		release()
	}
}

// quoteEcho is the part of the echo request at b[at:] that an ICMP error repeats.
func quoteEcho(b []byte, at int) []byte { return b[:at+icmpHeader] }

// echo answers one echo request as the gateway's own request was answered.
func (e *engine) echo(t tuple, packet []byte, at int) {
	ctx, cancel := context.WithTimeout(e.ctx, echoTime)
	defer cancel()
	who, err := e.o.CheckEcho(t.client.Addr(), t.client.Port())
	if err != nil {
		e.o.Gateway.Stranger(t.server.Addr(), err)
		return
	}
	request := e.o.Gateway.Request("tun", e.target(tunnel.Echo, t), who)
	_, reply, err := e.o.Gateway.Ask(ctx, request, packet[at+icmpHeader:], maxPacket-v4Header-icmpHeader)
	if err == nil {
		e.link.send(echoReply(t, packet[at:], reply))
		return
	}
	e.o.Gateway.Failed(t.server.Addr(), err)
	if why, ok := reasonOf(err); ok && e.ctx.Err() == nil {
		e.link.send(unreachable(t, quoteEcho(packet, at), why))
	}
}
