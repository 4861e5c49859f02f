//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program of the lab that runs until Close.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended
}

// start runs c with its output in a log file. Close sends the signal stop to its
// process group, and after 3 s kills the rest of the group.
func (l *Lab) start(name string, stop syscall.Signal, c *exec.Cmd) (*process, error) {
	p := &process{name: name, log: filepath.Join(l.logDir(), name+".log"), cmd: c, done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = c.Wait() // its log says how it ended
		close(p.done)
	}()
	l.onClose(func() error {
		_ = syscall.Kill(-c.Process.Pid, stop)
		select {
		case <-p.done:
		case <-time.After(3 * time.Second):
		}
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		<-p.done
		return nil
	})
	return p, nil
}

// answers waits until p accepts connections at addr of the host.
func (p *process) answers(ctx context.Context, h *Host, addr string) error {
	return p.ready(ctx, func() error {
		c, err := h.Dial(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// ready calls probe until it succeeds, p ends or ctx does.
func (p *process) ready(ctx context.Context, probe func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := probe()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %w", p.name, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", p.name, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// tail returns the end of the log as an error.
func (p *process) tail() error {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err
	}
	const most = 2000
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return errors.New(strings.TrimSpace(string(text)))
}

// output runs c to its end and returns its stdout.
func output(c *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(c.Args[0]), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
