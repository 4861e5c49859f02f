package cli

import (
	"os"
	"runtime"

	"github.com/causeway-dev/causeway/helper/internal/rpc"
)

func identity() rpc.Identity {
	return rpc.Identity{Helper: rpc.HelperInfo{
		Version: version, OS: runtime.GOOS, Arch: runtime.GOARCH, PID: os.Getpid(),
	}}
}
