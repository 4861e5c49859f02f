package hostnet

import (
	"fmt"
	"net"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
)

const deviceTime = time.Second // that the kernel has to remove a device

// resetConnections has programs see the end of what went by a device that is
// gone with a capture that was killed, whose stack reset nothing. A device that
// stays has its capture, which resets them itself.
func (d *Device) resetConnections() error {
	for end := time.Now().Add(deviceTime); ; time.Sleep(10 * time.Millisecond) {
		if _, err := net.InterfaceByIndex(d.Index); err != nil {
			break
		}
		if time.Now().After(end) {
			return nil
		}
	}
	if err := kernelnet.ResetFrom(d.Addresses); err != nil {
		return fmt.Errorf("reset the connections of %s: %w", d.Name, err)
	}
	return nil
}
