package journal

import (
	"cmp"
	"slices"
	"time"
)

// maxRows bounds each list of one Delta.
const maxRows = 1000

// Row is a flow at one moment. Times are in ms since Began, 0 for a stage that the flow
// has not reached.
type Row struct {
	ID                                          uint64
	Began                                       time.Time
	Network                                     string
	Host                                        string
	Port                                        uint16
	Address                                     string // dialled; "" if it is not known
	Resource                                    string
	Way                                         string // of the remote
	User                                        string
	PID                                         uint32
	Program                                     string
	State                                       string
	Code                                        string
	Reason                                      string
	BytesUp, BytesDown                          uint64
	LookedUp, Judged, Dialled, FirstByte, Ended float64
}

// Delta is what has changed since the Delta before it.
type Delta struct {
	Flows     []Row       // new, or changed in more than their counts
	Counts    [][3]uint64 // ID, Up and Down of flows that have only moved bytes
	Gone      []uint64    // flows that the journal has forgotten
	Questions []Question
	Refusals  []Refusal
	More      bool // another Delta can be had at once
}

// Empty reports whether nothing has changed.
func (d *Delta) Empty() bool {
	return len(d.Flows)+len(d.Counts)+len(d.Gone)+len(d.Questions)+len(d.Refusals) == 0
}

// Watcher follows a Journal. It is for one goroutine.
type Watcher struct {
	j *Journal
	// The last revisions that were told, of each list.
	flows, questions, refusals uint64
	told                       map[uint64]counts // by the flow's ID
	round                      uint64
}

type counts struct{ up, down, round uint64 }

// Watch returns a Watcher to which everything is new. It needs no release.
func (j *Journal) Watch() *Watcher { return &Watcher{j: j, told: map[uint64]counts{}} }

// Next returns what has changed since the last call. It does not wait.
func (w *Watcher) Next() Delta {
	w.j.mu.Lock()
	defer w.j.mu.Unlock()
	var d Delta
	w.round++
	var changed []*Flow
	for _, list := range [][]*Flow{w.j.ended.list, w.j.open} {
		for _, f := range list {
			if f.revision > w.flows {
				changed = append(changed, f)
				w.keep(f.id)
				continue
			}
			c := counts{f.up.Load(), f.down.Load(), w.round}
			if was := w.told[f.id]; was.up != c.up || was.down != c.down {
				d.Counts = append(d.Counts, [3]uint64{f.id, c.up, c.down})
			}
			w.told[f.id] = c
		}
	}
	changed = first(changed, func(f *Flow) uint64 { return f.revision }, &w.flows, &d.More)
	for _, f := range changed {
		row := f.row()
		w.told[f.id] = counts{row.BytesUp, row.BytesDown, w.round}
		d.Flows = append(d.Flows, row)
	}
	for id, c := range w.told {
		if c.round != w.round {
			delete(w.told, id)
			d.Gone = append(d.Gone, id)
		}
	}
	for _, q := range first(w.j.questions.list, func(q *question) uint64 { return q.revision }, &w.questions, &d.More) {
		d.Questions = append(d.Questions, q.Question)
	}
	for _, r := range first(w.j.refusals.list, func(r *Refusal) uint64 { return r.revision }, &w.refusals, &d.More) {
		d.Refusals = append(d.Refusals, *r)
	}
	return d
}

// keep marks a flow as still there.
func (w *Watcher) keep(id uint64) {
	if c, ok := w.told[id]; ok {
		c.round = w.round
		w.told[id] = c
	}
}

// first returns the maxRows oldest changes of a list after *last, in order, and moves
// *last past them. It sets *more if there are others.
func first[T any](list []T, revision func(T) uint64, last *uint64, more *bool) []T {
	var out []T
	for _, v := range list {
		if revision(v) > *last {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b T) int { return cmp.Compare(revision(a), revision(b)) })
	if len(out) > maxRows {
		out, *more = out[:maxRows], true
	}
	if len(out) > 0 {
		*last = revision(out[len(out)-1])
	}
	return out
}

// row returns the flow as it is now. The caller holds Journal.mu.
func (f *Flow) row() Row {
	r, o := f.request.Target, f.request.Origin
	ms := func(s Stage) float64 { return float64(f.reached[s].Microseconds()) / 1000 }
	address := ""
	if f.address.IsValid() {
		address = f.address.String()
	}
	return Row{
		ID: f.id, Began: f.began, Network: r.Network.String(), Host: r.Host, Port: r.Port, Address: address, Resource: f.resource,
		Way: o.Source, User: o.User, PID: o.PID, Program: o.Program,
		State: f.state, Code: f.code, Reason: f.reason, BytesUp: f.up.Load(), BytesDown: f.down.Load(),
		LookedUp: ms(LookedUp), Judged: ms(Judged), Dialled: ms(Dialled), FirstByte: ms(FirstByte), Ended: ms(Ended),
	}
}
