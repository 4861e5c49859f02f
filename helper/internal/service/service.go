// Package service lets the user's own service manager start the helper at each login:
// systemd on Linux, launchd on macOS. It needs no rights beyond the user's.
package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Spec is what the service runs.
type Spec struct {
	Program string   // an absolute path
	Args    []string // without the program
}

// State is what the service manager says.
type State struct {
	Installed bool
	Running   bool
	File      string // that describes the service to the manager
	Log       string // the command that shows the service's log
}

// ErrNone says that this machine has no service manager that Causeway knows.
var ErrNone = errors.New("this machine has no service manager for users that Causeway knows (systemd or launchd): " +
	`start "causeway gateway --listen 127.0.0.1:7741" at login in another way`)

// undoTime is how long the clean-up after a failed installation may take.
const undoTime = 10 * time.Second

// manager is the service manager of a system.
type manager struct {
	file    func() (string, error)
	text    func(Spec) string
	start   [][]string // commands that make the manager read the file and start the service; {file} and {uid} are replaced
	stop    [][]string // commands that stop it, while the file is still there
	forget  [][]string // commands for when the file is gone
	running []string   // succeeds if the service runs
	log     string
}

// Install writes the service's file, and starts the service. An earlier service is
// replaced.
func Install(ctx context.Context, spec Spec) error {
	m, file, err := find()
	if err != nil {
		return err
	}
	for _, part := range append([]string{spec.Program}, spec.Args...) {
		if strings.ContainsAny(part, "\n\r\x00") {
			return fmt.Errorf("%q cannot be part of a service", part)
		}
	}
	if _, err := os.Stat(file); err == nil {
		_ = run(ctx, m.stop, file)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("install the service: %w", err)
	}
	if err := os.WriteFile(file, []byte(m.text(spec)), 0o600); err != nil {
		return fmt.Errorf("install the service: %w", err)
	}
	if err := run(ctx, m.start, file); err != nil {
		// The user may have interrupted it.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer cancel()
		_ = run(undo, m.stop, file)
		_ = os.Remove(file)
		_ = run(undo, m.forget, file)
		return fmt.Errorf("start the service: %w", err)
	}
	return nil
}

// Remove stops the service and removes its file. It succeeds if there is none.
func Remove(ctx context.Context) error {
	m, file, err := find()
	if err != nil {
		return err
	}
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		_ = run(ctx, m.stop, file) // somebody may have removed the file alone
		return nil
	}
	stopped := run(ctx, m.stop, file)
	if err := os.Remove(file); err != nil {
		return errors.Join(stopped, fmt.Errorf("remove the service: %w", err))
	}
	return errors.Join(stopped, run(ctx, m.forget, file))
}

// Status asks the service manager.
func Status(ctx context.Context) (State, error) {
	m, file, err := find()
	if err != nil {
		return State{}, err
	}
	s := State{File: file, Log: m.log}
	if _, err := os.Stat(file); err == nil {
		s.Installed = true
		s.Running = run(ctx, [][]string{m.running}, file) == nil
	}
	return s, nil
}

func find() (manager, string, error) {
	m, ok := ours()
	if !ok {
		return manager{}, "", ErrNone
	}
	file, err := m.file()
	return m, file, err
}

// run executes commands until one fails. The error has what the command printed.
func run(ctx context.Context, commands [][]string, file string) error {
	fill := strings.NewReplacer("{file}", file, "{uid}", fmt.Sprint(os.Getuid()))
	for _, words := range commands {
		args := make([]string, len(words))
		for i, w := range words {
			args[i] = fill.Replace(w)
		}
		out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			return ErrNone
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
