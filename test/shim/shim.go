//go:build linux

// Package shim drives two helpers as the extensions do, and passes the frames of
// a command link between them. Tests use it in place of an editor, and can cut the
// link. See helper/internal/rpc for the protocol.
package shim

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Helper is a helper that runs as a child.
type Helper struct {
	Cmd *exec.Cmd
	// Log has the text that it wrote to stderr.
	Log *Log
	// Version is the version of the helper that answered. A helper in the
	// background answers, if there is one.
	Version string
	in      io.WriteCloser
	done    chan struct{}

	mu      sync.Mutex
	next    int
	pending map[int]func(reply)
	frames  func([]byte) // of the link in use; called by the reader
	status  json.RawMessage
}

type reply struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *Error          `json:"error"`
}

// Error is a helper's error answer.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Log collects text.
type Log struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Start starts cmd, which must be a helper with --stdio, and sends initialize.
func Start(ctx context.Context, cmd *exec.Cmd) (*Helper, error) {
	h := &Helper{Cmd: cmd, Log: new(Log), done: make(chan struct{}), pending: map[int]func(reply){}}
	cmd.Stderr = h.Log
	var err error
	if h.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go h.read(bufio.NewReaderSize(out, 256<<10))
	hello := map[string]any{"protocol": map[string]int{"min": 1, "max": 1}, "client": map[string]string{"name": "test", "version": "0"}}
	var told struct{ Helper struct{ Version string } }
	if err := h.Call(ctx, "initialize", hello, &told); err != nil {
		h.Kill()
		return nil, fmt.Errorf("%w\n%s", err, h.Log)
	}
	h.Version = told.Helper.Version
	return h, nil
}

func (h *Helper) read(r *bufio.Reader) {
	defer func() {
		h.mu.Lock()
		close(h.done)
		h.mu.Unlock()
	}()
	var buf []byte
	for {
		head, err := textproto.NewReader(r).ReadMIMEHeader()
		if err != nil {
			return
		}
		n, err := strconv.Atoi(head.Get("Content-Length"))
		if err != nil {
			return
		}
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return
		}
		if head.Get("Content-Type") == "application/octet-stream" {
			h.mu.Lock()
			f := h.frames
			h.mu.Unlock()
			if f != nil {
				f(buf[:n])
			}
			continue
		}
		var m reply
		if json.Unmarshal(buf[:n], &m) != nil {
			continue
		}
		h.mu.Lock()
		if m.Method == "session/statusChanged" {
			h.status = append(json.RawMessage(nil), m.Params...)
		}
		f := h.pending[m.ID]
		delete(h.pending, m.ID)
		h.mu.Unlock()
		if f != nil && m.Method == "" {
			f(m)
		}
	}
}

func (h *Helper) write(kind string, body []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.in.Write(append(fmt.Appendf(nil, "Content-Length: %d\r\n%s\r\n", len(body), kind), body...))
	return err
}

// begin sends a request. The reader calls then with the reply, in the order of arrival.
func (h *Helper) begin(method string, params any, then func(reply)) error {
	h.mu.Lock()
	h.next++
	id := h.next
	h.pending[id] = then
	h.mu.Unlock()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		return err
	}
	return h.write("", body)
}

func (h *Helper) await(ctx context.Context, method string, got <-chan reply, result any) error {
	select {
	case m := <-got:
		if m.Error != nil {
			return fmt.Errorf("%s: %w", method, m.Error)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-h.done:
		return fmt.Errorf("%s: the helper has ended: %s", method, h.Log)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

// Call calls a method.
func (h *Helper) Call(ctx context.Context, method string, params, result any) error {
	got := make(chan reply, 1)
	if err := h.begin(method, params, func(m reply) { got <- m }); err != nil {
		return err
	}
	return h.await(ctx, method, got, result)
}

// Done is closed when the helper has closed its stdout.
func (h *Helper) Done() <-chan struct{} { return h.done }

// Close closes the helper's stdin and waits for it. Its session ends.
func (h *Helper) Close() error {
	_ = h.in.Close()
	return h.wait()
}

// Kill kills the helper, as the end of its editor does. Its session waits.
func (h *Helper) Kill() {
	_ = h.Cmd.Process.Kill()
	_ = h.wait()
	_ = h.in.Close()
}

func (h *Helper) wait() error {
	select {
	case <-h.done:
	case <-time.After(10 * time.Second):
		_ = h.Cmd.Process.Kill()
		<-h.done
	}
	return h.Cmd.Wait()
}
