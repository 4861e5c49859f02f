package netx

import (
	"math/bits"
	"sync"
)

// Headroom is how many bytes in front of a chunk's content are kept free for a
// frame header, so that framing needs no copy.
const Headroom = 4

// Size classes of chunks: powers of two from 1 KiB to 128 KiB, so that a stalled
// flow takes at most about twice the memory of its content.
const (
	minClass = 10
	maxClass = 17
	// MaxChunk is the most a chunk can hold, in bytes.
	MaxChunk = 1 << maxClass
	// MaxDatagram is enough for any datagram, in bytes.
	MaxDatagram = 64 << 10
)

var chunkPools [maxClass - minClass + 1]sync.Pool

// Chunk is a pooled buffer. It has one owner at a time, who passes it on or
// releases it once.
type Chunk struct {
	buf   []byte // Headroom bytes, then the content and the room after it
	start int    // of the content in buf
	end   int
	class int

	// Port is the port of a datagram's other end, if that is another port than usual for
	// the flow; otherwise 0.
	Port uint16
}

// NewChunk returns an empty chunk with room for at least size bytes, at most MaxChunk.
func NewChunk(size int) *Chunk {
	class := 0
	if size > 1<<minClass {
		class = bits.Len(uint(size-1)) - minClass
	}
	if c, ok := chunkPools[class].Get().(*Chunk); ok {
		c.start, c.end, c.Port = Headroom, Headroom, 0
		return c
	}
	return &Chunk{buf: make([]byte, Headroom+1<<(class+minClass)), start: Headroom, end: Headroom, class: class}
}

// Release hands the chunk back. The caller must not use it afterwards.
func (c *Chunk) Release() { chunkPools[c.class].Put(c) }

// Bytes is the content, valid until Release.
func (c *Chunk) Bytes() []byte { return c.buf[c.start:c.end] }

// Len is the length of the content.
func (c *Chunk) Len() int { return c.end - c.start }

// Cap is the memory that the chunk holds, in bytes.
func (c *Chunk) Cap() int { return len(c.buf) }

// Room is the space behind the content; Grow makes its first n bytes content.
func (c *Chunk) Room() []byte { return c.buf[c.end:] }

// Grow adds the first n bytes of Room to the content.
func (c *Chunk) Grow(n int) { c.end += n }

// Skip drops the first n bytes of the content.
func (c *Chunk) Skip(n int) { c.start += n }

// Framed returns the content with header in front of it, in place. The chunk's
// start must not have moved.
func (c *Chunk) Framed(header [Headroom]byte) []byte {
	copy(c.buf[:Headroom], header[:])
	return c.buf[:c.end]
}
