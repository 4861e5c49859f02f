package hostnet

import (
	"fmt"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
)

const deviceTime = time.Second // that the kernel has to remove a device

// resetConnections has programs see the end of what went by a device that is
// gone with a capture that was killed, whose stack reset nothing. A device that
// stays has its capture, which resets them itself.
func (d *Device) resetConnections() error {
	if gone, err := kernelnet.WaitGone(d.Index, deviceTime); err != nil || !gone {
		return err
	}
	if err := kernelnet.ResetFrom(d.Addresses); err != nil {
		return fmt.Errorf("reset the connections of %s: %w", d.Name, err)
	}
	return nil
}
