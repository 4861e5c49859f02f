package hostnet

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// identity is the id of the running process.
func identity() (string, error) {
	start, err := startTime(os.Getpid())
	if err != nil {
		return "", fmt.Errorf("identify process: %w", err)
	}
	return fmt.Sprintf("%d-%d", os.Getpid(), start), nil
}

// alive tells whether the process of id still runs. If that is unknown, it counts as
// running.
func alive(id string) bool {
	pid, start, err := parseID(id)
	if err != nil {
		return true
	}
	began, err := startTime(pid)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false
	}
	return err != nil || began == start
}

func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, can contain any character. starttime is the 20th
	// field after it.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return 0, errors.New("/proc/PID/stat has an unknown format")
	}
	if f[0][0] == 'Z' || f[0][0] == 'X' {
		return 0, fs.ErrNotExist // it has ended; its parent has not waited for it yet
	}
	return strconv.ParseUint(string(f[19]), 10, 64)
}
