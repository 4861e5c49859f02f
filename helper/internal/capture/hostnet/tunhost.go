package hostnet

import (
	"context"
	"fmt"
	"net/netip"
	"os"
)

// StartTun is Start for a TUN device, to which no resource is routed yet. The caller
// owns the file. The device and its routes exist until the file is closed.
func StartTun(ctx context.Context, o StartOptions) (h *Host, file *os.File, d *Device, err error) {
	if err := tunMissing(); err != nil {
		return nil, nil, nil, fmt.Errorf("cannot open a TUN device: %w", err)
	}
	t := task{what: "open a TUN device", lacks: "that takes root"}
	if os.Geteuid() != 0 {
		t.lacked = os.ErrPermission
	}
	h, err = begin(ctx, o, t, func(h *Host) error {
		return h.request(ctx, request{Tun: true}, func(a answer) (err error) {
			if a.Device == nil {
				return fmt.Errorf("the answer has no device")
			}
			d = a.Device
			file, err = takeSocket(h.in)
			return err
		})
	})
	return h, file, d, err
}

// SetRoutes replaces the routes to the device by routes to prefixes. The reports, in
// the order of prefixes, say which are refused.
func (h *Host) SetRoutes(ctx context.Context, prefixes []netip.Prefix) (reports []RouteReport, err error) {
	if prefixes == nil {
		prefixes = []netip.Prefix{} // none, rather than another request
	}
	err = h.request(ctx, request{Routes: &prefixes}, func(a answer) error {
		if len(a.Routes) != len(prefixes) {
			return fmt.Errorf("%d reports on %d routes", len(a.Routes), len(prefixes))
		}
		reports = a.Routes
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("set routes: %w", err)
	}
	return reports, nil
}
