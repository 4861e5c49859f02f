package cli

import (
	"encoding/hex"
	"runtime"

	"github.com/causeway-dev/causeway/helper/internal/capture/handover"
	"github.com/causeway-dev/causeway/helper/internal/daemon"
)

// handoverPath is where causeway run finds the session s; "" if it cannot.
func (s *captureSession) handoverPath() string {
	dir, err := daemon.DefaultDir()
	if err != nil || runtime.GOOS != "linux" {
		return ""
	}
	return handover.Path(dir, hex.EncodeToString(s.id[:]))
}
