package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sourcegraph/jsonrpc2"
)

// Handle implements jsonrpc2.Handler. It must not block: it runs in the read loop.
func (c *Conn) Handle(ctx context.Context, _ *jsonrpc2.Conn, req *jsonrpc2.Request) {
	var params json.RawMessage
	if req.Params != nil {
		params = *req.Params
	}
	if req.Method == MethodLinkOpen {
		ctx = context.WithValue(ctx, offeredLink{}, c.nextOffered())
	}
	if req.Notif {
		switch {
		case req.Method == MethodCancel:
			c.cancel(params)
		case c.notify != nil:
			c.notify(req.Method, params)
		}
		return
	}
	key := req.ID.String()
	if len(key) > maxID {
		c.end(fmt.Errorf("the identifier of a call has %d bytes, at most %d are allowed", len(key), maxID))
		return
	}
	f, ok := c.methods[req.Method]
	if !ok {
		c.reply(req.ID, nil, &Error{jsonrpc2.CodeMethodNotFound, fmt.Sprintf("there is no method %.100q", req.Method)})
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	if !c.begin(key, len(params), cancel) {
		cancel()
		c.reply(req.ID, nil, &Error{CodeBusy, "too many calls at once"})
		return
	}
	go func() {
		defer c.wg.Done()
		defer func() {
			cancel()
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.pending, key)
			c.inFlight -= len(params)
		}()
		result, err := f(ctx, params)
		if err != nil && ctx.Err() != nil {
			err = &Error{CodeCancelled, "cancelled"}
		}
		var after func()
		if d, ok := result.(deferred); ok {
			result, after = d.result, d.after
		}
		c.reply(req.ID, result, err)
		if after != nil {
			after()
		}
	}()
}

// begin counts a call. It returns false if there are too many calls, or if the
// conversation has ended. A call with an identifier in use ends the conversation.
func (c *Conn) begin(key string, size int, cancel context.CancelFunc) bool {
	c.mu.Lock()
	_, twice := c.pending[key]
	fits := len(c.pending) < maxConcurrent && c.inFlight+size <= maxInFlight
	select {
	case <-c.done: // Wait may be waiting already: nothing begins any more
		fits = false
	default:
	}
	if fits && !twice {
		c.pending[key] = cancel
		c.inFlight += size
		c.wg.Add(1)
	}
	c.mu.Unlock()
	if twice {
		c.end(fmt.Errorf("two calls at once have the identifier %s", key))
	}
	return fits && !twice
}

// offeredLink is the key of the link that a request offers, in its context.
type offeredLink struct{}

// nextOffered returns the link of the oldest request that was not handled yet:
// requests are handled in the order in which they are read.
func (c *Conn) nextOffered() *Link {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.offered[0]
	c.offered = c.offered[1:]
	return l
}

// deferred is a result, and a function to call after the result was sent.
type deferred struct {
	result any
	after  func()
}

func (c *Conn) cancel(params json.RawMessage) {
	var p CancelParams
	var id jsonrpc2.ID
	if json.Unmarshal(params, &p) != nil || json.Unmarshal(p.ID, &id) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel, ok := c.pending[id.String()]; ok {
		cancel()
	}
}

func (c *Conn) reply(id jsonrpc2.ID, result any, err error) {
	if err == nil {
		_ = c.rpc.Reply(context.Background(), id, result)
		return
	}
	e := &Error{Code: jsonrpc2.CodeInternalError, Message: err.Error()}
	_ = errors.As(err, &e)
	_ = c.rpc.ReplyWithError(context.Background(), id, &jsonrpc2.Error{Code: e.Code, Message: e.Message})
}
