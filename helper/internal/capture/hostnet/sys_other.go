//go:build !unix

package hostnet

import (
	"os"
	"syscall"
	"time"
)

func lock(*os.File, time.Duration) {}

func outlive() {}

func ownGroup() *syscall.SysProcAttr { return nil }
