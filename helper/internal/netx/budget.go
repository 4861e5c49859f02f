package netx

import (
	"slices"
	"sync"
)

const (
	// ProcessBudget is how much memory the sessions of one process share, in bytes.
	ProcessBudget = 48 << 20

	// MemoryLimit is the limit to tell the runtime of a process whose sessions share
	// Process, in bytes: the budget, and what everything else in a helper takes.
	MemoryLimit = ProcessBudget + 32<<20
)

// Process is the budget of sessions that were given no other.
var Process = NewBudget(ProcessBudget)

// Budget is memory that several sessions share, each by a Share. If all of them
// together hold more than the limit, the session that holds the most frees some, or
// ends. That session holds more than its even part, so one that does not is safe from
// the others.
type Budget struct {
	limit int

	mu       sync.Mutex
	used     int
	promised int
	shares   map[*Share]struct{} // that have an open account
	shedding bool                // a session is freeing some
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int) *Budget {
	return &Budget{limit: limit, shares: make(map[*Share]struct{})}
}

// Used is how many bytes all sessions hold.
func (b *Budget) Used() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Share is one session's part of a Budget. It counts as a session while it has an
// open account.
type Share struct {
	b   *Budget
	end func()

	accounts map[*Account]struct{}
	used     int
	promised int
	ending   bool // end was called
}

// Share returns a session's part of the budget. If the session has to free memory and
// none of its accounts can, the budget calls end, once and in a goroutine of its own.
// From then on the session frees its memory by ending.
func (b *Budget) Share(end func()) *Share {
	return &Share{b: b, end: end, accounts: make(map[*Account]struct{})}
}

// Account is what one user in a session holds.
type Account struct {
	s    *Share
	free func() bool

	used     int
	promised int
	closed   bool
}

// Open returns an account that holds nothing. If the session has to free memory, the
// budget calls free in a goroutine of its own, once at a time, until it has enough.
// free returns false if it has nothing to free; nil means that it never has.
func (s *Share) Open(free func() bool) *Account {
	a := &Account{s: s, free: free}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.accounts[a] = struct{}{}
	s.b.shares[s] = struct{}{}
	return a
}

// Close gives back all that the account holds. It is idempotent.
func (a *Account) Close() {
	s, b := a.s, a.s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.closed {
		return
	}
	a.hold(-a.used)
	a.promise(-a.promised)
	a.closed = true
	if delete(s.accounts, a); len(s.accounts) == 0 {
		delete(b.shares, s)
	}
}

// Hold states that the user holds n bytes more, or fewer if n is negative. It never
// blocks. After Close it does nothing.
func (a *Account) Hold(n int) {
	b := a.s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.closed {
		return
	}
	a.hold(n)
	if n > 0 && b.used > b.limit && !b.shedding {
		b.shedding = true
		go b.relieve()
	}
}

// hold counts n bytes more. Called with b.mu held, as promise is.
func (a *Account) hold(n int) {
	a.used += n
	a.s.used += n
	a.s.b.used += n
}

func (a *Account) promise(n int) {
	a.promised += n
	a.s.promised += n
	a.s.b.promised += n
}

// relieve has the sessions that hold the most free some, or end, until all hold less
// than the limit.
func (b *Budget) relieve() {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.shedding = false }()
	for {
		most, used := b.most()
		if most == nil || used <= b.limit {
			return
		}
		before := most.used
		var free []func() bool
		for a := range most.accounts {
			if a.free != nil {
				free = append(free, a.free)
			}
		}
		b.mu.Unlock()
		freed := slices.ContainsFunc(free, func(f func() bool) bool { return f() })
		b.mu.Lock()
		if freed {
			if most.used >= before {
				return // it frees in a moment; else the next Hold comes here again
			}
			continue
		}
		most.ending = true
		b.mu.Unlock()
		most.end()
		b.mu.Lock()
	}
}

// most returns the session that holds the most, and what all hold. It leaves out the
// sessions that are ending. Called with mu held.
func (b *Budget) most() (most *Share, used int) {
	for s := range b.shares {
		if s.ending {
			continue
		}
		if used += s.used; most == nil || s.used > most.used {
			most = s
		}
	}
	return most, used
}

// even is the part of the limit that each session has in any case. It leaves one part
// for a newcomer. Called with mu held.
func (b *Budget) even() int { return b.limit / (len(b.shares) + 1) }

// Fits tells whether the user may well hold n bytes more. It may if its session then
// holds no more than its even part. Beyond that, no account should hold more than what
// is free. One alone thus has half of the limit, n of them each have one part of n+1,
// and a newcomer always finds some. These are the dynamic thresholds of Choudhury and
// Hahne (1998).
func (a *Account) Fits(n int) bool {
	b := a.s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	return !a.closed && (a.s.used+n <= b.even() || a.used+n <= b.limit-b.used-n)
}

// Promise asks for n bytes that the user may hold later, because it allows its peer
// to send them. It grants them by the rule of Fits, over what was promised.
func (a *Account) Promise(n int) bool {
	b := a.s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.closed || a.s.promised+n > b.even() && a.promised+n > b.limit-b.promised-n {
		return false
	}
	a.promise(n)
	return true
}

// Reserve promises n bytes in any case; a negative n takes promised bytes back.
func (a *Account) Reserve(n int) {
	b := a.s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if !a.closed {
		a.promise(n)
	}
}
