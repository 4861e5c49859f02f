package dial

import (
	"testing"
	"time"
)

func TestPeerIsDeadWithoutProgress(t *testing.T) {
	began := time.Now()
	for what, c := range map[string]struct {
		look []progress // one per second
		dead int        // index of the look that finds it out, -1: none
	}{
		"idle":              {[]progress{{false, 7}, {false, 7}, {false, 7}, {false, 7}, {false, 7}}, -1},
		"slow":              {[]progress{{true, 1}, {true, 1}, {true, 2}, {true, 2}, {true, 3}, {true, 3}}, -1},
		"dead":              {[]progress{{true, 1}, {true, 2}, {true, 2}, {true, 2}, {true, 2}}, 4},
		"idle, then dead":   {[]progress{{false, 2}, {false, 2}, {false, 2}, {false, 2}, {true, 2}, {true, 2}, {true, 2}, {true, 2}}, 7},
		"acknowledged late": {[]progress{{true, 1}, {true, 1}, {true, 1}, {false, 2}, {true, 2}, {true, 2}, {true, 2}}, -1},
	} {
		w := peerWatch{limit: 3 * time.Second}
		dead := -1
		for i, p := range c.look {
			if w.isDead(began.Add(time.Duration(i)*time.Second), p) {
				dead = i
				break
			}
		}
		if dead != c.dead {
			t.Errorf("%s: dead at %d, want %d", what, dead, c.dead)
		}
	}
}
