package netx_test

import (
	"os"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"golang.org/x/sys/unix"
)

func TestWidenPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	netx.WidenPipe(w)
	if size, err := unix.FcntlInt(r.Fd(), unix.F_GETPIPE_SZ, 0); err != nil || size < 256<<10 {
		t.Errorf("%d bytes, %v: less than a frame", size, err)
	}
}
