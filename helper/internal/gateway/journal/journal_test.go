package journal

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/hostile"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/google/go-cmp/cmp"
)

func request(program string, port uint16) tunnel.Request {
	return tunnel.Request{
		Target: tunnel.Target{Network: tunnel.TCP, Host: "db.test", Port: port},
		Origin: tunnel.Origin{Source: "tun", User: "dev", PID: 7, Program: program},
	}
}

func TestLifeOfAFlow(t *testing.T) {
	j := New()
	w := j.Watch()
	f := j.Begin(request("psql", 5432), "db")
	if d := w.Next(); len(d.Flows) != 1 || d.Flows[0].State != StateOpening || d.Flows[0].Program != "psql" || d.Flows[0].Resource != "db" {
		t.Fatalf("begun: %+v", d)
	}
	f.Reach(LookedUp)
	f.Reach(Judged)
	f.Connect(netip.MustParseAddr("10.0.0.7"))
	f.Up(5)
	f.Down(7)
	d := w.Next()
	if len(d.Flows) != 1 || d.Flows[0].State != StateOpen || d.Flows[0].Address != "10.0.0.7" || d.Flows[0].BytesUp != 5 || d.Flows[0].BytesDown != 7 {
		t.Fatalf("open: %+v", d)
	}
	r := d.Flows[0]
	if !(0 < r.LookedUp && r.LookedUp <= r.Judged && r.Judged <= r.Dialled && r.Dialled <= r.FirstByte) || r.Ended != 0 {
		t.Errorf("stages: %+v", r)
	}
	if d := w.Next(); !d.Empty() {
		t.Errorf("nothing has changed: %+v", d)
	}
	f.Down(3)
	if diff := cmp.Diff(Delta{Counts: [][3]uint64{{r.ID, 5, 10}}}, w.Next()); diff != "" {
		t.Error(diff)
	}
	f.Close("reset\x1b[2J")
	f.Fail(&tunnel.Error{Code: tunnel.Failed})
	if d := w.Next(); len(d.Flows) != 1 || d.Flows[0].State != StateClosed || d.Flows[0].Reason != `reset\u001b[2J` || d.Flows[0].Ended == 0 {
		t.Errorf("ended: %+v", d)
	}
	if d := j.Watch().Next(); len(d.Flows) != 1 {
		t.Errorf("another watcher sees %+v", d)
	}
}

// Each list is bounded, and a watcher is told of flows that are forgotten.
func TestBounds(t *testing.T) {
	j := New()
	w := j.Watch()
	open := j.Begin(request("stays", 1), "db")
	first := j.Begin(request("goes", 2), "db")
	w.Next()
	first.Fail(&tunnel.Error{Code: tunnel.Refused, Reason: "no"})
	for range MaxEnded {
		j.Begin(request("x", 3), "db").Close("")
	}
	for i := range MaxQuestions + 10 {
		j.Ask(Question{Name: strings.Repeat("x", 1000), Type: fmt.Sprint(i)})
	}
	for i := range MaxRefusals + 10 {
		j.Refuse(request("x", uint16(i)), "", &tunnel.Error{Code: tunnel.Denied})
		j.Refuse(request("x", uint16(i)), "", &tunnel.Error{Code: tunnel.Denied})
	}
	d := w.Next()
	if len(d.Flows) != MaxEnded || len(d.Gone) != 1 || d.Gone[0] != first.id {
		t.Errorf("%d flows, gone %v; want %d, [%d]", len(d.Flows), d.Gone, MaxEnded, first.id)
	}
	if len(d.Questions) != MaxQuestions || len(d.Questions[0].Name) > 310 || d.Questions[0].Type != "10" {
		t.Errorf("%d questions, the first %q", len(d.Questions), d.Questions[0].Type)
	}
	if len(d.Refusals) != MaxRefusals || d.Refusals[0].Count != 2 || d.Refusals[0].Port != 10 {
		t.Errorf("%d refusals, the first %+v", len(d.Refusals), d.Refusals[0])
	}
	open.Close("")
	if got := len(w.told); got != MaxEnded+1 {
		t.Errorf("the watcher knows %d flows, want %d", got, MaxEnded+1)
	}
}

// Many changes reach a watcher in parts, each once.
func TestParts(t *testing.T) {
	j := New()
	w := j.Watch()
	const many = 2*maxRows + 10
	for range many {
		j.Begin(request("x", 1), "db")
	}
	seen := map[uint64]bool{}
	for more := true; more; {
		d := w.Next()
		if len(d.Flows) > maxRows || len(d.Counts)+len(d.Gone) > 0 {
			t.Fatalf("%d flows at once, %d counts, %d gone", len(d.Flows), len(d.Counts), len(d.Gone))
		}
		for _, f := range d.Flows {
			if seen[f.ID] {
				t.Fatalf("flow %d twice", f.ID)
			}
			seen[f.ID] = true
		}
		more = d.More
	}
	if len(seen) != many {
		t.Errorf("%d flows, want %d", len(seen), many)
	}
}

// 5,000 open flows that move bytes, of which 200 per second come and go, need at most
// 4 MiB with one watcher.
func TestMemoryOfManyFlows(t *testing.T) {
	const flows, perTick, ticks, limit = 5000, 50, 200, 4 << 20
	before := hostile.Measure()
	j := New()
	w := j.Watch()
	open := make([]*Flow, 0, flows)
	begin := func(i int) *Flow {
		r := request(fmt.Sprintf("program-%d", i), 5432)
		r.Target.Host = fmt.Sprintf("host-%d.some.longer.domain.corp.test", i)
		f := j.Begin(r, "db")
		f.Reach(LookedUp)
		f.Connect(netip.MustParseAddr("10.0.0.7"))
		return f
	}
	for i := range flows {
		open = append(open, begin(i))
	}
	var took time.Duration
	for tick := range ticks {
		for i := range perTick {
			at := (tick*perTick + i) % flows
			open[at].Close("")
			open[at] = begin(flows + tick*perTick + i)
			j.Ask(Question{Name: open[at].request.Target.Host, Type: "A", Answer: fmt.Sprint("10.0.0.", i)})
			j.Refuse(request("x", uint16(tick*perTick+i)), "", &tunnel.Error{Code: tunnel.Denied, Reason: "no approved resource covers it"})
		}
		for _, f := range open {
			f.Down(1000)
		}
		start := time.Now()
		w.Next()
		took += time.Since(start)
	}
	grown := hostile.Measure().Heap - before.Heap
	t.Logf("%d flows, %d of them told: %.2f MiB, %v for each delta", len(j.open), len(w.told), float64(grown)/(1<<20), took/ticks)
	if grown > limit {
		t.Errorf("the journal and its watcher keep %d bytes, want at most %d", grown, limit)
	}
	if len(j.open) != flows {
		t.Errorf("%d flows are open, want %d", len(j.open), flows)
	}
}
