//go:build linux && (amd64 || arm64)

package run

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// room is how many processes and threads run needs, the command's not included. The
// runtime of a process that gets no thread ends with a trace.
const room = 24

// pidLimits are the folders of the control group of a container, for cgroup v2 and v1.
var pidLimits = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/pids"}

// enoughRoom returns an error if a container may start fewer than need processes.
func enoughRoom(folders []string, need int) error {
	for _, dir := range folders {
		most, err1 := number(dir + "/pids.max") // "max" if there is no limit
		now, err2 := number(dir + "/pids.current")
		if err1 == nil && err2 == nil && most-now < need {
			return fmt.Errorf("%d of the %d processes that this container may have are in use, and \"causeway run\" needs %d more: "+
				"raise the limit (docker: --pids-limit), or end processes; zombies count too, and --init prevents them", now, most, need)
		}
	}
	return nil
}

func number(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(b)))
}

// explained says which limit an error of a process's start means.
func explained(err error) error {
	if errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("%w: the limit of processes is reached, of the container (pids) or of the user (ulimit -u)", err)
	}
	return err
}
