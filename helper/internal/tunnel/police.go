package tunnel

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
)

// Bounds of what the peer may do below the streams, beyond yamux's own rules.
const (
	muxHeaderSize = 12
	maxMuxData    = headerSize + maxData // one message; a sender joins no two
	maxPings      = 4                    // that wait for our answer
	maxUnaccepted = acceptBacklog        // streams that the peer opened and we have not accepted yet
	spareStreams  = 1024                 // beyond the flows that are allowed: to be refused, or closed by one side
	maxBacklog    = 4 << 20              // bytes that yamux holds, over all streams, before we read no more
	backlogTime   = time.Minute          // that they may stay so many
	emptyTime     = 50 * time.Millisecond
	smallBuffer   = 4 << 10   // of a stream in yamux, in bytes, which stays
	maxBuffers    = 16 << 20  // of all streams in yamux, in bytes, that may stay when they are empty
	spareMemory   = 4 << 20   // in bytes: where less is left, none of them stay
	startCredit   = 256 << 10 // of a yamux stream, in bytes
	maxCredit     = 1 << 31   // of a yamux stream, in bytes, whose counter has 32 bits
)

// Types and flags of a yamux frame.
const (
	muxData   = 0
	muxWindow = 1
	muxPing   = 2
	muxGoAway = 3

	muxSYN = 1
	muxACK = 2
	muxFIN = 4
	muxRST = 8
)

// breach is a peer's offence against the protocol. It ends the session.
type breach struct{ what string }

func (b *breach) Error() string { return "the other side breaks the protocol: " + b.what }

func breachf(format string, args ...any) error { return &breach{fmt.Sprintf(format, args...)} }

// muxFrame is the header of a yamux frame.
type muxFrame struct {
	version, kind byte
	flags         uint16
	id, length    uint32
}

func parseMuxFrame(b []byte) muxFrame {
	return muxFrame{b[0], b[1], binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])}
}

// police reads the headers of both directions below yamux, and finds what the peer
// may not do before yamux acts on it. Its memory is bounded by the number of
// streams that it allows.
type police struct {
	server     bool
	maxStreams int // that the peer may have open
	account    *netx.Account

	// Of the reading direction, used by its one goroutine.
	head [muxHeaderSize]byte
	have int // bytes of head
	body int // bytes of the frame that are still to come

	coming muxFrame // whose beginning is held back

	sending int // bytes of the frame that is being written; of the one goroutine that writes

	mu         sync.Mutex
	drained    sync.Cond // on mu: backlog has shrunk, or ended is set
	lanes      map[uint32]*lane
	theirs     int // lanes that the peer opened
	unaccepted int
	pings      int
	backlog    int // bytes that yamux holds, over all lanes
	buffers    int // memory that it keeps for them
	ended      bool
}

// lane is what the police knows of a stream.
type lane struct {
	theirs   bool
	accepted bool // acknowledged, by whoever did not open it
	peerEnd  bool
	ourEnd   bool
	held     int // bytes that yamux holds
	buffer   int // memory that it keeps for them
	credit   uint64
}

func newPolice(server bool, maxFlows int, account *netx.Account) *police {
	p := &police{server: server, maxStreams: maxFlows + spareStreams, account: account, lanes: make(map[uint32]*lane)}
	p.drained.L = &p.mu
	return p
}

// wait blocks while yamux holds too much. It does so only between two frames, when
// the readers can take everything that has come before.
func (p *police) wait() error {
	if p.body > 0 || p.have > 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.backlog <= maxBacklog {
		return nil
	}
	late := false
	timer := time.AfterFunc(backlogTime, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		late = true
		p.drained.Broadcast()
	})
	defer timer.Stop()
	for p.backlog > maxBacklog && !p.ended {
		if late {
			return breachf("it sends faster than its messages can be read")
		}
		p.drained.Wait()
	}
	return nil
}

// end ends all waiting.
func (p *police) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.drained.Broadcast()
}

// read judges bytes that came from the peer. whole is how many of them yamux should
// get before the reader of the stream that the others belong to has taken what came
// before: yamux lets nobody read while a frame comes, which may take as long as the
// links are cut.
func (p *police) read(b []byte) (whole int, err error) {
	at, start := 0, -1
	for at < len(b) {
		if p.body > 0 {
			n := min(p.body, len(b)-at)
			p.body -= n
			at += n
			continue
		}
		if start = at; p.have > 0 {
			start = -1 // yamux has a part of the header
		}
		n := copy(p.head[p.have:], b[at:])
		p.have += n
		at += n
		if p.have < muxHeaderSize {
			return at, nil
		}
		p.have = 0
		if err := p.incoming(parseMuxFrame(p.head[:])); err != nil {
			return 0, err
		}
	}
	if p.body > 0 && start >= 0 {
		p.coming = parseMuxFrame(p.head[:])
		if !p.emptied(p.coming) {
			return start, nil
		}
	}
	return at, nil
}

// emptied tells whether yamux holds nothing of the stream of f but f itself.
func (p *police) emptied(f muxFrame) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[f.id]
	return l == nil || l.held <= int(f.length)
}

