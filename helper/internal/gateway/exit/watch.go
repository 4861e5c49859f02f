package exit

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/device"
)

// watch takes the device down when nothing has used it for long enough. It looks up the
// names of silent peers again. It ends with ctx, and so with the device.
func (w *wireGuard) watch(ctx context.Context) {
	t := time.NewTicker(w.look)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		w.mu.Lock()
		switch {
		case ctx.Err() != nil:
		case w.users == 0 && time.Since(w.unused) >= w.idle:
			w.log.Debug().Str("file", w.file).Msg("WireGuard exit not used: taken down until it is needed")
			w.stop()
		case w.isSilent():
			up, before := w.up, w.endpoints
			w.mu.Unlock()
			w.follow(ctx, up, before)
			continue
		}
		w.mu.Unlock()
	}
}

// isSilent reports whether a peer whose endpoint is a name has not renewed its handshake
// for long enough. The caller holds w.mu.
func (w *wireGuard) isSilent() bool {
	peers, err := peerStates(w.up.dev)
	for _, p := range peers {
		if _, named := w.endpoints[p.public]; named && time.Since(p.handshake) > w.silence {
			return err == nil
		}
	}
	return false
}

// follow gives peers the addresses that their names have now, if these differ from
// before. Their connections go on.
func (w *wireGuard) follow(ctx context.Context, up *running, before map[string]netip.Addr) {
	ctx, cancel := context.WithTimeout(ctx, w.look)
	defer cancel()
	found, err := w.resolve(ctx, up.profile, before)
	if err != nil {
		w.log.Debug().Err(err).Str("file", w.file).Msg("WireGuard peer silent")
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.up != up {
		return
	}
	for _, peer := range up.profile.peers {
		now, named := found[peer.public]
		if !named || now == before[peer.public] {
			continue
		}
		w.log.Info().Str("file", w.file).Int("line", peer.line).Stringer("address", now).Msg("WireGuard peer silent: its name has another address now")
		if err := up.dev.IpcSet(fmt.Sprintf("public_key=%s\nupdate_only=true\nendpoint=%s\n", peer.public, peer.endpoint(found))); err != nil {
			w.log.Warn().Err(err).Str("file", w.file).Msg("WireGuard endpoint not changed")
		}
	}
	w.endpoints = found
}

// peerState is what a device knows of a peer.
type peerState struct {
	public    string // hex
	handshake time.Time
	received  uint64 // bytes
}

func peerStates(dev *device.Device) ([]peerState, error) {
	state, err := dev.IpcGet()
	if err != nil {
		return nil, err
	}
	var out []peerState
	for line := range strings.SplitSeq(state, "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch {
		case key == "public_key":
			out = append(out, peerState{public: value})
		case key == "last_handshake_time_sec" && value != "0" && len(out) > 0:
			if sec, err := strconv.ParseInt(value, 10, 64); err == nil {
				out[len(out)-1].handshake = time.Unix(sec, 0)
			}
		case key == "rx_bytes" && len(out) > 0:
			out[len(out)-1].received, _ = strconv.ParseUint(value, 10, 64)
		}
	}
	return out, nil
}

// lastHandshake returns the time of the last handshake, zero if there was none.
func lastHandshake(peers []peerState) (last time.Time) {
	for _, p := range peers {
		if p.handshake.After(last) {
			last = p.handshake
		}
	}
	return last
}
