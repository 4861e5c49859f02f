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

// Relay copies between a and b until both directions have ended, and closes both.
// When one direction ends, Relay passes the end on as a half-close, and the other
// direction goes on. An error in either direction, or the end of ctx, resets both
// connections. Relay returns nil if both directions ended in order.
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

// abortive tells the system to reset c, not to end it in order, if this process is
// killed: data that was cut off must not look complete.
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

// endDirection tells dst that nothing more will be written to it.
func (r *relay) endDirection(dst net.Conn) {
	hc, ok := dst.(halfCloser)
	if !ok {
		// This kind of connection has no half-close. Its end ends both directions.
		r.mu.Lock()
		r.close()
		r.mu.Unlock()
		return
	}
	// If the peer has gone already, this fails with ENOTCONN. The other direction
	// finds out whether that matters.
	if err := hc.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		r.fail(err)
	}
}

// ChunkReader is a connection that passes its own buffers on.
type ChunkReader interface {
	// ReadChunk returns the next bytes, or an error as Read does. The caller becomes
	// the owner of the chunk.
	ReadChunk() (*Chunk, error)
}

// ChunkWriter is a connection that says in advance how many bytes it takes, so that a
// stalled flow holds no buffer.
type ChunkWriter interface {
	// WaitWritable blocks until at least a byte can be written and returns how
	// many bytes can, at most MaxChunk.
	WaitWritable() (int, error)
	// WriteChunk writes c whole and becomes its owner.
	WriteChunk(c *Chunk) error
}

// readFunc reads at most limit bytes. It takes a chunk from the pool only once there
// is something to read, so that an idle flow holds no buffer.
type readFunc func(limit int) (*Chunk, error)

// boundedReader is a connection whose own method does what a readFunc does.
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