// waitEmptied waits until emptied is true of the frame whose beginning was held back,
// but at most emptyTime: the reader may itself wait for the links.
func (p *police) waitEmptied() {
	late := false
	timer := time.AfterFunc(emptyTime, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		late = true
		p.drained.Broadcast()
	})
	defer timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.ended && !late {
		if l := p.lanes[p.coming.id]; l == nil || l.held <= int(p.coming.length) {
			return
		}
		p.drained.Wait()
	}
}

func (p *police) incoming(f muxFrame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case f.version != 0:
		return breachf("frame of multiplexer version %d", f.version)
	case f.kind == muxPing:
		if f.flags != muxSYN {
			return breachf("answer to a ping that was not sent")
		}
		if p.pings++; p.pings > maxPings {
			return breachf("more than %d pings wait for an answer", maxPings)
		}
		return nil
	case f.kind == muxGoAway:
		return breachf("it gave up the multiplexer, with code %d", f.length)
	case f.kind > muxGoAway:
		return breachf("unknown frame type %d", f.kind)
	case f.flags > muxSYN|muxACK|muxFIN|muxRST:
		return breachf("unknown frame flags %#x", f.flags)
	case f.kind == muxData && f.length > maxMuxData:
		return breachf("data frame of %d bytes, at most %d are allowed", f.length, maxMuxData)
	}
	if f.kind == muxData {
		p.body = int(f.length)
	}
	l := p.lanes[f.id]
	if f.flags&muxSYN != 0 {
		if l != nil || f.id == 0 || f.id%2 == 0 == p.server {
			return breachf("stream %d cannot be opened by the other side", f.id)
		}
		if p.theirs >= p.maxStreams {
			return breachf("more than %d streams", p.maxStreams)
		}
		if p.unaccepted >= maxUnaccepted {
			return breachf("more than %d new streams at once", maxUnaccepted)
		}
		l = &lane{theirs: true, credit: startCredit}
		p.lanes[f.id] = l
		p.theirs++
		p.unaccepted++
	}
	if l == nil {
		return nil // of a stream that has ended; yamux drops it
	}
	if f.flags&muxACK != 0 {
		if l.theirs || l.accepted {
			return breachf("stream %d is acknowledged out of place", f.id)
		}
		l.accepted = true
	}
	if f.kind == muxWindow {
		if l.credit += uint64(f.length); l.credit > maxCredit {
			return breachf("stream %d has a window of more than %d bytes", f.id, uint32(maxCredit))
		}
	} else if f.length > 0 {
		// Data behind a stream's end is no offence: yamux sends it if Write and Close meet.
		p.backlog += int(f.length)
		if l.held += int(f.length); 2*l.held > l.buffer {
			p.resize(l, 2*l.held) // bytes.Buffer doubles to see the end of a frame
		}
	}
	if f.flags&muxFIN != 0 {
		if l.peerEnd {
			return breachf("stream %d ends twice", f.id)
		}
		l.peerEnd = true
	}
	if f.flags&muxRST != 0 || l.peerEnd && l.ourEnd {
		p.remove(f.id, l)
	}
	return nil
}

// wrote takes in what yamux writes: a header, then the data of its frame, each in
// one call.
func (p *police) wrote(b []byte) {
	if p.sending > 0 {
		p.sending -= len(b)
		return
	}
	if len(b) != muxHeaderSize {
		return
	}
	f := parseMuxFrame(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch f.kind {
	case muxPing:
		if f.flags&muxACK != 0 {
			p.pings--
		}
		return
	case muxGoAway:
		return
	case muxData:
		p.sending = int(f.length)
	}
	l := p.lanes[f.id]
	if f.flags&muxSYN != 0 {
		l = &lane{credit: startCredit}
		p.lanes[f.id] = l
	}
	if l == nil {
		return
	}
	if f.kind == muxData {
		l.credit -= min(l.credit, uint64(f.length))
	}
	if f.flags&muxACK != 0 && l.theirs && !l.accepted {
		l.accepted = true
		p.unaccepted--
	}
	l.ourEnd = l.ourEnd || f.flags&muxFIN != 0
	if f.flags&muxRST != 0 || l.peerEnd && l.ourEnd {
		p.remove(f.id, l)
	}
}

// took notes that n bytes of a stream have left yamux. It tells whether yamux
// should give the stream's buffer back now, because memory is short.
func (p *police) took(id uint32, n int) (shrink bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[id]
	if l == nil {
		return false
	}
	n = min(n, l.held)
	l.held -= n
	if p.backlog -= n; p.backlog <= maxBacklog {
		p.drained.Broadcast()
	}
	return l.held == 0 && l.buffer > smallBuffer && (p.buffers > maxBuffers || !p.account.Fits(spareMemory))
}

// resize notes how much memory yamux keeps for a stream.
func (p *police) resize(l *lane, size int) {
	p.account.Hold(size - l.buffer)
	p.buffers += size - l.buffer
	l.buffer = size
}

// shrunk notes that yamux keeps no buffer for a stream that holds nothing.
func (p *police) shrunk(id uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lanes[id]; l != nil && l.held == 0 {
		p.resize(l, 0)
	}
}

// remove forgets a stream that both sides have ended.
func (p *police) remove(id uint32, l *lane) {
	delete(p.lanes, id)
	if l.theirs {
		p.theirs--
		if !l.accepted {
			p.unaccepted--
		}
	}
	p.resize(l, 0)
	if p.backlog -= l.held; p.backlog <= maxBacklog {
		p.drained.Broadcast()
	}
}
