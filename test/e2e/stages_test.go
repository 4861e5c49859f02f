//go:build linux

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const stagedResources = `[
	{"name": "web", "host": "web.corp.test", "ports": [80]},
	{"name": "domain", "host": "*.apps.corp.test", "ports": [80]},
	{"name": "corp", "host": "10.77.0.0/24", "ports": [80]}
]`

// stage is a point of a session's beginning or end: a process is stopped there
// by the system call on path that it has just made.
type stage struct {
	name       string
	ending     bool
	call, path string // none: everything is up, and nobody is stopped
}

// stages are in the order in which a session passes them.
var stages = []stage{
	{"hosts file locked", false, "flock", "/etc/hosts"}, // to look for remains
	{"device made", false, "ioctl", "/dev/net/tun"},
	{"hosts block written", false, "pwrite64", "/etc/hosts"},
	{"resolv.conf written", false, "pwrite64", "/etc/resolv.conf"},
	{"all up", false, "", ""},
	{"resolv.conf half put back", true, "pwrite64", "/etc/resolv.conf"},
	{"resolv.conf put back", true, "ftruncate", "/etc/resolv.conf"},
	{"hosts file locked for the end", true, "flock", "/etc/hosts"},
	{"hosts block removed", true, "ftruncate", "/etc/hosts"},
	{"device closed", true, "close", "/dev/net/tun"},
}

// victims are who is killed there.
var victims = []string{"privileged", "capture", "gateway", "all of cloud", "shim", "sudo"}

// TestKilledAtStages kills each process at each stage: cloud's network set-up is
// then as before within 2 s or, if what cleans it up was killed, after the next
// session.
func TestKilledAtStages(t *testing.T) {
	eventually(t, 10*time.Second, "no helper of the test before is left", func() bool { return len(running()) == 0 })
	before := setup(t)
	for i, st := range stages {
		chosen := victims
		if !soak() {
			chosen = []string{victims[i%len(victims)]}
		}
		for _, victim := range chosen {
			t.Run(st.name+", "+victim, func(t *testing.T) {
				killAt(t, st, victim, before)
				for end := time.Now().Add(5 * time.Second); len(running()) > 0; time.Sleep(20 * time.Millisecond) {
					if time.Now().After(end) {
						out, _ := cloud(t, 5*time.Second, helper+" sessions --json")
						t.Fatalf("helpers are left: %s", out)
					}
				}
			})
		}
	}
}

func killAt(t *testing.T, st stage, victim, before string) {
	keeper, leave := keepCapture(t)
	defer leave()
	var held int
	var s *session
	switch {
	case st.call == "":
		s = connect(t, stagedResources)
	case st.ending:
		s = connect(t, stagedResources)
		wait := stopAfter(t, st.call, st.path)
		_ = s.cmd.Process.Signal(os.Interrupt)
		held = wait()
	default:
		wait := stopAfter(t, st.call, st.path)
		s = launch(t, connectCommand(t, stagedResources, nil, sshLink()...))
		held = wait()
	}
	if now := setup(t); now == before && !slices.Contains([]string{"hosts file locked", "device made", "device closed"}, st.name) {
		t.Error("nothing has changed at this stage")
	}
	stopped := sudos() // which stop with their child, some time after it
	if held != 0 {
		stopped = append(stopped, held)
	}
	if victim == "capture" || victim == "all of cloud" {
		s.freeze()
	}
	for _, pid := range pidsOf(t, victim, s, keeper) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	defer goOn(stopped)()
	switch victim {
	case "gateway", "capture":
	case "shim":
		// The session goes on by another one, unless it ends anyway.
		for !st.ending {
			if e := <-s.events; e.Event == "reconnected" || e.Event == "connected" {
				break
			} else if e.Event == "disconnected" || e.Event == "" {
				t.Fatalf("the session did not go on: %+v", e)
			}
		}
		fallthrough
	default:
		s.stop()
	}
	if victim == "privileged" || victim == "all of cloud" {
		connect(t, stagedResources).stop()
	}
	var now string
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if now = setup(t); now == before {
			break
		} else if time.Now().After(end) {
			t.Errorf("after 2 s the set-up is\n%s\nwhere it was\n%s", now, before)
			break
		}
	}
	s.stop()
}

