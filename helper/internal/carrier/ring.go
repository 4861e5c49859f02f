package carrier

// ring is a queue of bytes in a fixed buffer, addressed by their offset in the
// whole stream: it holds the bytes from start to end.
type ring struct {
	buf        []byte
	start, end uint64
}

func (r *ring) init(size int) { r.buf = make([]byte, size) }

func (r *ring) len() int { return int(r.end - r.start) }

// write appends as much of p as there is room for.
func (r *ring) write(p []byte) int {
	p = p[:min(len(p), len(r.buf)-r.len())]
	at := int(r.end % uint64(len(r.buf)))
	n := copy(r.buf[at:], p)
	copy(r.buf, p[n:])
	r.end += uint64(len(p))
	return len(p)
}

// read moves bytes from the start into p.
func (r *ring) read(p []byte) int {
	n := r.peek(p, r.start)
	r.start += uint64(n)
	return n
}

// peek copies bytes from the given offset on into p.
func (r *ring) peek(p []byte, from uint64) int {
	p = p[:min(len(p), int(r.end-from))]
	at := int(from % uint64(len(r.buf)))
	n := copy(p, r.buf[at:])
	copy(p[n:], r.buf)
	return len(p)
}

// drop forgets the bytes before the offset to.
func (r *ring) drop(to uint64) { r.start = to }
