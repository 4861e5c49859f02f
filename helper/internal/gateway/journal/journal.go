// Package journal keeps the flows, name questions and refusals of a gateway for
// watchers, within bounds. Without a watcher it costs one small record per flow and
// two atomic counters; only watchers compute differences.
package journal

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/show"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// Bounds of what a Journal keeps besides the open flows, which the gateway bounds.
const (
	MaxEnded     = 500
	MaxQuestions = 500
	MaxRefusals  = 200
)

// Stage is a step in the life of a flow.
type Stage uint8

// The stages, in the order in which a flow reaches them. A flow may skip some.
const (
	LookedUp Stage = iota
	Judged
	Dialled
	FirstByte // from the target
	Ended
	stages
)

// Journal is safe for concurrent use.
type Journal struct {
	mu        sync.Mutex
	revision  uint64 // of the last change
	ids       uint64
	open      []*Flow
	ended     ring[*Flow]
	questions ring[*question]
	refusals  ring[*Refusal]
}

// New returns an empty Journal.
func New() *Journal {
	return &Journal{ended: ring[*Flow]{max: MaxEnded}, questions: ring[*question]{max: MaxQuestions}, refusals: ring[*Refusal]{max: MaxRefusals}}
}

// Flow is one flow, open or ended.
type Flow struct {
	j        *Journal
	id       uint64
	began    time.Time
	request  tunnel.Request
	resource string
	up, down atomic.Uint64

	// Guarded by Journal.mu.
	revision uint64
	place    int // in Journal.open
	address  netip.Addr
	reached  [stages]time.Duration // since began; 0: not yet
	state    string
	code     string
	reason   string
}

// States of a flow.
const (
	StateOpening = "opening" // looking up, being judged, dialling
	StateOpen    = "open"
	StateClosed  = "closed"
	StateFailed  = "failed" // never open; the code and reason say why
)

// Begin adds an open flow.
func (j *Journal) Begin(r tunnel.Request, resource string) *Flow {
	r.Target.Host = show.Text(r.Target.Host)
	f := &Flow{j: j, began: time.Now(), request: r, resource: resource, state: StateOpening}
	j.mu.Lock()
	defer j.mu.Unlock()
	f.id, f.revision = j.nextID(), j.next()
	f.place = len(j.open)
	j.open = append(j.open, f)
	return f
}

// next returns a new revision. The caller holds j.mu.
func (j *Journal) next() uint64 {
	j.revision++
	return j.revision
}

func (j *Journal) nextID() uint64 {
	j.ids++
	return j.ids
}

// Reach records that the flow has come to a stage. Only the first call for a stage
// counts.
func (f *Flow) Reach(s Stage) {
	f.j.mu.Lock()
	defer f.j.mu.Unlock()
	f.reach(s)
}

func (f *Flow) reach(s Stage) {
	if f.reached[s] != 0 || f.reached[Ended] != 0 {
		return
	}
	f.reached[s] = max(time.Since(f.began), time.Microsecond)
	f.revision = f.j.next()
}

// Connect records that the flow is open. The address is zero if it is not known.
func (f *Flow) Connect(to netip.Addr) {
	f.j.mu.Lock()
	defer f.j.mu.Unlock()
	if f.reached[Ended] == 0 {
		f.address, f.state = to, StateOpen
		f.reach(Dialled)
	}
}

// Up counts bytes from the remote.
func (f *Flow) Up(n int) { f.up.Add(uint64(n)) }

// Down counts bytes to the remote.
func (f *Flow) Down(n int) {
	if f.down.Add(uint64(n)) == uint64(n) {
		f.Reach(FirstByte)
	}
}

// Fail ends a flow that could not be opened.
func (f *Flow) Fail(e *tunnel.Error) { f.end(StateFailed, e.Code.String(), e.Reason) }

// Close ends a flow. An empty reason means that both sides ended it in order. Only the
// first call of Fail or Close counts.
func (f *Flow) Close(reason string) { f.end(StateClosed, "", reason) }

func (f *Flow) end(state, code, reason string) {
	j := f.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if f.reached[Ended] != 0 {
		return
	}
	f.reach(Ended)
	f.state, f.code, f.reason = state, code, show.Text(reason)
	last := len(j.open) - 1
	j.open[f.place] = j.open[last]
	j.open[f.place].place = f.place
	j.open[last] = nil
	j.open = j.open[:last]
	j.ended.add(f)
}

// Question is one question for a name, with its answer.
type Question struct {
	ID       uint64
	Time     time.Time // when it was asked
	Name     string
	Type     string // "A", "AAAA", "SRV" …; "address" for both families at once
	Answer   string
	OK       bool // Answer has records; otherwise it says why there are none
	Resource string
	From     string // "cache", the name of an exit, or "" for this machine's resolver
	Way      string // of the remote
	User     string
	PID      uint32
	Program  string
	Millis   float64 // until the answer
}

type question struct {
	Question
	revision uint64
}

// Ask adds a question that has been answered. It sets the ID and makes the texts fit to
// be shown.
func (j *Journal) Ask(q Question) {
	q.Name, q.Answer = show.Text(q.Name), show.Text(q.Answer)
	j.mu.Lock()
	defer j.mu.Unlock()
	q.ID = j.nextID()
	j.questions.add(&question{q, j.next()})
}

// Refusal is one or more failures of the same kind.
type Refusal struct {
	ID       uint64
	Time     time.Time // of the last one
	Count    int
	Network  string
	Host     string
	Port     uint16
	Resource string // "" if none matches
	Way      string // of the remote
	User     string
	PID      uint32 // of the last one
	Program  string
	Code     string
	Reason   string

	revision uint64
}

// Refuse adds a failure.
func (j *Journal) Refuse(r tunnel.Request, resource string, e *tunnel.Error) {
	o := r.Origin
	n := Refusal{
		Time: time.Now(), Count: 1, Network: r.Target.Network.String(), Host: show.Text(r.Target.Host), Port: r.Target.Port, Resource: resource,
		Way: o.Source, User: o.User, PID: o.PID, Program: o.Program, Code: e.Code.String(), Reason: show.Text(e.Reason),
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	n.revision = j.next()
	for _, known := range j.refusals.list {
		if known.same(&n) {
			n.ID, n.Count = known.ID, known.Count+1
			*known = n
			return
		}
	}
	n.ID = j.nextID()
	j.refusals.add(&n)
}

func (r *Refusal) same(o *Refusal) bool {
	return r.Host == o.Host && r.Port == o.Port && r.Network == o.Network && r.Code == o.Code &&
		r.Program == o.Program && r.User == o.User && r.Resource == o.Resource
}

// ring keeps the last max values.
type ring[T any] struct {
	max  int
	list []T
	next int // the place of the oldest, once the ring is full
}

func (r *ring[T]) add(v T) {
	if len(r.list) < r.max {
		r.list = append(r.list, v)
		return
	}
	r.list[r.next] = v
	r.next = (r.next + 1) % r.max
}
