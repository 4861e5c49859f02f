//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/test/bench/internal/load"
	"github.com/causeway-dev/causeway/test/lab"
)

// measurement is one tool in one row and one round.
type measurement struct {
	*world
	*way
	name  string // of the measurement, for files
	on    condition
	quick bool
	add   func(column string, value float64)
}

// cloud runs a client on cloud, by the usual way unless j has a target.
func (m *measurement) cloud(ctx context.Context, j job) (result, error) {
	if j.Target == (load.Target{}) {
		j.Target = m.usual()
	}
	j.Under = m.under
	var r result
	err := m.run(ctx, m.lab.Cloud, j, &r)
	return r, err
}

// usual is the plain connection, or SOCKS5 if the tool has no plain one.
func (v *way) usual() load.Target {
	if v.Addr == "" {
		return *v.socks
	}
	return v.Target
}

// measureBulk fills the way with one flow, first down and then up.
func measureBulk(ctx context.Context, m *measurement) error {
	j := job{Warm: 300 * time.Millisecond, Span: 1500 * time.Millisecond}
	if m.on.settle > 0 {
		j = job{Warm: m.on.settle, Span: 2 * time.Second}
	}
	if m.quick {
		j.Warm, j.Span = min(j.Warm, grown), time.Second
	}
	for _, j.What = range []string{"down", "up"} {
		before, profiled := m.cpu(), m.profiler.begin()
		r, err := m.cloud(ctx, j)
		if err != nil {
			return err
		}
		took := m.since(before)
		profiled(m.name + "-" + j.What)
		m.add(j.What, r.Rate()/mbit)
		m.add("cpu "+j.What, took.Seconds()/(float64(r.Total)/(1<<30)))
		time.Sleep(200 * time.Millisecond) // bytes in flight arrive meanwhile and are dropped
	}
	return nil
}

// measureEcho measures echoes beside a bulk flow.
func measureEcho(ctx context.Context, m *measurement) error {
	const interval = 5 * time.Millisecond
	span, warm := 2*time.Second, 500*time.Millisecond
	if m.on.settle > 0 {
		span, warm = 3*time.Second, m.on.settle
	}
	if m.quick {
		span, warm = span/2, min(warm, grown)
	}
	idle, err := m.cloud(ctx, job{What: "echo", Warm: interval, Span: span / 4})
	if err != nil {
		return err
	}
	m.add("idle p50", millis(idle.Took, 0.5))
	for _, direction := range []string{"down", "up"} {
		var bulk result
		var berr error
		done := make(chan struct{})
		go func() {
			defer close(done)
			bulk, berr = m.cloud(ctx, job{What: direction, Warm: warm, Span: span + time.Second/2})
		}()
		time.Sleep(warm)
		echo, err := m.cloud(ctx, job{What: "echo", Warm: interval, Span: span})
		<-done
		if err := errors.Join(err, berr); err != nil {
			return err
		}
		m.add(direction+" p50", millis(echo.Took, 0.5))
		m.add(direction+" p99", millis(echo.Took, 0.99))
		m.add(direction+" rate", bulk.Rate()/mbit)
		time.Sleep(time.Second / 2)
	}
	return nil
}

// measureIdle measures echoes beside nothing else.
func measureIdle(ctx context.Context, m *measurement) error {
	span := 3 * time.Second
	if m.quick {
		span = time.Second
	}
	r, err := m.cloud(ctx, job{What: "echo", Warm: 5 * time.Millisecond, Span: span})
	if err != nil {
		return err
	}
	m.add("p50", millis(r.Took, 0.5))
	m.add("p99", millis(r.Took, 0.99))
	return nil
}

// measureSetup connects by every way of the tool, one connection at a time.
func measureSetup(ctx context.Context, m *measurement) error {
	count := 50
	if m.on.path.Delay > 0 {
		count = 20
	}
	if m.quick {
		count /= 5
	}
	one := func(name string, t *load.Target) error {
		if t == nil || t.Addr == "" {
			return nil
		}
		r, err := m.cloud(ctx, job{Target: *t, What: "setup", Count: count})
		if err == nil {
			m.add(name+" p50", millis(r.Took, 0.5))
			m.add(name+" p99", millis(r.Took, 0.99))
		}
		return err
	}
	return errors.Join(one("plain", &m.Target), one("SOCKS5", m.socks), one("HTTP", m.http))
}

// measureBurst makes small connections as fast as 50 clients can.
func measureBurst(ctx context.Context, m *measurement) error {
	j := job{What: "burst", Count: 50, Span: 2 * time.Second}
	if m.quick {
		j.Span /= 2
	}
	before, profiled := m.cpu(), m.profiler.begin()
	r, err := m.cloud(ctx, j)
	if err != nil {
		return err
	}
	took := m.since(before)
	profiled(m.name)
	m.add("cpu ms", took.Seconds()*1000/float64(len(r.Took)))
	m.add("per second", float64(len(r.Took))/j.Span.Seconds())
	m.add("p50 ms", millis(r.Took, 0.5))
	m.add("p99 ms", millis(r.Took, 0.99))
	m.add("failed", float64(r.Failed))
	return nil
}

// measureMemory measures the memory of a session that has carried almost nothing, and
// then of the same session with idle flows.
func measureMemory(ctx context.Context, m *measurement) error {
	const flows = 2000
	const mib = 1 << 20
	time.Sleep(time.Second) // the start is over then
	cloud, laptop := m.memory(m.lab.Cloud), m.memory(m.lab.Laptop)
	m.add("cloud MiB", float64(cloud.resident)/mib)
	m.add("cloud PSS MiB", float64(cloud.proportional)/mib)
	m.add("processes", float64(cloud.processes))
	m.add("largest", float64(cloud.largest)/mib)
	m.add("laptop MiB", float64(laptop.resident)/mib)
	m.add("its largest", float64(laptop.largest)/mib)
	release, err := m.hold(ctx, flows)
	if err != nil {
		return err
	}
	defer release()
	time.Sleep(2 * time.Second)
	grown := func(h *lab.Host, from usage) float64 {
		return float64(m.memory(h).resident-from.resident) / 1024 / flows
	}
	m.add("cloud KiB/flow", grown(m.lab.Cloud, cloud))
	m.add("laptop KiB/flow", grown(m.lab.Laptop, laptop))
	return nil
}

// hold opens connections, waits until they are open, and returns a function that
// closes them.
func (m *measurement) hold(ctx context.Context, count int) (release func(), err error) {
	c := m.client(ctx, m.lab.Cloud, job{Target: m.usual(), What: "hold", Count: count, Under: m.under})
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p, err := m.start("hold", c)
	if err != nil {
		return nil, err
	}
	release = func() {
		_ = c.Process.Signal(syscall.SIGINT)
		<-p.done
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "held\n" {
		release()
		return nil, p.failed(fmt.Errorf("hold %d connections: %w", count, io.ErrUnexpectedEOF))
	}
	return release, nil
}
