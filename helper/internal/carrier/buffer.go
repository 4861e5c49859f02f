package carrier

import "sync"

// blockSize is the unit in which buffers grow and shrink.
const blockSize = 64 << 10

type block [blockSize]byte

var blocks = sync.Pool{New: func() any { return new(block) }}

// buffer holds bytes of one direction by their offset in the whole stream. It takes
// memory only for blocks that were written, and frees them when their bytes are
// dropped.
type buffer struct {
	start  uint64   // the first byte that is kept
	blocks []*block // blocks[0] holds the byte start; nil where nothing was written
	held   int      // memory, in bytes
}

// write puts p at the offset at, which is not below start.
func (b *buffer) write(at uint64, p []byte) {
	base := b.start / blockSize
	for len(p) > 0 {
		i, from := int(at/blockSize-base), int(at%blockSize)
		for i >= len(b.blocks) {
			b.blocks = append(b.blocks, nil)
		}
		if b.blocks[i] == nil {
			b.blocks[i] = blocks.Get().(*block)
			b.held += blockSize
		}
		n := copy(b.blocks[i][from:], p)
		p, at = p[n:], at+uint64(n)
	}
}

// read copies the bytes from the offset at on into p; they have been written.
func (b *buffer) read(at uint64, p []byte) {
	base := b.start / blockSize
	for len(p) > 0 {
		n := copy(p, b.blocks[at/blockSize-base][at%blockSize:])
		p, at = p[n:], at+uint64(n)
	}
}

// drop forgets the bytes before the offset to.
func (b *buffer) drop(to uint64) {
	n := min(int(to/blockSize-b.start/blockSize), len(b.blocks))
	for i, k := range b.blocks[:n] {
		if k != nil {
			blocks.Put(k)
			b.held -= blockSize
		}
		b.blocks[i] = nil
	}
	b.blocks = b.blocks[:copy(b.blocks, b.blocks[n:])]
	b.start = to
}

// free gives all memory back; nothing may be written or read afterwards.
func (b *buffer) free() {
	for _, k := range b.blocks {
		if k != nil {
			blocks.Put(k)
		}
	}
	b.blocks, b.held = nil, 0
}

// span is a stretch of the stream, the end not included.
type span struct{ start, end uint64 }

// spans is a sorted list of stretches that neither touch nor overlap.
type spans []span

// add puts s in.
func (l *spans) add(s span) {
	if s.start >= s.end {
		return
	}
	list := *l
	i := len(list)
	for i > 0 && list[i-1].end >= s.start {
		i--
	}
	j := i
	for j < len(list) && list[j].start <= s.end {
		s.start, s.end = min(s.start, list[j].start), max(s.end, list[j].end)
		j++
	}
	if i == j {
		list = append(list, span{})
		copy(list[i+1:], list[i:])
		list[i] = s
	} else {
		list[i] = s
		list = append(list[:i+1], list[j:]...)
	}
	*l = list
}

// cut takes everything before the offset to out.
func (l *spans) cut(to uint64) {
	list := *l
	n := 0
	for n < len(list) && list[n].end <= to {
		n++
	}
	list = list[:copy(list, list[n:])]
	if len(list) > 0 {
		list[0].start = max(list[0].start, to)
	}
	*l = list
}
