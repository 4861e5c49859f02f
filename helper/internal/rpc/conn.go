package rpc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/jsonrpc2"
)

const (
	maxConcurrent = 32             // calls that a Conn serves at once
	maxInFlight   = 2 * MaxMessage // bytes of their parameters
	maxID         = 256            // bytes of a call's identifier
	writeGrace    = time.Second    // from a failed write to the end of the conversation
)

// Error is a failure with one of the codes of this protocol.
type Error struct {
	Code    int64
	Message string
}

func (e *Error) Error() string { return e.Message }

// method serves one method of a Conn.
type method func(ctx context.Context, params json.RawMessage) (any, error)

// Conn is one side of a conversation over a pipe.
type Conn struct {
	pipe    Pipe
	rpc     *jsonrpc2.Conn
	methods map[string]method
	notify  func(method string, params json.RawMessage) // may be nil
	wg      sync.WaitGroup
	ids     atomic.Uint64
	ready   chan struct{}
	inbox   chan []byte // JSON for jsonrpc2's read loop
	done    chan struct{}
	once    sync.Once
	err     error // why the conversation ended; set before done is closed
	exited  atomic.Bool

	mu       sync.Mutex
	pending  map[string]context.CancelFunc // calls being served, by id
	inFlight int                           // bytes of their parameters
	link     *Link                         // the newest one
	offered  []*Link                       // by the requests that were read but not handled, in order
}

// newConn starts the conversation. The methods are served until the pipe ends
// or Close.
func newConn(p Pipe, methods map[string]method, notify func(string, json.RawMessage)) *Conn {
	c := &Conn{pipe: p, methods: methods, notify: notify,
		ready: make(chan struct{}), inbox: make(chan []byte), done: make(chan struct{}), pending: make(map[string]context.CancelFunc)}
	c.rpc = jsonrpc2.NewConn(context.Background(), stream{c}, c, jsonrpc2.SetLogger(log.New(io.Discard, "", 0)))
	c.wg.Go(c.readLoop)
	return c
}

// Done is closed when the conversation has ended; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Ready is closed when the other side has called initialize with success.
func (c *Conn) Ready() <-chan struct{} { return c.ready }

// Err returns why the conversation ended, or nil if the other side ended it in order.
func (c *Conn) Err() error { return c.err }

// Close ends the conversation and cancels the calls that it serves.
func (c *Conn) Close() error {
	c.end(nil)
	_ = c.rpc.Close()
	c.mu.Lock()
	for _, cancel := range c.pending {
		cancel()
	}
	c.mu.Unlock()
	return nil
}

// Exited reports whether the other side has sent NotifyExit: the end of the
// conversation also ends its session.
func (c *Conn) Exited() bool { return c.exited.Load() }

// Wait blocks until every call that the Conn serves has returned.
func (c *Conn) Wait() { c.wg.Wait() }

func (c *Conn) end(err error) {
	c.once.Do(func() {
		c.mu.Lock()
		c.err = err
		close(c.done)
		c.mu.Unlock()
		_ = c.pipe.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.link != nil {
			c.link.end(cmp.Or(err, io.ErrUnexpectedEOF))
		}
		for _, cancel := range c.pending {
			cancel()
		}
	})
}

// readLoop separates messages from frames. A frame belongs to the link whose
// request came last before it on the pipe, so readLoop makes the links.
func (c *Conn) readLoop() {
	for {
		b, isFrame, err := c.pipe.Read()
		if err != nil {
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil
			}
			c.end(err)
			return
		}
		if isFrame {
			if l := c.currentLink(); l != nil {
				l.deliver(b)
			}
			continue
		}
		var peek struct {
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
		}
		if err := json.Unmarshal(b, &peek); err != nil {
			c.end(fmt.Errorf("message is not JSON-RPC: %w", err))
			return
		}
		if peek.Method == NotifyExit {
			c.exited.Store(true) // here, since the pipe may end at once
			continue
		}
		if peek.Method == MethodLinkOpen {
			var p LinkParams
			_ = json.Unmarshal(peek.Params, &p) // the method's reply says if something is wrong
			l := c.newLink(p.Kind)
			c.mu.Lock()
			c.offered = append(c.offered, l) // at most two: the inbox holds one message
			c.mu.Unlock()
		}
		select {
		case c.inbox <- append([]byte(nil), b...):
		case <-c.done:
			return
		}
	}
}

// newLink makes the link that later frames belong to.
func (c *Conn) newLink(kind string) *Link {
	l := newLink(c.pipe, kind)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		c.link.end(errors.New("another link took its place"))
	}
	c.link = l
	return l
}

func (c *Conn) currentLink() *Link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// closeLink ends the link, if there is one, for the other side's reason.
func (c *Conn) closeLink(reason string) {
	if l := c.currentLink(); l != nil {
		l.end(fmt.Errorf("%.200q", reason))
	}
}

// OpenLink offers the other side a link of this kind, and returns it when the other
// side has taken it.
func (c *Conn) OpenLink(ctx context.Context, kind string) (*Link, error) {
	l := c.newLink(kind)
	if err := c.Call(ctx, MethodLinkOpen, LinkParams{Kind: kind}, nil); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// Call calls a method of the other side. If ctx ends, Call returns its cause and
// tells the other side, also if that reads nothing. An answer that result cannot
// take is an error.
func (c *Conn) Call(ctx context.Context, name string, params, result any) error {
	id := jsonrpc2.ID{Num: c.ids.Add(1)}
	var raw json.RawMessage
	called := make(chan error, 1)
	go func() { // ends with the conversation at the latest
		called <- c.rpc.Call(ctx, name, params, &raw, jsonrpc2.PickID(id))
	}()
	var err error
	select {
	case err = <-called:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		go func() {
			number, _ := json.Marshal(id)
			_ = c.rpc.Notify(context.Background(), MethodCancel, CancelParams{ID: number})
		}()
		return context.Cause(ctx)
	}
	var e *jsonrpc2.Error
	switch {
	case errors.As(err, &e):
		return &Error{Code: e.Code, Message: e.Message}
	case err != nil:
		select {
		case <-c.done:
		default:
			return fmt.Errorf("call %s: %w", name, err)
		}
		if c.err != nil {
			return fmt.Errorf("call %s: %w", name, c.err)
		}
		return fmt.Errorf("call %s: the other side has ended", name)
	case result == nil || len(raw) == 0:
		return nil
	}
	if err := json.Unmarshal(raw, result); err != nil {
		return fmt.Errorf("call %s: the answer is that of another version: %w", name, err)
	}
	return nil
}

// Notify sends a notification.
func (c *Conn) Notify(name string, params any) error {
	return c.rpc.Notify(context.Background(), name, params)
}

// stream is the JSON half of a Conn's pipe, as jsonrpc2 wants it.
type stream struct{ c *Conn }

func (s stream) ReadObject(v any) error {
	select {
	case b := <-s.c.inbox:
		if err := json.Unmarshal(b, v); err != nil {
			err = fmt.Errorf("message is not JSON-RPC: %w", err)
			s.c.end(err)
			return err
		}
		return nil
	case <-s.c.done:
		return io.EOF
	}
}

func (s stream) WriteObject(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := s.c.pipe.WriteMessage(b); err != nil {
		// The read loop often knows a better reason: it sees the other side end.
		select {
		case <-s.c.done:
		case <-time.After(writeGrace):
			s.c.end(err)
		}
		return err
	}
	return nil
}

func (s stream) Close() error { return nil }
