package ping

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	maxPrograms = 16 // at a time
	maxOutput   = 4 << 10
)

// program is the system's ping.
type program struct {
	once  sync.Once
	slots chan struct{}
}

// ping runs the program once. The program sends data of its own and checks that it comes
// back. So ping returns the data of the caller as that of the reply.
func (p *program) ping(ctx context.Context, to netip.Addr, data []byte) ([]byte, error) {
	p.once.Do(func() { p.slots = make(chan struct{}, maxPrograms) })
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		return nil, &tunnel.Error{Code: tunnel.Overloaded, Reason: "too many pings at once"}
	}
	argv := arguments(runtime.GOOS, to, len(data))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if cmd.Err != nil {
		return nil, &tunnel.Error{Code: tunnel.Failed, Reason: "this machine does not let the user open ping sockets, and has no ping program"}
	}
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = noWindow()
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := outcome(runtime.GOOS, out.String(), err); err != nil {
		return nil, err
	}
	return data, nil
}

// arguments is the command line for one request with size bytes of data.
func arguments(goos string, to netip.Addr, size int) []string {
	n := strconv.Itoa(size)
	switch {
	case goos == "windows":
		return []string{"ping", "-n", "1", "-w", "10000", "-l", n, to.String()}
	case goos == "darwin" && to.Is6():
		return []string{"ping6", "-c", "1", "-s", n, to.String()}
	}
	return []string{"ping", "-c", "1", "-s", n, to.String()}
}

// took occurs only in the line of a reply, in all languages.
var took = regexp.MustCompile(`[=<][0-9]+ ?ms`)

// outcome returns the error for the output and the exit status of the program, nil if
// there was a reply.
func outcome(goos, said string, ended error) error {
	lower := strings.ToLower(said)
	switch exit, exited := errors.AsType[*exec.ExitError](ended); {
	case goos == "windows" && took.MatchString(said), goos != "windows" && ended == nil:
		return nil // ping.exe also exits with 0 if a router answers
	case strings.Contains(lower, "network is unreachable") || strings.Contains(lower, "net unreachable"):
		return &tunnel.Error{Code: tunnel.NetUnreachable, Reason: "ping: network is unreachable"}
	case strings.Contains(lower, "unreachable") || strings.Contains(lower, "no route to host") || strings.Contains(lower, "filtered"):
		return &tunnel.Error{Code: tunnel.HostUnreachable, Reason: "ping: no route to host"}
	case ended == nil, exited && exit.ExitCode() == 1, exited && goos == "darwin" && exit.ExitCode() == 2:
		return &tunnel.Error{Code: tunnel.TimedOut, Reason: "no reply in time"}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	return &tunnel.Error{Code: tunnel.Failed, Reason: fmt.Sprintf("ping: %s", cmp.Or(strings.TrimPrefix(first, "ping: "), ended.Error()))}
}

// output keeps the first bytes.
type output struct{ bytes.Buffer }

func (o *output) Write(p []byte) (int, error) {
	o.Buffer.Write(p[:min(len(p), maxOutput-o.Len())])
	return len(p), nil
}
