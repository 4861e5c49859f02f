//go:build linux

// Package load has the traffic of the benchmarks: a server, and the clients that
// measure the way to it.
//
// The first byte of a connection selects the measurement, so that one port and one
// round trip are enough for all.
package load

import (
	"bufio"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

const (
	opDown = 'D' // the server sends without end
	opUp   = 'U' // a meter's settings follow, then bytes; the server answers with the measurement
	opEcho = 'E' // the server sends every byte back, including this one
	opHTTP = 'G' // the G of GET; the server answers answerSize bytes and closes
)

const (
	bufferSize = 256 << 10
	answerSize = 1 << 10
)

// Serve serves ln until it is closed.
func Serve(ln net.Listener) error {
	// The bytes do not compress.
	noise := make([]byte, 4*bufferSize)
	var seed [32]byte
	_, _ = rand.NewChaCha8(seed).Read(noise)
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			serve(c, noise)
		}()
	}
}

func serve(c net.Conn, noise []byte) {
	var op [1]byte
	if _, err := io.ReadFull(c, op[:]); err != nil {
		return
	}
	switch op[0] {
	case opDown:
		for {
			if _, err := c.Write(noise); err != nil {
				return
			}
		}
	case opUp:
		var set [16]byte
		if _, err := io.ReadFull(c, set[:]); err != nil {
			return
		}
		m := meter{
			warm: time.Duration(binary.BigEndian.Uint64(set[:8])),
			span: time.Duration(binary.BigEndian.Uint64(set[8:])),
		}
		b, err := m.read(c)
		if err != nil || binary.Write(c, binary.BigEndian, b) != nil {
			return
		}
		_, _ = io.Copy(io.Discard, c)
	case opEcho:
		buf, n := append(make([]byte, 0, 4<<10), opEcho), 1
		for {
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
			var err error
			buf = buf[:cap(buf)]
			if n, err = c.Read(buf); err != nil {
				return
			}
		}
	case opHTTP:
		r := bufio.NewReader(c)
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
		}
		head := "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\nConnection: close\r\n\r\n"
		_, _ = io.WriteString(c, head+strings.Repeat("x", answerSize))
	}
}

// meter reads a stream and measures its rate after a warm-up.
type meter struct {
	warm, span time.Duration
}

// Bulk is a meter's measurement.
type Bulk struct {
	Bytes int64 `json:"bytes"` // within Nanos, after the warm-up
	Nanos int64 `json:"nanos"`
	Total int64 `json:"total"` // from the first byte on
}

// Rate returns bytes per second.
func (b Bulk) Rate() float64 { return float64(b.Bytes) / (float64(b.Nanos) / 1e9) }

func (m meter) read(r io.Reader) (Bulk, error) {
	var (
		b            Bulk
		first, began time.Time
		base         int64
		buf          = make([]byte, bufferSize)
	)
	for {
		n, err := r.Read(buf)
		if err != nil {
			return b, err
		}
		b.Total += int64(n)
		now := time.Now()
		switch {
		case first.IsZero():
			first = now
		case began.IsZero() && now.Sub(first) >= m.warm:
			began, base = now, b.Total
		case !began.IsZero() && now.Sub(began) >= m.span:
			b.Bytes, b.Nanos = b.Total-base, int64(now.Sub(began))
			return b, nil
		}
	}
}
