package hostnet

import (
	"fmt"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
)

const deviceTime = time.Second // in which the kernel removes a device

// resetConnections ends the connections of a device that has gone because its
// capture was killed: that capture's stack could not reset them. If the device
// stays, its capture still runs and resets them itself.
func (d *Device) resetConnections() error {
	if gone, err := kernelnet.WaitGone(d.Index, deviceTime); err != nil || !gone {
		return err
	}
	if err := kernelnet.ResetFrom(d.Addresses); err != nil {
		return fmt.Errorf("reset the connections of %s: %w", d.Name, err)
	}
	return nil
}