// goOn has stopped processes go on, and keeps at it until it is told to end.
func goOn(pids []int) (end func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			for _, pid := range pids {
				_ = syscall.Kill(pid, syscall.SIGCONT)
			}
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(stop); <-ended }
}

// setup is all that a session changes on cloud.
func setup(t *testing.T) string {
	t.Helper()
	const network = `ip route; ip -6 route; ip rule; ip -o addr | sed "s/tentative //"`
	return hostsFile(t) + "\n" + resolvConf(t) + "\n" + onCloud(t, network)
}

// keepCapture starts the capture in the background, before any session, and
// keeps it there by a shim, whose process it returns, until leave.
func keepCapture(t *testing.T) (shim int, leave func()) {
	t.Helper()
	link := sshLink()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := world.Laptop.Command(ctx, link[0], link[1:]...)
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	leave = sync.OnceFunc(func() {
		_ = stdin.Close()
		cancel()
		_ = cmd.Wait()
	})
	t.Cleanup(leave)
	var shims []int
	eventually(t, 10*time.Second, "the capture runs, by one shim", func() bool {
		shims = running("capture", "--stdio")
		return len(shims) == 1 && len(running("capture", "--background")) == 1
	})
	return shims[0], leave
}

// stopAfter has the capture, or what it starts, stopped by the first such call.
// wait returns the process when it is.
func stopAfter(t *testing.T, call, path string) (wait func() int) {
	t.Helper()
	args := []string{"-f", "-P", path, "-e", "trace=" + call, "-e", "inject=" + call + ":signal=STOP"}
	for _, pid := range append(running("capture", "--background"), running("privileged")...) {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	tracer := world.Cloud.Command(context.WithoutCancel(t.Context()), "strace", args...)
	out, err := tracer.StderrPipe()
	if err == nil {
		err = tracer.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	end := func() { _ = tracer.Process.Kill() }
	t.Cleanup(func() { end(); _ = tracer.Wait() })
	lines := bufio.NewReader(out)
	read := func(what *regexp.Regexp) string {
		watchdog := time.AfterFunc(30*time.Second, end)
		defer watchdog.Stop()
		var said strings.Builder
		for {
			line, err := lines.ReadString('\n')
			said.WriteString(line)
			if m := what.FindStringSubmatch(line); m != nil {
				return m[1]
			}
			if err != nil {
				t.Fatalf("strace says no %s:\n%s", what, said.String())
			}
		}
	}
	for range strings.Count(strings.Join(args, " "), " -p ") {
		read(regexp.MustCompile(`Process (\d+) attached`))
	}
	return func() int {
		thread := read(regexp.MustCompile(`^\[pid +(\d+)\] --- stopped by SIGSTOP`))
		end() // what is stopped stays so
		_, _ = io.Copy(io.Discard, lines)
		status, err := os.ReadFile("/proc/" + thread + "/status")
		if err != nil {
			t.Fatal(err)
		}
		process, err := strconv.Atoi(regexp.MustCompile(`(?m)^Tgid:\s+(\d+)`).FindStringSubmatch(string(status))[1])
		if err != nil {
			t.Fatal(err)
		}
		return process
	}
}

// pidsOf are the processes to kill.
func pidsOf(t *testing.T, victim string, s *session, keeper int) (pids []int) {
	t.Helper()
	shims := slices.DeleteFunc(running("capture", "--stdio"), func(pid int) bool { return pid == keeper })
	switch victim {
	case "gateway":
		pids = []int{s.cmd.Process.Pid}
	case "shim":
		pids = shims
	case "capture":
		pids = running("capture", "--background")
	case "privileged":
		pids = running("privileged")
	case "sudo":
		pids = sudos()
	case "all of cloud":
		pids = slices.Concat(running("capture", "--background"), shims, running("privileged"), sudos())
	}
	if len(pids) == 0 {
		t.Errorf("there is no %s to kill", victim)
	}
	return pids
}

// sudos are the parents of the privileged subcommands.
func sudos() (pids []int) {
	for _, pid := range running("privileged") {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		m := regexp.MustCompile(`(?m)^PPid:\s+(\d+)`).FindStringSubmatch(string(status))
		if m == nil {
			continue // it has ended meanwhile
		}
		if comm, _ := os.ReadFile("/proc/" + m[1] + "/comm"); string(comm) == "sudo\n" {
			parent, _ := strconv.Atoi(m[1])
			pids = append(pids, parent)
		}
	}
	return pids
}
