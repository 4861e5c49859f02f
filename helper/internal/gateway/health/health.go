// Package health keeps whether each resource works: as connections of the remote show,
// and as tests show where there were none. It tests rarely: a new resource once, every
// resource after the network of this machine has changed, and one that does not work
// again and again, at growing intervals.
package health

import (
	"context"
	"sync"
	"time"
)

// State says whether a resource works.
type State string

// The states.
const (
	Unknown State = "" // neither used nor tested yet, or there is nothing to test
	Works   State = "works"
	Fails   State = "fails"
)

// Outcome is the result of one test, or of one connection.
type Outcome struct {
	State  State
	Step   string // the last step: "resolve", "judge", "connect"
	Port   uint16 // that worked; 0: none
	Silent bool   // the name did not resolve, or nothing answered: the same happens to all if the VPN is off
	Detail string
	Hint   string
	Took   time.Duration
}

// Report is the health of one resource.
type Report struct {
	Outcome
	Since   time.Time // of the state
	Checked time.Time // of the last outcome; zero: none
	Common  bool      // Trouble tells of it
}

// Resource is a resource whose health is kept.
type Resource struct {
	Name       string // unique
	Definition string // a resource with another definition is a new one
	Exit       string // the way to it; empty: the machine's own network
	Many       bool   // it stands for many hosts, so only connections tell whether it works
}

// Options of a Keeper. Test, Network and Changed are required.
type Options struct {
	// Test tests a resource. port is one that worked; 0: none is known. ok is false if
	// the test could not begin in time: it comes later.
	Test func(ctx context.Context, name string, port uint16) (o Outcome, ok bool)
	// Network describes the network of this machine. It changes when the network does.
	Network func() string
	// Changed is called when a report has changed. It must not block.
	Changed func()

	Look    time.Duration // between two looks at the network; 0 means 3 s
	Settle  time.Duration // from a change of the network to the tests; 0 means 2 s
	Again   time.Duration // from a failure to the next test; it doubles up to 16 times as long; 0 means 30 s
	Jitter  time.Duration // the longest random delay of a test; 0 means 300 ms
	Timeout time.Duration // of one test; 0 means 5 s
	Places  int           // tests at a time; 0 means 4
}

func (o Options) withDefaults() Options {
	for of, value := range map[*time.Duration]time.Duration{
		&o.Look: 3 * time.Second, &o.Settle: 2 * time.Second, &o.Again: 30 * time.Second,
		&o.Jitter: 300 * time.Millisecond, &o.Timeout: 5 * time.Second,
	} {
		if *of == 0 {
			*of = value
		}
	}
	if o.Places == 0 {
		o.Places = 4
	}
	return o
}

// Keeper keeps the health of resources.
type Keeper struct {
	o     Options
	wake  chan struct{}
	round chan struct{} // has one value while a round of tests is under way

	mu      sync.Mutex
	records map[string]*record
	moves   int       // of the network, one soon after the other
	movedAt time.Time // the last one
}

type record struct {
	Resource
	Report
	due   time.Time // of the next test; zero: none
	fails int       // in a row
}

// New returns a Keeper of no resources.
func New(o Options) *Keeper {
	return &Keeper{o: o.withDefaults(), wake: make(chan struct{}, 1), round: make(chan struct{}, 1), records: map[string]*record{}}
}

// Keep replaces the resources. New ones are tested soon, if Run runs.
func (k *Keeper) Keep(list []Resource) {
	now := time.Now()
	kept := make(map[string]*record, len(list))
	k.mu.Lock()
	for _, r := range list {
		old := k.records[r.Name]
		if old == nil || old.Resource != r {
			old = &record{Resource: r, Report: Report{Since: now}, due: now}
		}
		kept[r.Name] = old
	}
	k.records = kept
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Of returns the health of a resource.
func (k *Keeper) Of(name string) Report {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.records[name]; r != nil {
		return r.Report
	}
	return Report{}
}

// Note takes what a connection of the remote has shown.
func (k *Keeper) Note(name string, o Outcome) {
	k.mu.Lock()
	r := k.records[name]
	changed := r != nil && k.take(r, o, time.Now())
	k.mu.Unlock()
	if changed {
		k.o.Changed()
	}
}

// take puts an outcome into a record and reports whether its state or reason changed.
// The caller holds k.mu.
func (k *Keeper) take(r *record, o Outcome, now time.Time) (changed bool) {
	if r.Many && o.State == Fails {
		return false // one host of many does not stand for the others
	}
	if o.State != r.State {
		r.Since = now
	}
	if o.Port == 0 {
		o.Port = r.Port
	}
	changed = o.State != r.State || o.Step != r.Step || o.Detail != r.Detail || r.Checked.IsZero()
	r.Outcome, r.Checked, r.due = o, now, time.Time{}
	if o.State == Fails {
		r.due = now.Add(k.o.Again << min(r.fails, 4))
		r.fails++
	} else {
		r.fails = 0
	}
	return changed
}
