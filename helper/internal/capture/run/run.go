// Package run carries the connections of one process tree without any privilege. A
// seccomp filter, which every process of the tree inherits, hands the system calls
// that choose a destination to a supervisor. The supervisor asks the captures of
// this user. If one covers the destination, the supervisor joins the program's own
// socket to a flow over loopback. All other calls continue unchanged. If the tree
// may reach only the resources, the supervisor refuses them.
//
// Three processes take part. The user starts the foreground process, which passes
// signals on and ends with the command's status. The supervisor is its child and the
// command's parent, because only a parent may look into the tree on some systems. It
// stays while any process of the tree is left. The third process installs the filter
// and becomes the command.
package run

import (
	"errors"
	"fmt"
)

// ErrUnsupported means that this system cannot run a command in this way.
var ErrUnsupported = errors.New("causeway run works on Linux only, on amd64 and arm64")

// Arguments after the program's name by which it is started again.
const (
	SuperviseCommand = "run-supervise"
	ExecCommand      = "run-exec"
	TryCommand       = "run-try"
)

// Variable is set in the environment of a command under a supervisor. Its value is
// the kind of supervision: "carry" or "only".
const Variable = "CAUSEWAY_RUN"

// The values of Variable.
const (
	modeCarry = "carry"
	modeOnly  = "only"
)

func mode(only bool) string {
	if only {
		return modeOnly
	}
	return modeCarry
}

// Options of Run, Supervise and Exec.
type Options struct {
	Only bool   // refuse what is neither a resource nor loopback
	Dir  string // where the captures of this user listen
	Path string // of the program
	Argv []string

	// Keep makes the supervisor keep the sockets of the tree, for systems that
	// forbid taking descriptors from other processes. Supervise sets it for Exec.
	Keep bool
}

// arguments returns the command line that starts this program again in another role.
func (o Options) arguments(command string) []string {
	args := []string{"causeway", command, "--dir", o.Dir, "--path", o.Path}
	if o.Only {
		args = append(args, "--only")
	}
	if o.Keep {
		args = append(args, "--keep")
	}
	return append(append(args, "--"), o.Argv...)
}

// ExitError is the end of a command that did not exit with 0, or that could not
// start. In the second case, Reason says why.
type ExitError struct {
	Code   int // as shells have it: 128 and the signal for one that was killed
	Reason string
}

// Error tells the reason, or the code.
func (e *ExitError) Error() string {
	if e.Reason != "" {
		return e.Reason
	}
	return fmt.Sprintf("the command exited with %d", e.Code)
}
