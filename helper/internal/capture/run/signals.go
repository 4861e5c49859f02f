//go:build linux && (amd64 || arm64)

package run

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// errRestart is the kernel's ERESTARTSYS. A program never sees it: if the handler of
// the signal has SA_RESTART, or there is none, the kernel makes the call again. If
// not, the call fails with EINTR. Only a thread to which the kernel is about to
// deliver a signal may get it.
const errRestart = unix.Errno(512)

const (
	// lookAgain is the time between two checks whether a call still waits. The
	// kernel does not report its end, nor signals.
	lookAgain = 25 * time.Millisecond
	// lookShare is added to it for each call that waits. A check takes some 20 µs, so
	// all of them take at most a fiftieth of a processor.
	lookShare = time.Millisecond
)

// pause is the time until the next check of a call.
func (q *queue) pause() time.Duration {
	return max(lookAgain, time.Duration(q.waiting.Load())*lookShare)
}

// interrupted returns nil while the call waits and no signal interrupts it. If one
// does, it returns the error with which the kernel would end the call. limited tells
// whether the socket limits the time of such calls.
func (c *call) interrupted(limited bool) error {
	switch {
	case !c.waits():
		return unix.EINTR // the kernel has answered the program
	case !c.t.signalled():
		return nil
	case limited:
		return unix.EINTR
	default:
		return errRestart
	}
}

// ready waits for events on app, for as long as the time until the next check. It
// returns an error if the call is over, or is to end because of a signal.
func (c *call) ready(app int, events int16, limited bool) error {
	c.q.waiting.Add(1)
	defer c.q.waiting.Add(-1)
	if waitFor(app, events, int(c.q.pause().Milliseconds())) != unix.ETIMEDOUT {
		return nil
	}
	return c.interrupted(limited)
}

// hasLimit tells whether an option of the socket, SO_SNDTIMEO or SO_RCVTIMEO, limits
// the time of calls, and to what.
func hasLimit(app, option int) (time.Duration, bool) {
	tv, err := unix.GetsockoptTimeval(app, unix.SOL_SOCKET, option)
	if err != nil || tv.Sec == 0 && tv.Usec == 0 {
		return 0, false
	}
	return time.Duration(tv.Nano()), true
}

// connectFor connects a program's socket with our copy of the address, for as long as
// no signal interrupts the call. As in the kernel, the attempt itself goes on.
func (c *call) connectFor(app int, raw []byte) error {
	if !isBlocking(app) {
		return connectAs(app, raw)
	}
	own, err := unix.FcntlInt(uintptr(app), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return unix.ENOBUFS
	}
	done := make(chan error, 1)
	go func() {
		done <- connectAs(own, raw)
		_ = unix.Close(own)
	}()
	_, limited := hasLimit(app, unix.SO_SNDTIMEO)
	c.q.waiting.Add(1)
	defer c.q.waiting.Add(-1)
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(c.q.pause()):
			if err := c.interrupted(limited); err != nil {
				return err
			}
		}
	}
}

// signalled tells whether the kernel is about to deliver a signal to the thread.
// Where the kernel knows WAIT_KILLABLE_RECV, a call that the supervisor has received
// goes on in spite of the signal.
func (t thread) signalled() bool {
	status, err := os.ReadFile(t.path("status"))
	if err != nil {
		return false
	}
	blocked := signalSet(status, "SigBlk")
	if signalSet(status, "SigPnd")&^blocked != 0 {
		return true
	}
	// A signal for the whole process goes to its first thread, unless that blocks it.
	shared := signalSet(status, "ShdPnd") &^ blocked
	if shared == 0 {
		return false
	}
	process := t.process()
	if process == t.id {
		return true
	}
	others, _ := os.ReadDir("/proc/" + strconv.Itoa(process) + "/task")
	for _, other := range others {
		if other.Name() == strconv.Itoa(t.id) {
			continue
		}
		status, err := os.ReadFile("/proc/" + strconv.Itoa(process) + "/task/" + other.Name() + "/status")
		if err == nil {
			shared &= signalSet(status, "SigBlk")
		}
	}
	return shared != 0 // nobody else takes it
}

// signalSet reads a set of signals of /proc/PID/status.
func signalSet(status []byte, name string) uint64 {
	_, rest, _ := bytes.Cut(status, []byte("\n"+name+":\t"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	set, _ := strconv.ParseUint(string(line), 16, 64)
	return set
}
