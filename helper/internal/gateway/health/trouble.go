package health

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// atOnce is how far apart the failures are that count as one.
const atOnce = time.Minute

// Trouble returns a sentence for each way by which several resources are silent since
// the same time, and marks them as Common.
func (k *Keeper) Trouble() (sentences []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	silent := map[string][]*record{}
	for _, r := range k.records {
		r.Common = false
		if r.State == Fails && r.Silent {
			silent[r.Exit] = append(silent[r.Exit], r)
		}
	}
	for exit, list := range silent {
		group := largest(list)
		if len(group) < 2 {
			continue
		}
		for _, r := range group {
			r.Common = true
		}
		if exit == "" {
			sentences = append(sentences, fmt.Sprintf("Is the VPN on? %d resources do not resolve or answer.", len(group)))
		} else {
			name, _, _ := strings.Cut(exit, ": ")
			sentences = append(sentences, fmt.Sprintf("Does the exit %q work? %d resources do not resolve or answer.", name, len(group)))
		}
	}
	slices.Sort(sentences)
	return sentences
}

// largest returns the most records whose failures began within atOnce.
func largest(list []*record) (group []*record) {
	slices.SortFunc(list, func(a, b *record) int { return a.Since.Compare(b.Since) })
	from := 0
	for to, r := range list {
		for r.Since.Sub(list[from].Since) > atOnce {
			from++
		}
		if to+1-from > len(group) {
			group = list[from : to+1]
		}
	}
	return group
}
