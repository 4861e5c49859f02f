package tunnel

import (
	"encoding/binary"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

// WaitWritable blocks until the peer has granted credit, and returns how many bytes
// should be written now.
func (st *Stream) WaitWritable() (int, error) {
	most := maxData
	if brief := st.s.carrier.Brief(); brief > 0 {
		most = min(max(brief, initialWindow), maxData)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for {
		switch {
		case st.err != nil:
			return 0, st.err
		case st.writeEnded:
			return 0, errWriteEnded
		case st.writeDeadline.passed():
			return 0, errDeadline
		case st.credit > 0:
			return min(st.credit, most), nil
		}
		st.cond.Wait()
	}
}

// WriteChunk writes c whole and releases it.
func (st *Stream) WriteChunk(c *netx.Chunk) error {
	defer c.Release()
	st.writeMu.Lock()
	defer st.writeMu.Unlock()
	if st.datagrams() || c.Len() > st.available() {
		_, err := st.write(c.Bytes())
		return err
	}
	return st.sendData(c)
}

// Write implements net.Conn. It blocks until the peer has granted credit for
// all of p, except on a UDP flow.
func (st *Stream) Write(p []byte) (int, error) {
	st.writeMu.Lock()
	defer st.writeMu.Unlock()
	return st.write(p)
}

func (st *Stream) write(p []byte) (int, error) {
	if st.datagrams() {
		return st.writeDatagram(p, 0)
	}
	total := 0
	for {
		n, err := st.WaitWritable()
		if err != nil || len(p) == 0 {
			return total, err
		}
		n = min(n, len(p))
		c := netx.NewChunk(n)
		copy(c.Room(), p[:n])
		c.Grow(n)
		err = st.sendData(c)
		c.Release()
		if err != nil {
			return total, err
		}
		total += n
		if p = p[n:]; len(p) == 0 {
			return total, nil
		}
	}
}

// WriteToPort is Write for a datagram of another port of the target's host: for the
// acceptor, it came from that port, for the opener, it goes there. The opener may use
// the ports from which datagrams have come. The peer may be of a version that does not
// know such datagrams: WriteToPort sends nothing then.
func (st *Stream) WriteToPort(p []byte, port uint16) error {
	if !st.ports.Load() {
		return nil
	}
	st.writeMu.Lock()
	defer st.writeMu.Unlock()
	_, err := st.writeDatagram(p, port)
	return err
}

// Refused tells the opener of an answered UDP flow that the target has refused a
// datagram, unless the opener is of a version that does not know that.
func (st *Stream) Refused() error {
	if !st.ports.Load() {
		return nil
	}
	return st.send(msgRefused, nil)
}

// writeDatagram sends a datagram; port is 0 if it is of the target's own port.
func (st *Stream) writeDatagram(p []byte, port uint16) (int, error) {
	if len(p) > netx.MaxDatagram {
		return 0, errTooLong
	}
	st.mu.Lock()
	err, room := st.err, st.credit >= len(p)
	if st.writeEnded && err == nil {
		err = errWriteEnded
	}
	st.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if !room {
		return len(p), nil // dropped, as a full queue of a network would
	}
	c := netx.NewChunk(max(len(p), 1))
	defer c.Release()
	copy(c.Room(), p)
	c.Grow(len(p))
	c.Port = port
	return len(p), st.sendData(c)
}

func (st *Stream) available() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.credit
}

// sendData spends the credit for c and sends it. If no credit is left, it says so.
func (st *Stream) sendData(c *netx.Chunk) error {
	n := c.Len()
	st.mu.Lock()
	if err := st.err; err != nil {
		st.mu.Unlock()
		return err
	}
	if st.writeEnded {
		st.mu.Unlock()
		return errWriteEnded
	}
	st.credit -= n
	t := msgData
	if st.credit == 0 {
		t = msgStarved
	}
	st.mu.Unlock()
	if c.Port != 0 {
		b := binary.BigEndian.AppendUint16(make([]byte, 0, portSize+n), c.Port)
		return st.writeError(st.send(msgPort, append(b, c.Bytes()...)))
	}
	_, err := st.raw.Write(c.Framed(header(t, n)))
	return st.writeError(err)
}

// writeError prefers the reason why the stream ended over the error of the multiplexer.
func (st *Stream) writeError(err error) error {
	if err == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err != nil {
		return st.err
	}
	return st.s.closedError(err)
}
