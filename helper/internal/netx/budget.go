package netx

import "sync"

const (
	// ProcessBudget is how much memory the sessions of one process share, in bytes.
	ProcessBudget = 48 << 20

	// MemoryLimit is the limit to tell the runtime of a process whose sessions share
	// Process, in bytes: the budget, and what everything else in a helper takes.
	MemoryLimit = ProcessBudget + 32<<20
)

// Process is the budget of sessions that were given no other.
var Process = NewBudget(ProcessBudget)

// Budget is memory that several sessions share. A session states what it holds. If
// all of them together hold more than the limit, the one that holds the most has to
// free some. So a session is safe from the others as long as it holds no more than
// its even part.
type Budget struct {
	limit int

	mu       sync.Mutex
	used     int
	promised int
	accounts map[*Account]struct{}
	shedding bool // an account is freeing some
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int) *Budget {
	return &Budget{limit: limit, accounts: make(map[*Account]struct{})}
}

// Used is how many bytes all sessions hold.
func (b *Budget) Used() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Account is one user's part of a Budget.
type Account struct {
	b    *Budget
	shed func()

	used     int
	promised int
	closed   bool
}

// Open returns an account that holds nothing. If its user has to free memory, the
// budget calls shed, in a goroutine of its own and once at a time.
func (b *Budget) Open(shed func()) *Account {
	a := &Account{b: b, shed: shed}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accounts[a] = struct{}{}
	return a
}

// Close gives back all that the account holds. It is idempotent.
func (a *Account) Close() {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	delete(a.b.accounts, a)
	a.b.used -= a.used
	a.b.promised -= a.promised
}

// Hold states that the user holds n bytes more, or fewer if n is negative. It never
// blocks. After Close it does nothing.
func (a *Account) Hold(n int) {
	b := a.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.closed {
		return
	}
	a.used += n
	b.used += n
	if n > 0 && b.used > b.limit && !b.shedding {
		b.shedding = true
		go b.relieve()
	}
}

// relieve has the accounts that hold the most free some, until all hold less than
// the limit or nobody can free any.
func (b *Budget) relieve() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var tried map[*Account]bool // in vain
	for b.used > b.limit {
		var most *Account
		for a := range b.accounts {
			if !tried[a] && (most == nil || a.used > most.used) {
				most = a
			}
		}
		if most == nil {
			break
		}
		before := most.used
		b.mu.Unlock()
		most.shed()
		b.mu.Lock()
		if most.used >= before {
			if tried == nil {
				tried = make(map[*Account]bool)
			}
			tried[most] = true
		}
	}
	b.shedding = false
}

// Fits tells whether the user may well hold n bytes more: no account should hold
// more than what is free. One alone thus has half of the limit, n of them each have
// one part of n+1, and a newcomer always finds some. These are the dynamic thresholds
// of Choudhury and Hahne (1998).
func (a *Account) Fits(n int) bool {
	b := a.b
	b.mu.Lock()
	defer b.mu.Unlock()
	return !a.closed && a.used+n <= b.limit-b.used-n
}

// Promise asks for n bytes that the user may hold later, because it allows its peer
// to send them. It grants them by the rule of Fits, over what was promised.
func (a *Account) Promise(n int) bool {
	b := a.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.closed || a.promised+n > b.limit-b.promised-n {
		return false
	}
	a.promised += n
	b.promised += n
	return true
}

// Reserve promises n bytes in any case; a negative n takes promised bytes back.
func (a *Account) Reserve(n int) {
	b := a.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.closed {
		return
	}
	a.promised += n
	b.promised += n
}
