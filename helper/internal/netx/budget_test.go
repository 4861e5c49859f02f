package netx

import (
	"testing"
	"time"
)

func TestBudgetDividesByWhatIsFree(t *testing.T) {
	b := NewBudget(1200)
	first := b.Open(func() {})
	if !first.Fits(600) || first.Fits(601) {
		t.Error("one account alone should have half of the budget")
	}
	first.Hold(600)
	second := b.Open(func() {})
	if !second.Fits(300) || second.Fits(301) {
		t.Error("a newcomer should have half of what is left")
	}
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
	first, second := b.Open(func() {}), b.Open(func() {})
	if !first.Promise(600) || first.Promise(1) {
		t.Error("one account alone should be promised half of the budget")
	}
	if !second.Promise(300) || second.Promise(1) {
		t.Error("a newcomer should be promised half of what is left")
	}
	second.Reserve(900)
	if first.Promise(1) {
		t.Error("promised beyond the budget")
	}
	second.Close()
	first.Reserve(-100)
	if !first.Promise(100) {
		t.Error("what was taken back is not promised again")
	}
}

// Whoever holds the most frees some, not whoever came last.
func TestBudgetAsksWhoHoldsTheMost(t *testing.T) {
	b := NewBudget(100)
	asked := make(chan string, 1)
	var small, large *Account
	small = b.Open(func() { asked <- "small" })
	large = b.Open(func() { large.Hold(-40); asked <- "large" })
	large.Hold(80)
	small.Hold(21)
	select {
	case who := <-asked:
		if who != "large" {
			t.Errorf("the %s account was asked", who)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nobody was asked")
	}
	for b.Used() != 61 {
		time.Sleep(time.Millisecond)
	}
}
