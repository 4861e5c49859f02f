package carrier

import (
	"math/rand/v2"
	"testing"
	"time"
)

// network is what a rate is measured of: a bottleneck of a rate, in bytes a
// second, behind which acknowledgements take a time.
type network struct {
	rate float64
	trip func() time.Duration
	most int // bytes that whoever writes has under way at once, at times a third less; 0 if there is always more
}

// result is what came of a time on a network, of its second half.
type result struct {
	rate  float64       // as a part of the network's
	queue time.Duration // that a frame waited for the bottleneck, on average
}

// fill keeps r's link as full as r lets it be.
func (w network) fill(r *rate, now instant, d time.Duration) (instant, result) {
	const n = minFrame
	type frame struct {
		flown
		due instant
	}
	var out []frame
	free, end, half := now, now.add(d), now.add(d/2)
	var waited time.Duration
	sent, arrived, arrivals := 0, 0, 0
	for now < end {
		for len(out) == 0 || (len(out)+1)*n <= r.flight(now) {
			if w.most > 0 && (len(out)+1)*n > w.most-w.most*(arrivals%8)/24 {
				r.idle(now, len(out)*n)
				break
			}
			f := frame{flown: flown{n: n}}
			r.sending(now, &f.flown, len(out)*n)
			free = max(free, now).add(time.Duration(n / w.rate * float64(time.Second)))
			f.due = free.add(w.trip())
			if len(out) > 0 {
				f.due = max(f.due, out[len(out)-1].due)
			}
			out = append(out, f)
			if now >= half {
				waited += free.sub(now)
				sent++
			}
		}
		now = out[0].due
		arrivals++
		r.arrived(now, out[0].flown, n)
		out = out[1:]
		if now >= half {
			arrived += n
		}
	}
	return now, result{float64(arrived) / (d / 2).Seconds() / w.rate, waited / time.Duration(max(sent, 1))}
}

// trickle sends a little now and then, and leaves the link idle in between.
func (w network) trickle(r *rate, now instant, d time.Duration) instant {
	for end := now.add(d); now < end; {
		r.idle(now, 0)
		f := flown{n: 100}
		r.sending(now, &f, 0)
		now = now.add(w.trip())
		r.arrived(now, f, f.n)
		r.idle(now, 0)
		now = now.add(20 * time.Millisecond)
	}
	return now
}

// between returns times from least to most.
func between(least, most time.Duration) func() time.Duration {
	rnd := rand.New(rand.NewPCG(1, 2))
	return func() time.Duration { return least + time.Duration(rnd.Int64N(int64(most-least)+1)) }
}

func TestRateFindsTheLink(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name  string
		w     network
		slack time.Duration
		least float64       // of the rate
		queue time.Duration // at most
	}{
		{"100 Mbit/s over an ocean", network{12.5e6, between(100*ms, 101*ms), 0}, ms, 0.98, 25 * ms},
		{"a gigabit over an ocean", network{125e6, between(100*ms, 101*ms), 0}, ms, 0.98, 25 * ms},
		{"a round trip that varies", network{12.5e6, between(90*ms, 150*ms), 0}, ms, 0.8, 60 * ms},
		{"next door", network{300e6, between(100*time.Microsecond, 300*time.Microsecond), 0}, ms, 0.95, 3 * ms},
		{"next door, on a busy machine", network{300e6, between(100*time.Microsecond, 6*ms), 0}, ms, 0.8, 10 * ms},
		{"a slow line", network{125e3, between(30*ms, 31*ms), 0}, ms, 0.95, 300 * ms},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := rate{slack: tc.slack}
			_, got := tc.w.fill(&r, 1, 10*time.Second)
			t.Logf("%.0f %% of the rate, a queue of %v", 100*got.rate, got.queue)
			if got.rate < tc.least || got.queue > tc.queue {
				t.Errorf("%.0f %% of the rate and a queue of %v, want %.0f %% and %v", 100*got.rate, got.queue, 100*tc.least, tc.queue)
			}
		})
	}
}

// What was asked of a link before says nothing of what it can do.
func TestRateAfterTrickle(t *testing.T) {
	w := network{12.5e6, between(100*time.Millisecond, 150*time.Millisecond), 0}
	r := rate{slack: time.Millisecond}
	now, _ := w.fill(&r, 1, 5*time.Second)
	now = w.trickle(&r, now, 20*time.Second)
	if _, got := w.fill(&r, now, 4*time.Second); got.rate < 0.8 {
		t.Errorf("%.0f %% of the rate from 2 s on", 100*got.rate)
	}
	r = rate{slack: time.Millisecond}
	now = w.trickle(&r, 1, 20*time.Second)
	if _, got := w.fill(&r, now, 4*time.Second); got.rate < 0.8 {
		t.Errorf("%.0f %% of the rate from 2 s on, of a link that had little to do", 100*got.rate)
	}
}

// A writer whose window is more than the link needs, and less than what the start
// allows, makes a queue that stands unless it is seen that the link is full.
func TestRateOfAWindow(t *testing.T) {
	for most := 1_500_000; most <= 2_500_000; most += 200_000 {
		w := network{12.5e6, between(100*time.Millisecond, 101*time.Millisecond), most}
		r := rate{slack: time.Millisecond}
		now := w.trickle(&r, 1, 5*time.Second)
		if _, got := w.fill(&r, now, 30*time.Second); got.rate < 0.97 || got.queue > 20*time.Millisecond {
			t.Errorf("with %d bytes %.0f %% of the rate and a queue of %v", most, 100*got.rate, got.queue)
		}
	}
}

// A way that gets longer is as fast as before soon after.
func TestRateOnAnotherWay(t *testing.T) {
	w := network{12.5e6, between(20*time.Millisecond, 21*time.Millisecond), 0}
	r := rate{slack: time.Millisecond}
	now, _ := w.fill(&r, 1, 5*time.Second)
	w.trip = between(100*time.Millisecond, 101*time.Millisecond)
	if _, got := w.fill(&r, now, 10*time.Second); got.rate < 0.9 || got.queue > 30*time.Millisecond {
		t.Errorf("%.0f %% of the rate and a queue of %v, from 5 s on", 100*got.rate, got.queue)
	}
}

// What the other direction's queue adds to round trips while little is sent makes no
// queue here.
func TestRateBesideTheOtherDirection(t *testing.T) {
	w := network{12.5e6, between(100*time.Millisecond, 101*time.Millisecond), 1_800_000}
	r := rate{slack: time.Millisecond}
	now := w.trickle(&r, 1, 2*time.Second)
	now = network{12.5e6, between(140*time.Millisecond, 145*time.Millisecond), 0}.trickle(&r, now, 8*time.Second)
	if _, got := w.fill(&r, now, 4*time.Second); got.rate < 0.98 || got.queue > 25*time.Millisecond {
		t.Errorf("%.0f %% of the rate and a queue of %v", 100*got.rate, got.queue)
	}
}
