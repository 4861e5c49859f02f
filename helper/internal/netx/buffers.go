package netx

import "sync"

// BufferSize is the size of a pooled copy buffer, in bytes.
const BufferSize = 64 << 10

// Buffers is a pool of copy buffers. The zero value is ready for use.
type Buffers struct{ pool sync.Pool }

// Get returns a buffer of BufferSize bytes with arbitrary content.
func (b *Buffers) Get() *[BufferSize]byte {
	if p, ok := b.pool.Get().(*[BufferSize]byte); ok {
		return p
	}
	return new([BufferSize]byte)
}

// Put hands a buffer back; the caller must not use it afterwards.
func (b *Buffers) Put(p *[BufferSize]byte) { b.pool.Put(p) }

var shared Buffers
