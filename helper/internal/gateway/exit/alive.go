package exit

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.zx2c4.com/wireguard/device"
)

// A target that does not answer is one thing, a peer that does not another: how
// long into a dial the peer has to show that it is there, and by when it has to
// have.
const (
	proofAfter = 3 * time.Second
	proofLimit = 9 * time.Second
)

// peerOf returns the peer that WireGuard sends packets for a to.
func (p *profile) peerOf(a netip.Addr) (found wgPeer, ok bool) {
	most := 0
	for _, peer := range p.peers {
		for _, prefix := range peer.allowed {
			if prefix.Contains(a) && prefix.Bits() >= most { // the last of several alike has it
				found, ok, most = peer, true, prefix.Bits()
			}
		}
	}
	return found, ok
}

// whilePeer returns a context that ends, with the answer to the flow as its
// cause, when the peer on the way to an address turns out to be silent. It is an
// error if there is no such peer.
func (w *wireGuard) whilePeer(ctx context.Context, up *running, to netip.Addr) (context.Context, context.CancelFunc, error) {
	dev := up.dev
	to = to.Unmap()
	peer, ok := up.profile.peerOf(to)
	if !ok {
		return nil, nil, &tunnel.Error{Code: tunnel.HostUnreachable, Reason: fmt.Sprintf("no peer of WireGuard profile %s has %s among its AllowedIPs", w.file, to)}
	}
	var key device.NoisePublicKey
	if err := key.FromHex(peer.public); err != nil {
		return nil, nil, err
	}
	before, err := received(dev, peer.public)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	prove := time.AfterFunc(proofAfter, func() {
		look := time.NewTicker(100 * time.Millisecond)
		defer look.Stop()
		limit := time.NewTimer(proofLimit - proofAfter)
		defer limit.Stop()
		for {
			if now, err := received(dev, peer.public); err != nil || now > before {
				return
			}
			// A peer answers that at once, and it is sent every 5 s at most.
			if at := dev.LookupPeer(key); at != nil {
				_ = at.SendHandshakeInitiation(true)
			}
			select {
			case <-ctx.Done():
				return
			case <-limit.C:
				cancel(&tunnel.Error{Code: tunnel.TimedOut, Reason: "the WireGuard peer does not answer any more: it is down, or the way to it"})
				return
			case <-look.C:
			}
		}
	})
	return ctx, func() { prove.Stop(); cancel(nil) }, nil
}

// received is how many bytes have come from a peer.
func received(dev *device.Device, public string) (uint64, error) {
	peers, err := peerStates(dev)
	for _, p := range peers {
		if p.public == public {
			return p.received, err
		}
	}
	return 0, err
}
