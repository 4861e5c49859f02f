package exit

import (
	"context"
	"net/netip"

	"github.com/causeway-dev/causeway/helper/internal/gateway/ping"
)

// Ping sends an echo request to an address and returns the data of the reply. It returns
// a timeout if the peer or the host behind it does not answer.
func (w *wireGuard) Ping(ctx context.Context, to netip.Addr, data []byte) ([]byte, error) {
	up, release, err := w.use(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	c, err := up.stack.pinger(ctx, to)
	if err != nil {
		return nil, stackError(err)
	}
	defer c.Close()
	reply, err := ping.Exchange(ctx, c, to, data, false)
	if err != nil {
		return nil, w.told(up, stackError(err))
	}
	return reply, nil
}
