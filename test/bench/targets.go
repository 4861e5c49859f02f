//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
)

// target is a limit for one of Causeway's figures. With a rival it limits the ratio
// to the rival's figure of the same round.
type target struct {
	what   string
	figure figure
	rival  *figure
	limit  float64
	most   bool // the limit is an upper bound
	unit   string
	digits int
}

func of(row, column string) figure { return figure{row, mine.name, column} }

func against(t tool, f figure) *figure {
	f.tool = t.name
	return &f
}

func allTargets() []target {
	var ts []target
	atLeast := func(times float64, what, row string, rival tool, unit string, columns ...string) {
		for _, c := range columns {
			ts = append(ts, target{what: what + ", " + c, figure: of(row, c), rival: against(rival, of(row, c)), limit: times, unit: unit})
		}
	}
	atMost := func(limit float64, what, row, unit string, digits int, columns ...string) {
		for _, c := range columns {
			ts = append(ts, target{what: what + ", " + c, figure: of(row, c), limit: limit, most: true, unit: unit, digits: digits})
		}
	}
	atLeast(1.5, "bulk, 0 RTT", "bulk-0", sshFixed, "Mbit/s", "down", "up")
	for _, c := range []string{"cpu down", "cpu up"} {
		f := of("bulk-0", c)
		ts = append(ts, target{what: "the same, " + c, figure: f, rival: against(sshFixed, f), limit: 0.6, most: true, unit: "s/GiB", digits: 2})
	}
	for _, c := range []string{"down", "up"} {
		f := figure{"bulk-0", mineTUN.name, c}
		ts = append(ts, target{what: "bulk through TUN, 0 RTT, " + c, figure: f, rival: against(wireGuard, f), limit: 2.5, unit: "Mbit/s"})
	}
	for _, on := range []struct {
		row string
		ms  float64
	}{{"setup-20", 20}, {"setup-100", 100}} {
		ts = append(ts, target{what: fmt.Sprintf("connect through TUN, %v ms", on.ms), figure: figure{on.row, mineTUN.name, "plain p50"},
			limit: 2.05*on.ms + 1, most: true, unit: "ms", digits: 1})
	}
	ts = append(ts, target{what: "memory of an idle flow through TUN", figure: figure{"memory", mineTUN.name, "cloud KiB/flow"}, limit: 40, most: true, unit: "KiB", digits: 1})
	atLeast(3, "bulk, 20 ms", "bulk-20", sshFixed, "Mbit/s", "down", "up")
	atLeast(7, "bulk, 100 ms", "bulk-100", sshFixed, "Mbit/s", "down", "up")
	atLeast(4, "bulk, 100 ms, 1 MiB in flight", "bulk-capped", sshFixed, "Mbit/s", "down", "up")
	for _, c := range []string{"down rate", "up rate"} {
		ts = append(ts, target{what: "100 ms, 100 Mbit/s, " + c, figure: of("echo-limited", c), limit: 99, unit: "Mbit/s", digits: 1})
	}
	atMost(128, "echo beside it", "echo-limited", "ms", 1, "down p50", "up p50")
	atMost(138, "echo beside it", "echo-limited", "ms", 1, "down p99", "up p99")
	atMost(2.05*20+1, "connect, 20 ms", "setup-20", "ms", 1, "plain p50", "SOCKS5 p50", "HTTP p50")
	atMost(2.05*100+1, "connect, 100 ms", "setup-100", "ms", 1, "plain p50", "SOCKS5 p50", "HTTP p50")
	atLeast(1.25, "new connections, 50 at once", "burst-0", sshFixed, "", "per second")
	atMost(1, "echo beside bulk, 0 RTT", "echo-0", "ms", 2, "down p50", "up p50")
	atMost(10, "echo beside bulk, 0 RTT", "echo-0", "ms", 2, "down p99", "up p99")
	atMost(12, "memory of a fresh helper", "memory", "MiB", 1, "largest", "its largest")
	atMost(26, "memory of an idle flow", "memory", "KiB", 1, "cloud KiB/flow", "laptop KiB/flow")
	return ts
}

// judge writes a table of the targets whose figures were measured, and of the size
// of the helper.
func judge(out io.Writer, s *samples, size int64) {
	fmt.Fprintf(out, "\n### Targets: %s\n\n| | figure | rival | ratio | target | |\n|---|---:|---:|---:|---:|---|\n", mine.name)
	for _, t := range allTargets() {
		value, compared := s.median(t.figure), s.median(t.figure)
		rival, ratio, limit := "", "", number(t.limit, t.digits)+" "+t.unit
		if t.rival != nil {
			compared = s.ratio(t.figure, *t.rival)
			rival, ratio = number(s.median(*t.rival), t.digits)+" "+t.unit, number(compared, 2)
			limit = number(t.limit, 2) + " times"
		}
		sign := "≥"
		met := compared >= t.limit
		if t.most {
			sign, met = "≤", compared <= t.limit
		}
		verdict := "met"
		switch {
		case math.IsNaN(value) && s.errs[[2]string{t.figure.row, t.figure.tool}] != "":
			verdict = "failed"
		case math.IsNaN(value):
			continue // not measured
		case math.IsNaN(compared):
			verdict = "no rival"
		case !met:
			verdict = "**missed**"
		}
		fmt.Fprintf(out, "| %s | %s %s | %s | %s | %s %s | %s |\n", t.what, number(value, t.digits), t.unit, rival, ratio, sign, limit, verdict)
	}
	const most = 12.0
	mb := float64(size) / 1e6
	verdict := "met"
	if mb > most {
		verdict = "**missed**"
	}
	fmt.Fprintf(out, "| helper, stripped, for this machine | %.1f MB | | | ≤ %.0f MB | %s |\n", mb, most, verdict)
}

func number(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

// size returns the number of bytes of a file, 0 if there is no file.
func size(file string) int64 {
	st, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return st.Size()
}
