//go:build unix

package lockfile

import "os"

func rename(from, to string) error { return os.Rename(from, to) }

// syncDir makes a rename in dir outlive a crash, as far as the file system can.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
