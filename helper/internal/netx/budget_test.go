package netx

import (
	"testing"
	"time"
)

func TestBudgetDividesByWhatIsFree(t *testing.T) {
	b := NewBudget(1200)
	first := b.Share(nil).Open(nil)
	if !first.Fits(600) || first.Fits(601) {
		t.Error("one account alone should have half of the budget")
	}
	first.Hold(600)
	second := b.Share(nil).Open(nil)
	if !second.Fits(400) || second.Fits(401) {
		t.Error("a newcomer should have its even part, though less is free")
	}
	third := b.Share(nil).Open(nil)
	if !third.Fits(300) || third.Fits(301) {
		t.Error("another newcomer should have half of what is left")
	}
	third.Close()
	if first.Fits(1) {
		t.Error("an account that holds all it may was given more")
	}
	first.Hold(-400)
	if !second.Fits(500) {
		t.Error("what one account gave back does not serve another")
	}
	first.Close()
	first.Close()
	first.Hold(1)
	if got := b.Used(); got != 0 {
		t.Errorf("%d bytes in use after the only holder has closed", got)
	}
}

func TestBudgetPromisesByWhatIsFree(t *testing.T) {
	b := NewBudget(1200)
	first := b.Share(nil).Open(nil)
	if !first.Promise(600) || first.Promise(1) {
		t.Error("one account alone should be promised half of the budget")
	}
	second := b.Share(nil).Open(nil)
	if !second.Promise(400) || second.Promise(1) {
		t.Error("a newcomer should be promised its even part")
	}
	second.Reserve(800)
	if first.Promise(1) {
		t.Error("promised beyond the budget")
	}
	second.Close()
	first.Reserve(-100)
	if !first.Promise(100) {
		t.Error("what was taken back is not promised again")
	}
}

// The session that holds the most frees some, in all its accounts, not the one that
// came last nor the one with the largest account.
func TestBudgetAsksWhoHoldsTheMost(t *testing.T) {
	b := NewBudget(100)
	asked := make(chan string, 1)
	small := b.Share(func() { asked <- "end of small" }).Open(func() bool { asked <- "small"; return true })
	share := b.Share(func() { asked <- "end of large" })
	share.Open(nil).Hold(39)
	var large *Account
	large = share.Open(func() bool { large.Hold(-30); asked <- "large"; return true })
	large.Hold(30)
	small.Hold(32)
	select {
	case who := <-asked:
		if who != "large" {
			t.Errorf("it was %s", who)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nobody was asked")
	}
	for b.Used() != 71 {
		time.Sleep(time.Millisecond)
	}
}

// A session that holds the most and can free nothing ends. No other pays for it, even
// while it has not given its memory back.
func TestBudgetEndsWhoCannotFree(t *testing.T) {
	b := NewBudget(100)
	ended := make(chan string, 9)
	small := b.Share(func() { ended <- "small" }).Open(func() bool { ended <- "a flow of small"; return true })
	large := b.Share(func() { ended <- "large" }).Open(func() bool { return false })
	large.Hold(80)
	small.Hold(21)
	if who := <-ended; who != "large" {
		t.Errorf("%s ended", who)
	}
	small.Hold(20)
	for done := false; !done; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		done = !b.shedding
		b.mu.Unlock()
	}
	large.Close()
	if len(ended) > 0 {
		t.Errorf("%s ended too", <-ended)
	}
	if got := b.Used(); got != 41 {
		t.Errorf("%d bytes in use", got)
	}
}
