package hostnet

import (
	"context"
	"fmt"
	"os"

	"github.com/causeway-dev/causeway/helper/internal/capture/held"
)

// Watch has the subcommand watch loopback, once, and returns the file for a
// held.Watcher, which is the caller's. It fails where there is no CAP_NET_RAW.
func (h *Host) Watch(ctx context.Context) (watch *os.File, err error) {
	err = h.request(ctx, request{Watch: true}, func(answer) error {
		watch, err = takeSocket(h.in)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch loopback: %w", err)
	}
	return watch, nil
}

// Refuse has the subcommand refuse the SYN or datagram of a program.
func (h *Host) Refuse(ctx context.Context, r held.Refusal) error {
	if err := h.request(ctx, request{Refuse: &r}, nil); err != nil {
		return fmt.Errorf("refuse a connection: %w", err)
	}
	return nil
}
