//go:build !linux

package netx

import "os"

// WidenPipe leaves pipes as they are here.
func WidenPipe(*os.File) {}
