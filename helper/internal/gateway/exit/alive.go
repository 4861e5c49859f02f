package exit

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"golang.zx2c4.com/wireguard/device"
)

// A dial that hangs may be the fault of the target or of the WireGuard peer. After
// proofAfter the exit asks the peer for a handshake. If nothing has come from the peer by
// proofLimit, the dial fails. Both count from the start of the dial.
const (
	proofAfter = 3 * time.Second
	proofLimit = 9 * time.Second
)

// peerOf returns the peer that WireGuard sends packets for a to.
func (p *profile) peerOf(a netip.Addr) (found wgPeer, ok bool) {
	most := 0
	for _, peer := range p.peers {
		for _, prefix := range peer.allowed {
			if prefix.Contains(a) && prefix.Bits() >= most { // of equal prefixes the last one counts
				found, ok, most = peer, true, prefix.Bits()
			}
		}
	}
	return found, ok
}

// whilePeer returns a context that ends when the peer for an address turns out to be
// silent. The cause is then the answer to the flow. The error says that no peer has the
// address.
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
			// A peer answers at once. The device sends it at most every 5 s.
			if at := dev.LookupPeer(key); at != nil {
				_ = at.SendHandshakeInitiation(true)
			}
			select {
			case <-ctx.Done():
				return
			case <-limit.C:
				cancel(&tunnel.Error{Code: tunnel.TimedOut, Reason: "the WireGuard peer does not answer any more: it is down, or the network to it is"})
				return
			case <-look.C:
			}
		}
	})
	return ctx, func() { prove.Stop(); cancel(nil) }, nil
}

// received returns how many bytes have come from a peer.
func received(dev *device.Device, public string) (uint64, error) {
	peers, err := peerStates(dev)
	for _, p := range peers {
		if p.public == public {
			return p.received, err
		}
	}
	return 0, err
}
