//go:build linux

package hostnet

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const unprivileged = 54321

// asUser prepares the "sudoer" role for a user without rights, whose sudo is in
// the folder bin.
func asUser(t *testing.T, path, bin string) *exec.Cmd {
	t.Helper()
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(bin), filepath.Dir(filepath.Dir(path))} {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chown(bin, 0, unprivileged), os.Chmod(bin, 0o750)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir = "/"
	cmd.Env = []string{"HOSTNET_TEST_ROLE=sudoer", "HOSTNET_TEST_PATH=" + path, "HOSTNET_TEST_SELF=" + filepath.Join(bin, "self"),
		"PATH=" + bin, "GORACE=atexit_sleep_ms=0"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}}
	return cmd
}

// A user who may not write the file and whose sudo asks for a password is told so.
func TestSudoRefused(t *testing.T) {
	path, bin := hostsFile(t, original), t.TempDir()
	cmd := asUser(t, path, bin)
	out, err := cmd.Output()
	if want := "cannot edit " + path + ": not writable, and there is no sudo\n"; err != nil || string(out) != want {
		t.Errorf("%q %v, want %q", out, err, want)
	}
	sudo := "#!/bin/sh\necho 'a lecture' >&2\necho 'sudo: a password is required' >&2\necho 'sudo: some advice' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "sudo"), []byte(sudo), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err = asUser(t, path, bin).Output()
	if want := "cannot edit " + path + ": not writable, and sudo -n is refused: sudo: a password is required\n"; err != nil || string(out) != want {
		t.Errorf("%q %v, want %q", out, err, want)
	}
}

// A user whom sudo lets pass edits the file, and a killed helper leaves nothing.
func TestSudo(t *testing.T) {
	path, bin := hostsFile(t, original), t.TempDir()
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	cmd := asUser(t, path, bin)
	for name, mode := range map[string]os.FileMode{"sudo": 0o755 | os.ModeSetuid, "self": 0o755} {
		file := filepath.Join(bin, name)
		if err := errors.Join(os.WriteFile(file, binary, 0o755), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "<nil>\n" {
		t.Errorf("%q %v", line, err)
	}
	if got := read(t, path); !strings.Contains(got, "db.test") {
		t.Errorf("%q", got)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "block removed", func() bool { return read(t, path) == original })
}
