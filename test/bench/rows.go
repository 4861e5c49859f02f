//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/test/bench/internal/load"
	"github.com/causeway-dev/causeway/test/bench/internal/wan"
)

// row is one thing to measure of every tool, under one condition.
type row struct {
	name    string
	title   string
	on      condition
	tools   []tool
	columns []column
	measure func(ctx context.Context, m *measurement) error
}

// column is a figure of a row.
type column struct {
	name   string
	digits int
}

// measurement is one tool under one row in one round.
type measurement struct {
	*world
	*way
	quick bool
	far   func() bool // the path has a delay
	add   func(column string, value float64)
}

const mbit = 1e6 / 8 // bytes a second

var (
	near    = condition{name: "0 RTT"}
	region  = condition{"20 ms", wan.Path{Delay: 10 * time.Millisecond}}
	ocean   = condition{"100 ms", wan.Path{Delay: 50 * time.Millisecond}}
	capped  = condition{"100 ms, 1 MiB in flight", wan.Path{Delay: 50 * time.Millisecond, InFlight: 1 << 20}}
	limited = condition{"100 ms, 100 Mbit/s", wan.Path{Delay: 50 * time.Millisecond, Rate: 100 * mbit}}
)

// causeways are the two ways in which Causeway is measured; the first is the
// one that the targets are about.
var causeways = []tool{causeway(overTCP), causeway(overSSH)}

func allRows() []row {
	everyone := append([]tool{direct, bare, sshFixed, sshSOCKS}, causeways...)
	bulk := []column{{"down", 0}, {"up", 0}, {"cpu down", 2}, {"cpu up", 2}}
	return []row{
		{"bulk-0", "Bulk, one flow: Mbit/s, CPU s/GiB", near, everyone, bulk, measureBulk},
	}
}

func (m *measurement) cloud(ctx context.Context, j job) (result, error) {
	if j.Target == (load.Target{}) {
		j.Target = m.plain()
	}
	var r result
	err := m.run(ctx, m.lab.Cloud, j, &r)
	return r, err
}

// plain is the way that a client of the tool takes: a proxy where there is no other.
func (m *measurement) plain() load.Target {
	if m.Addr == "" {
		return *m.socks
	}
	return m.Target
}

// measureBulk fills the way with one flow, down and then up.
func measureBulk(ctx context.Context, m *measurement) error {
	j := job{Warm: 300 * time.Millisecond, Span: 1500 * time.Millisecond}
	if m.far() {
		j = job{Warm: 1500 * time.Millisecond, Span: 3 * time.Second} // windows grow first
	}
	if m.quick {
		j.Span = time.Second
	}
	for _, j.What = range []string{"down", "up"} {
		before := m.cpu()
		r, err := m.cloud(ctx, j)
		if err != nil {
			return err
		}
		m.add(j.What, r.Rate()/mbit)
		m.add("cpu "+j.What, (m.cpu()-before).Seconds()/(float64(r.Total)/(1<<30)))
		time.Sleep(200 * time.Millisecond) // what was under way is thrown away meanwhile
	}
	return nil
}

// held opens connections, waits until they are open, and returns what closes them.
func (m *measurement) held(ctx context.Context, count int) (release func(), err error) {
	c := m.client(ctx, m.lab.Cloud, job{Target: m.plain(), What: "hold", Count: count})
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	release = func() {
		_ = c.Process.Signal(syscall.SIGINT)
		_, _ = io.Copy(io.Discard, out)
		_ = c.Wait()
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		release()
		return nil, fmt.Errorf("hold %d connections: not all opened", count)
	}
	return release, nil
}
