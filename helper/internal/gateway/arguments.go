package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

const (
	maxQuestionsAsked = 16 // under way at a time
	askTime           = 2 * time.Second
)

// questions are those to one remote that wait for an answer.
type questions struct {
	next chan peer.Ask // received by session.writePublished

	mu      sync.Mutex
	allowed bool // the remote understands them
	last    uint32
	waiting map[uint32]chan string
}

func newQuestions() questions {
	return questions{next: make(chan peer.Ask), waiting: map[uint32]chan string{}}
}

func (q *questions) open(allowed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.allowed = allowed
}

// answered passes on an answer of the remote. It drops an answer that nobody waits for.
func (q *questions) answered(t peer.Told) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ch := q.waiting[t.ID]; ch != nil {
		delete(q.waiting, t.ID)
		ch <- t.Arguments
	}
}

// ask returns the answer of the remote about a program, not cleaned.
func (q *questions) ask(ctx context.Context, pid uint32, program string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer := make(chan string, 1)
	q.mu.Lock()
	if !q.allowed || len(q.waiting) >= maxQuestionsAsked {
		q.mu.Unlock()
		return "", errors.New("the remote's helper does not support this, or too many questions are under way")
	}
	q.last++
	a := peer.Ask{ID: q.last, PID: pid, Program: program}
	q.waiting[a.ID] = answer
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.waiting, a.ID)
	}()
	select {
	case q.next <- a:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	select {
	case told := <-answer:
		return told, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Arguments asks the remote for the command line of a program that has a flow to the
// named resource now. The result is escaped and fit to be shown. It must not be logged.
func (g *Gateway) Arguments(ctx context.Context, name string, pid uint32) (string, error) {
	var of *flow
	g.mu.Lock()
	for f := range g.flows {
		if pid != 0 && f.match.Resource.Name == name && f.st.Request().Origin.PID == pid {
			of = f
			break
		}
	}
	g.mu.Unlock()
	if of == nil {
		return "", errors.New("that program has no flow to the resource any more")
	}
	told, err := of.from.asked.ask(ctx, pid, of.st.Request().Origin.Program)
	if len(told) > peer.MaxArguments {
		told = strings.ToValidUTF8(told[:peer.MaxArguments], "") + "…"
	}
	return tunnel.Clean(told), err
}
