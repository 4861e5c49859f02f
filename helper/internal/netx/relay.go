package netx

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// Counter is told of bytes as they pass. It must not block.
type Counter func(n int)

// RelayOptions tunes Relay. The zero value counts nothing.
type RelayOptions struct {
	AToB Counter // may be nil
	BToA Counter // may be nil
}

// Relay copies between a and b until both directions have ended, and closes
// both. An end of one direction is passed on as a half-close; the other goes
// on. An error in either direction resets both connections, as does the end of
// ctx. It returns nil if both directions ended in order.
func Relay(ctx context.Context, a, b net.Conn, o RelayOptions) error {
	r := &relay{a: a, b: b, o: o}
	for _, c := range []net.Conn{a, b} {
		abortive(c, true)
		unpaceLocal(c)
	}
	stop := context.AfterFunc(ctx, func() { r.fail(context.Cause(ctx)) })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.copy(b, a, o.AToB)
	}()
	r.copy(a, b, o.BToA)
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.close()
	}
	return r.err
}

type relay struct {
	a, b  net.Conn
	o     RelayOptions
	mu    sync.Mutex
	err   error // the first failure
	ended bool  // both connections were closed in order
}

// close ends both sides in order. The caller holds r.mu.
func (r *relay) close() {
	r.ended = true
	for _, c := range []net.Conn{r.a, r.b} {
		abortive(c, false)
		_ = c.Close()
	}
}

// abortive has the system reset c, rather than end it in order, should this
// process be killed: what was cut off must not look whole.
func abortive(c net.Conn, on bool) {
	if c, ok := c.(*net.TCPConn); ok {
		seconds := -1
		if on {
			seconds = 0
		}
		_ = c.SetLinger(seconds)
	}
}

// fail records why the relay ends and resets both sides, once.
func (r *relay) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil || r.ended {
		return
	}
	r.err = err
	ResetConn(r.a, err.Error())
	ResetConn(r.b, err.Error())
}

func (r *relay) copy(dst, src net.Conn, count Counter) {
	read, write := reader(src), writer(dst)
	for {
		limit, err := write.wait()
		if err != nil {
			r.fail(err)
			return
		}
		c, err := read(limit)
		if err == io.EOF {
			r.endDirection(dst)
			return
		}
		if err != nil {
			r.fail(err)
			return
		}
		n := c.Len()
		if err := write.chunk(c); err != nil {
			r.fail(err)
			return
		}
		if count != nil {
			count(n)
		}
	}
}

// endDirection passes on that nothing more will be written to dst.
func (r *relay) endDirection(dst net.Conn) {
	hc, ok := dst.(halfCloser)
	if !ok {
		// No half-close on this kind of connection: its end is the end of both.
		r.mu.Lock()
		r.close()
		r.mu.Unlock()
		return
	}
	// A peer that has gone already makes this fail with ENOTCONN; the other
	// direction will tell whether it matters.
	if err := hc.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		r.fail(err)
	}
}

// ChunkReader is a connection that hands over its own buffers.
type ChunkReader interface {
	// ReadChunk returns the next bytes, of which the caller becomes the owner,
	// or an error as Read would.
	ReadChunk() (*Chunk, error)
}

// ChunkWriter is a connection that can say beforehand how much it takes, so
// that a flow that is stalled holds no buffer.
type ChunkWriter interface {
	// WaitWritable blocks until at least a byte can be written and returns how
	// many bytes can, at most MaxChunk.
	WaitWritable() (int, error)
	// WriteChunk writes c whole and becomes its owner.
	WriteChunk(c *Chunk) error
}

// readFunc reads at most limit bytes into a chunk that it takes from the pool
// only once there is something to read: an idle flow holds no buffer.
type readFunc func(limit int) (*Chunk, error)

// boundedReader is a connection that takes a chunk from the pool by itself once
// there is something to read.
type boundedReader interface {
	ReadUpTo(limit int) (*Chunk, error)
}

func reader(c net.Conn) readFunc {
	if br, ok := c.(boundedReader); ok {
		return br.ReadUpTo
	}
	if cr, ok := c.(ChunkReader); ok {
		return func(int) (*Chunk, error) { return cr.ReadChunk() }
	}
	if sc, ok := c.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			if f := rawRead(rc); f != nil {
				return f
			}
		}
	}
	return func(limit int) (*Chunk, error) {
		chunk := NewChunk(limit)
		n, err := c.Read(chunk.Room()[:limit])
		if n > 0 {
			chunk.Grow(n)
			return chunk, nil // an error comes again with the next call
		}
		chunk.Release()
		return nil, err
	}
}

type chunkWriter struct {
	wait  func() (int, error)
	chunk func(*Chunk) error
}

func writer(c net.Conn) chunkWriter {
	if cw, ok := c.(ChunkWriter); ok {
		return chunkWriter{cw.WaitWritable, cw.WriteChunk}
	}
	return chunkWriter{
		wait: func() (int, error) { return MaxChunk, nil },
		chunk: func(chunk *Chunk) error {
			defer chunk.Release()
			_, err := c.Write(chunk.Bytes())
			return err
		},
	}
}
