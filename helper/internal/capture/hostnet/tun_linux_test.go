package hostnet

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A node that is missing is made where this process has the right, and none stays.
func TestOpenNodeMakesIt(t *testing.T) {
	node, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	works := err == nil && os.Geteuid() == 0 && mayMakeNodes()
	if err == nil {
		_ = unix.Close(node)
	}
	fd, err := openNode(filepath.Join(t.TempDir(), "tun"), "/dev")
	switch {
	case works && err != nil:
		t.Errorf("with all rights: %v", err)
	case err == nil:
		if _, err := unix.IoctlGetUint32(fd, unix.TUNGETFEATURES); err != nil {
			t.Errorf("it is no TUN device: %v", err)
		}
		_ = unix.Close(fd)
	case !errors.Is(err, os.ErrNotExist):
		t.Errorf("without the rights: %v", err)
	}
	if left, _ := filepath.Glob("/dev/.causeway-tun-*"); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

// Only a node that is missing is made: one that may not be opened stays closed.
func TestOpenNodeLeavesOthersAlone(t *testing.T) {
	if _, err := openNode(t.TempDir(), "/dev"); !errors.Is(err, unix.EISDIR) && !errors.Is(err, os.ErrPermission) {
		t.Errorf("a folder in its place: %v", err)
	}
}
