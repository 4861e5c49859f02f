package service

import "runtime"

// ours returns the manager of this system.
func ours() (manager, bool) {
	switch runtime.GOOS {
	case "linux":
		return systemd, true
	case "darwin":
		return launchd, true
	}
	return manager{}, false
}
