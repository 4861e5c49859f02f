package terminal

import (
	"context"
	"errors"
)

// Asker asks the user of this machine a question. The answer is one of the words.
type Asker interface {
	Ask(ctx context.Context, question string, words ...string) (string, error)
}

// Several asks at several places at the same time. The first answer counts, and the
// other places no longer ask. It fails when all of them have failed.
type Several []Asker

// Ask implements Asker.
func (s Several) Ask(ctx context.Context, question string, words ...string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		word string
		err  error
	}
	results := make(chan result, len(s))
	for _, a := range s {
		go func() {
			word, err := a.Ask(ctx, question, words...)
			results <- result{word, err}
		}()
	}
	failed := []error{}
	for range s {
		r := <-results
		if r.err == nil {
			cancel()
			for range len(s) - len(failed) - 1 {
				<-results // so that no place still asks
			}
			return r.word, nil
		}
		failed = append(failed, r.err)
	}
	return "", errors.Join(failed...)
}
