package carrier

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

var schedules = flag.Int("schedules", 300, "random schedules of links to run")

// world is two engines and the links between them, in simulated time.
type world struct {
	rnd   *rand.Rand
	now   instant
	ends  [2]*end
	links []*simLink
	max   int // links at once
	size  uint64
}

type end struct {
	e    engine
	read uint64 // verified so far
}

// simLink carries frames with a delay until it is cut; each end notices the cut
// at a time of its own, and a stall not at all.
type simLink struct {
	p       [2]*path // nil: not attached at this end, or detached
	frames  [2][]simFrame
	delay   time.Duration
	stalled instant // nothing moves before
	cut     bool
	notice  [2]instant
	hello   [2]hello
	greeted [2]instant // when this end takes the other's hello in
}

type simFrame struct {
	at instant
	b  []byte
}

func content(at uint64) byte { return byte(at*2654435761>>13) ^ byte(at) }

func newWorld(seed uint64) *world {
	w := &world{rnd: rand.New(rand.NewPCG(seed, 0)), now: 1}
	w.max = 1 + w.rnd.IntN(4)
	w.size = uint64(1 + w.rnd.IntN(200_000))
	for i := range w.ends {
		w.ends[i] = &end{}
		w.ends[i].e.window = 4096 << w.rnd.IntN(6)
		w.ends[i].e.instance = [8]byte{byte(i + 1)}
	}
	return w
}

func (w *world) connect() {
	l := &simLink{delay: time.Duration(w.rnd.IntN(100)) * time.Millisecond}
	shape := Shape{MaxFrame: 512 << w.rnd.IntN(5), Window: 2048 << w.rnd.IntN(8), Slack: time.Millisecond}
	kind := []string{KindCommand, KindDirect}[w.rnd.IntN(2)]
	for i, n := range w.ends {
		l.p[i] = &path{kind: kind, shape: shape}
		l.hello[i] = hello{instance: n.e.instance, received: n.e.received, limit: n.e.limit()}
		l.greeted[i] = w.now.add(l.delay + time.Duration(w.rnd.IntN(50))*time.Millisecond)
	}
	w.links = append(w.links, l)
}

func (w *world) disturb() {
	if len(w.links) == 0 {
		return
	}
	l := w.links[w.rnd.IntN(len(w.links))]
	switch w.rnd.IntN(3) {
	case 0:
		l.stalled = w.now.add(time.Duration(w.rnd.IntN(8000)) * time.Millisecond)
	default:
		l.cut = true
		for i := range l.notice {
			l.notice[i] = w.now.add(time.Duration(w.rnd.IntN(3000)) * time.Millisecond)
			// Some of what was under way still arrives.
			if q := l.frames[i]; len(q) > 0 {
				l.frames[i] = q[:w.rnd.IntN(len(q)+1)]
			}
		}
	}
}

// step lets time pass and moves what is to be moved.
func (w *world) step() error {
	w.now = w.now.add(time.Duration(1+w.rnd.IntN(20_000)) * time.Microsecond)
	for _, n := range w.ends {
		if n.e.written < w.size {
			p := make([]byte, min(uint64(1+w.rnd.IntN(16_000)), w.size-n.e.written))
			for i := range p {
				p[i] = content(n.e.written + uint64(i))
			}
			n.e.write(p)
		}
		p := make([]byte, 1+w.rnd.IntN(16_000))
		for _, b := range p[:n.e.read(p, w.now)] {
			if b != content(n.read) {
				return fmt.Errorf("byte %d differs", n.read)
			}
			n.read++
		}
		n.e.watch(w.now)
	}
	live := w.links[:0]
	for _, l := range w.links {
		if err := w.move(l); err != nil {
			return err
		}
		if l.p[0] != nil || l.p[1] != nil {
			live = append(live, l)
		}
	}
	w.links = live
	return nil
}

func (w *world) move(l *simLink) error {
	for i, n := range w.ends {
		p := l.p[i]
		if p == nil {
			continue
		}
		if l.cut && w.now > l.notice[i] {
			if l.greeted[i] == 0 {
				n.e.detach(p, w.now)
			}
			l.p[i] = nil
			continue
		}
		if at := l.greeted[i]; at != 0 {
			if w.now < at || l.cut {
				continue
			}
			l.greeted[i] = 0
			if err := n.e.attach(p, l.hello[1-i], w.now); err != nil {
				return fmt.Errorf("attach: %w", err)
			}
		}
		if w.now < l.stalled {
			continue
		}
		for q := l.frames[i]; len(q) > 0 && q[0].at <= w.now; q = l.frames[i] {
			l.frames[i] = q[1:]
			if err := n.e.receive(p, q[0].b, w.now); err != nil {
				return fmt.Errorf("receive: %w", err)
			}
		}
		for len(l.frames[1-i]) < 64 {
			b, due := n.e.next(p, nil, w.now)
			if len(b) == 0 {
				if due <= w.now {
					return fmt.Errorf("nothing to send, but due %v ago", w.now.sub(due))
				}
				break
			}
			if len(b) > p.shape.MaxFrame+Overhead {
				return fmt.Errorf("frame of %d bytes", len(b))
			}
			if !l.cut {
				l.frames[1-i] = append(l.frames[1-i], simFrame{w.now.add(l.delay), bytes.Clone(b)})
			}
		}
		if err := n.bounded(w.ends[1-i].e.window); err != nil {
			return err
		}
	}
	return nil
}

// bounded checks that an engine keeps no more than it may.
func (n *end) bounded(peerWindow int) error {
	e := &n.e
	if held := e.written - e.out.start; held > uint64(peerWindow)+1<<20 {
		return fmt.Errorf("%d bytes are held to be sent", held)
	}
	if len(e.in.blocks) > e.window/blockSize+2 || len(e.out.blocks) > (peerWindow+1<<20)/blockSize+2 {
		return fmt.Errorf("%d and %d blocks are held", len(e.in.blocks), len(e.out.blocks))
	}
	if len(e.early) > maxEarly {
		return fmt.Errorf("%d gaps", len(e.early))
	}
	return nil
}

func (w *world) done() bool { return w.ends[0].read == w.size && w.ends[1].read == w.size }

// run plays one schedule.
func run(seed uint64) error {
	w := newWorld(seed)
	steps := w.rnd.IntN(200)
	for range steps {
		if len(w.links) < w.max && w.rnd.IntN(6) == 0 {
			w.connect()
		}
		if w.rnd.IntN(12) == 0 {
			w.disturb()
		}
		if err := w.step(); err != nil {
			return err
		}
	}
	for _, l := range w.links {
		l.cut = true
		l.notice = [2]instant{w.now, w.now}
	}
	for i := range 200_000 {
		if len(w.links) == 0 {
			w.connect()
		}
		if err := w.step(); err != nil {
			return err
		}
		if w.done() {
			return nil
		}
		if i == 199_999 {
			break
		}
	}
	return fmt.Errorf("stuck: %d and %d of %d bytes read", w.ends[0].read, w.ends[1].read, w.size)
}

// What is written is what is read, in order and once, whatever the links do.
func TestAnySchedule(t *testing.T) {
	shards := uint64(runtime.GOMAXPROCS(0))
	for shard := range shards {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for seed := shard; seed < uint64(*schedules); seed += shards {
				if err := run(seed); err != nil {
					t.Fatalf("schedule %d: %v", seed, err)
				}
			}
		})
	}
}
