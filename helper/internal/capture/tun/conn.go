package tun

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// conn is a program's end of a flow. It takes a buffer only once there is data for
// it. One goroutine may read and one may write. On UDP each chunk is a datagram.
type conn struct {
	ep       tcpip.Endpoint
	wq       *waiter.Queue
	t        tuple
	readable chan struct{}
	writable chan struct{}
	done     chan struct{} // closed by Close and Reset
	entries  [2]waiter.Entry
	closing  sync.Once

	share            func() int // the size that a buffer may have now; nil: buffers keep their size
	received, toSend int        // the sizes of the buffers; each belongs to its goroutine
}

var (
	_ net.Conn         = (*conn)(nil)
	_ netx.ChunkWriter = (*conn)(nil)
)

// newConn becomes the owner of ep.
func newConn(ep tcpip.Endpoint, wq *waiter.Queue, t tuple) *conn {
	c := &conn{ep: ep, wq: wq, t: t, done: make(chan struct{})}
	const ends = waiter.EventHUp | waiter.EventErr
	c.entries[0], c.readable = waiter.NewChannelEntry(waiter.ReadableEvents | ends)
	c.entries[1], c.writable = waiter.NewChannelEntry(waiter.WritableEvents | ends)
	wq.EventRegister(&c.entries[0])
	wq.EventRegister(&c.entries[1])
	return c
}

// ReadUpTo waits for something to read and returns at most limit bytes of it.
func (c *conn) ReadUpTo(limit int) (*netx.Chunk, error) {
	for {
		if c.ep.Readiness(waiter.ReadableEvents|waiter.EventHUp|waiter.EventErr) != 0 {
			waiting, _ := c.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
			chunk := netx.NewChunk(min(max(waiting, 1), limit))
			room := tcpip.SliceWriter(chunk.Room()[:min(max(waiting, 1), limit)])
			result, err := c.ep.Read(&room, tcpip.ReadOptions{})
			if err == nil {
				chunk.Grow(result.Count)
				c.fitReceived()
				return chunk, nil
			}
			chunk.Release()
			if _, ok := err.(*tcpip.ErrWouldBlock); !ok {
				return nil, goError(err)
			}
		}
		select {
		case <-c.readable:
		case <-c.done:
			return nil, net.ErrClosed
		}
	}
}

// fit gives a new connection its buffers.
func (c *conn) fit() {
	c.fitReceived()
	c.fitToSend()
}

func (c *conn) fitReceived() {
	if c.changed(&c.received) {
		c.ep.SocketOptions().SetReceiveBufferSize(int64(c.received), true)
	}
}

func (c *conn) fitToSend() {
	if c.changed(&c.toSend) {
		c.ep.SocketOptions().SetSendBufferSize(int64(c.toSend), true)
	}
}

// changed sets size to the current share, if the two differ by a factor of 2 or more.
func (c *conn) changed(size *int) bool {
	if c.share == nil {
		return false
	}
	now := c.share()
	if now < 2**size && *size < 2*now {
		return false
	}
	*size = now
	return true
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	chunk, err := c.ReadUpTo(min(len(b), netx.MaxChunk))
	if err != nil {
		return 0, err
	}
	defer chunk.Release()
	return copy(b, chunk.Bytes()), nil
}

// WaitWritable waits until the program's side has room.
func (c *conn) WaitWritable() (int, error) {
	for c.ep.Readiness(waiter.WritableEvents|waiter.EventHUp|waiter.EventErr) == 0 {
		if err := c.waitWritable(); err != nil {
			return 0, err
		}
	}
	return netx.MaxChunk, nil
}

func (c *conn) waitWritable() error {
	select {
	case <-c.writable:
		return nil
	case <-c.done:
		return net.ErrClosed
	}
}

// WriteChunk writes all of chunk and releases it.
func (c *conn) WriteChunk(chunk *netx.Chunk) error {
	defer chunk.Release()
	_, err := c.Write(chunk.Bytes())
	return err
}

// Write writes all of b.
func (c *conn) Write(b []byte) (int, error) {
	r := bytes.NewReader(b)
	for {
		c.fitToSend()
		_, err := c.ep.Write(r, tcpip.WriteOptions{})
		if _, ok := err.(*tcpip.ErrWouldBlock); err != nil && !ok {
			return len(b) - r.Len(), goError(err)
		}
		if r.Len() == 0 {
			return len(b), nil
		}
		if err := c.waitWritable(); err != nil {
			return len(b) - r.Len(), err
		}
	}
}

// CloseWrite ends this direction in order.
func (c *conn) CloseWrite() error {
	if err := c.ep.Shutdown(tcpip.ShutdownWrite); err != nil {
		return goError(err)
	}
	return nil
}

// Reset aborts the connection in both directions.
func (c *conn) Reset(string) { c.end(c.ep.Abort) }

// Close ends the connection in order, unless it has ended.
func (c *conn) Close() error {
	c.end(c.ep.Close)
	return nil
}

func (c *conn) end(how func()) {
	c.closing.Do(func() {
		c.wq.EventUnregister(&c.entries[0])
		c.wq.EventUnregister(&c.entries[1])
		close(c.done)
		how()
	})
}

// LocalAddr is the address that the program connected to.
func (c *conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.t.server) }

// RemoteAddr is the program's address.
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.t.client) }

// There are no deadlines: Reset ends calls that wait.

func (c *conn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *conn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *conn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// goError returns the error that a socket of the system would return.
func goError(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrClosedForReceive:
		return io.EOF
	case *tcpip.ErrConnectionReset, *tcpip.ErrAborted, *tcpip.ErrConnectionAborted:
		return syscall.ECONNRESET
	case *tcpip.ErrClosedForSend:
		return syscall.EPIPE
	case *tcpip.ErrNotConnected:
		return syscall.ENOTCONN
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	}
	return errors.New(err.String())
}
