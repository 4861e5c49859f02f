package hostnet

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// request replaces our whole block. Requests and answers are JSON, one a line.
type request struct {
	Hosts []Entry `json:"hosts"`
}

type answer struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// Options of Serve.
type Options struct {
	// HostsPath is the file to edit; "" means DefaultPath. A command that may
	// run as root must not take it from its caller.
	HostsPath string
	// Poll is how often the file is looked at; 0 means once a second.
	Poll time.Duration
}

// Serve is the whole of the privileged subcommand: it removes the blocks of
// processes that are no more, answers the requests on stdin, puts our block
// back when somebody rewrites the file, and removes it when stdin ends or the
// process is told to terminate. It changes the process's handling of signals.
// Returning on a signal, it leaves a reader of stdin behind.
func Serve(stdin io.Reader, stdout io.Writer, o Options) (err error) {
	outlive()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	defer signal.Stop(stop)
	id, err := identity()
	if err != nil {
		return err
	}
	if o.HostsPath == "" {
		o.HostsPath = DefaultPath
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	if err := Cleanup(o.HostsPath); err != nil {
		_ = json.NewEncoder(stdout).Encode(answer{Error: err.Error()})
		return err
	}
	b := &block{path: o.HostsPath, id: id}
	defer func() { err = errors.Join(err, b.remove()) }()
	return b.serve(stdin, stdout, stop, o.Poll)
}

// block is our part of the file at path.
type block struct {
	path    string
	id      string
	entries []Entry
	seen    os.FileInfo // of the file when our block was last known to be in it
}

func (b *block) serve(stdin io.Reader, stdout io.Writer, stop <-chan os.Signal, poll time.Duration) error {
	quit := make(chan struct{})
	defer close(quit)
	lines := readLines(stdin, quit)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	out := json.NewEncoder(stdout)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return nil
			}
			reply := answer{OK: true}
			if err := b.handle(line); err != nil {
				reply = answer{Error: err.Error()}
			}
			if err := out.Encode(reply); err != nil {
				return nil // nobody reads: the caller is gone
			}
		case <-tick.C:
			b.restore()
		case <-stop:
			return nil
		}
	}
}

// readLines sends each line until stdin ends or a line is longer than a
// request may be.
func readLines(stdin io.Reader, quit <-chan struct{}) <-chan []byte {
	lines := make(chan []byte)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(stdin)
		s.Buffer(make([]byte, 0, 4096), maxRequest)
		for s.Scan() {
			select {
			case lines <- append([]byte(nil), s.Bytes()...):
			case <-quit:
				return
			}
		}
	}()
	return lines
}

func (b *block) handle(line []byte) error {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if err := check(r.Hosts); err != nil {
		return fmt.Errorf("check request: %w", err)
	}
	b.entries = r.Hosts
	return b.write()
}

func (b *block) write() error {
	info, err := update(b.path, func(old []byte) []byte { return Edit(old, b.entries, b.id) })
	if err == nil {
		b.seen = info
	}
	return err
}

// restore puts the block back if the file changed. A failure is tried again
// at the next look, since seen stays as it was.
func (b *block) restore() {
	if len(b.entries) == 0 {
		return
	}
	now, err := os.Stat(b.path)
	if err == nil && b.seen != nil && os.SameFile(now, b.seen) &&
		now.ModTime().Equal(b.seen.ModTime()) && now.Size() == b.seen.Size() {
		return
	}
	_ = b.write()
}

func (b *block) remove() error {
	var err error
	b.entries = nil
	for range 5 {
		if err = b.write(); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("remove hosts block: %w", err)
}
