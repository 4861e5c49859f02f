//go:build linux

package lab

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	prefix   = "cwy"
	stateDir = "/run/causeway-lab"
)

// claim gives the lab its id and its directory. A lock on the file with the lab's
// id tells Cleanup that the lab is up. The kernel releases the lock when the process
// ends. The content of the file is the directory to remove.
func (l *Lab) claim() error {
	if l.opts.Loopback {
		l.id = "loopback"
		return l.makeDir(nil)
	}
	var random [3]byte
	if _, err := rand.Read(random[:]); err != nil {
		return err
	}
	l.id = prefix + hex.EncodeToString(random[:])
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return err
	}
	// Cleanup of another lab must never see the file without its lock.
	path := filepath.Join(stateDir, l.id)
	state, err := os.OpenFile(path+".new", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(state.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("lock %s: %w", state.Name(), err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	l.onClose(func() error {
		err := os.Remove(path)
		state.Close()
		return err
	})

	return l.makeDir(state)
}

// makeDir makes the lab's directory. If Cleanup must remove it after a crash,
// makeDir writes its path to state.
func (l *Lab) makeDir(state io.Writer) error {
	var err error
	temporary := l.opts.Dir == ""
	if temporary && l.opts.Loopback {
		if l.dir, err = os.MkdirTemp("", "causeway-lab-"); err != nil {
			return err
		}
	} else if temporary {
		// TMPDIR may be private, but other users must be able to enter.
		l.dir = filepath.Join("/tmp", "causeway-"+l.id)
	} else if l.dir, err = filepath.Abs(l.opts.Dir); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(l.dir, InfoFile)); err == nil {
		return fmt.Errorf("directory %s already holds a lab", l.dir)
	}
	if err := os.MkdirAll(l.logDir(), 0o755); err != nil {
		return err
	}
	if err := os.Chmod(l.dir, 0o755); err != nil {
		return err
	}
	if !l.opts.Loopback {
		if err := open(l.dir); err != nil {
			return err
		}
	}
	if temporary && state != nil {
		if _, err := io.WriteString(state, l.dir); err != nil {
			return err
		}
	}
	l.onClose(func() error {
		if temporary {
			return os.RemoveAll(l.dir)
		}
		return l.removeAllButLogs()
	})
	l.setInfo(func(i *Info) { i.ID, i.Dir, i.PID, i.Loopback = l.id, l.dir, os.Getpid(), l.opts.Loopback })
	return nil
}

// open returns an error unless every user can enter dir.
func open(dir string) error {
	for d := dir; ; d = filepath.Dir(d) {
		st, err := os.Stat(d)
		if err != nil {
			return err
		}
		if st.Mode()&0o001 == 0 {
			return fmt.Errorf("use directory %s: the users of the hosts cannot pass %s", dir, d)
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}

func (l *Lab) logDir() string { return filepath.Join(l.dir, "logs") }

func (l *Lab) removeAllButLogs() error {
	var errs []error
	for _, name := range []string{
		InfoFile, "ca.pem", "bin", "home", "ssh", "postgres", "npm", "git", "editor", "relay.sock",
	} {
		errs = append(errs, os.RemoveAll(filepath.Join(l.dir, name)))
	}
	return errors.Join(errs...)
}

// Cleanup removes the remains of labs that ended without Close. It does not touch
// labs that are up.
func Cleanup() error {
	ids := map[string]bool{}
	for _, dir := range []string{"/run/netns", "/etc/netns", stateDir} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			id, _, _ := strings.Cut(e.Name(), "-")
			if isID(id) {
				ids[id] = true
			}
		}
	}
	var errs []error
	for id := range ids {
		errs = append(errs, cleanup(id))
	}
	return errors.Join(errs...)
}

func isID(s string) bool {
	hexed, ok := strings.CutPrefix(s, prefix)
	_, err := hex.DecodeString(hexed)
	return ok && err == nil && len(hexed) == 6
}

func cleanup(id string) error {
	path := filepath.Join(stateDir, id)
	state, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return removeHosts(id)
	}
	if err != nil {
		return err
	}
	defer state.Close()
	if unix.Flock(int(state.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // alive
	}
	dir, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	err = removeHosts(id)
	if len(dir) > 0 {
		err = errors.Join(err, os.RemoveAll(string(dir)))
	}
	return errors.Join(err, os.Remove(path))
}

// removeHosts ends all processes in the namespaces of a lab and removes the
// namespaces. It finds both by the lab's id.
func removeHosts(id string) error {
	names, err := filepath.Glob("/run/netns/" + id + "-*")
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range names {
		if err := killAll(path); err != nil {
			errs = append(errs, err)
		}
		if out, err := exec.Command("ip", "netns", "del", filepath.Base(path)).CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("remove namespace: %w: %s", err, strings.TrimSpace(string(out))))
		}
	}
	etc, _ := filepath.Glob("/etc/netns/" + id + "-*")
	for _, dir := range etc {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// killAll kills the processes in a namespace until there are none.
func killAll(nsPath string) error {
	var want unix.Stat_t
	if err := unix.Stat(nsPath, &want); err != nil {
		return fmt.Errorf("stat namespace %s: %w", nsPath, err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		pids := processesIn(want)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("end processes of %s: still there: %v", filepath.Base(nsPath), pids)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond) // no event reports the end of another process's child
	}
}

func processesIn(ns unix.Stat_t) []int {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	var pids []int
	for _, link := range links {
		var st unix.Stat_t
		if unix.Stat(link, &st) != nil || st.Ino != ns.Ino || st.Dev != ns.Dev {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(link, "/proc/%d/", &pid); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
