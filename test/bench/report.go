//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"time"
)

// report writes a table for each row.
func report(out io.Writer, rows []row, s *samples, took time.Duration) {
	if s == nil {
		return
	}
	for _, r := range rows {
		fmt.Fprintf(out, "\n### %s, %s\n\n| |", r.title, r.on.name)
		for _, c := range r.columns {
			fmt.Fprintf(out, " %s |", c.name)
		}
		fmt.Fprintf(out, "\n|---|%s\n", strings.Repeat("---:|", len(r.columns)))
		for _, t := range r.tools {
			fmt.Fprintf(out, "| %s |", t.name)
			if why := s.errs[[2]string{r.name, t.name}]; why != "" {
				fmt.Fprintf(out, " none: %s |%s\n", strings.ReplaceAll(why, "|", "/"), strings.Repeat(" |", len(r.columns)-1))
				continue
			}
			for _, c := range r.columns {
				fmt.Fprintf(out, " %s |", s.spread(figure{r.name, t.name, c.name}, c.digits))
			}
			fmt.Fprintln(out)
		}
		roundTrips(out, r, s)
	}
	far := (s.rounds + 1) / 2
	fmt.Fprintf(out, "\nMedians [least-most] of %d rounds, of %d where there is a delay; %s on %d processors.\n",
		s.rounds, far, took.Round(time.Second), runtime.NumCPU())
}

// roundTrips writes, for a row of connections over a path with delay, how many round
// trips each tool needs from the start of a connection to the answer to its first byte.
// A direct connection needs two; its time includes what the lab adds to the delay.
func roundTrips(out io.Writer, r row, s *samples) {
	const plain, socks = "plain p50", "SOCKS5 p50"
	base := figure{r.name, direct.name, plain}
	if r.on.path.Delay == 0 || s.values[base] == nil {
		return
	}
	fmt.Fprint(out, "\n| round trips | |\n|---|---:|\n")
	for _, t := range r.tools {
		of := figure{r.name, t.name, plain}
		if s.values[of] == nil {
			of.name = socks
		}
		ratios := s.ratios(of, base)
		for i := range ratios {
			ratios[i] *= 2
		}
		if ratios != nil {
			fmt.Fprintf(out, "| %s | %s |\n", t.name, spread(ratios, 2))
		}
	}
}

// spread is the median with the extremes.
func (s *samples) spread(f figure, digits int) string {
	return spread(s.values[f], digits)
}

func spread(values []float64, digits int) string {
	middle := quantile(values, 0.5)
	if math.IsNaN(middle) {
		return ""
	}
	if len(values) == 1 {
		return number(middle, digits)
	}
	return number(middle, digits) + " [" + number(quantile(values, 0), digits) + "-" + number(quantile(values, 1), digits) + "]"
}

// compare writes a table of the figures that the earlier helper has too, with the
// ratio of the helper's figure to the earlier one of the same round.
func compare(out io.Writer, rows []row, s *samples) {
	if s == nil {
		return
	}
	begun := false
	for _, r := range rows {
		for _, t := range r.tools {
			for _, c := range r.columns {
				after, before := figure{r.name, t.name, c.name}, figure{r.name, earlier(t).name, c.name}
				ratios := s.ratios(after, before)
				if ratios == nil {
					continue
				}
				if !begun {
					fmt.Fprint(out, "\n### Ratio of after to before in the same round\n\n| row | tool | | before | after | ratio |\n|---|---|---|---:|---:|---:|\n")
					begun = true
				}
				fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", r.name, t.name, c.name,
					s.spread(before, c.digits), s.spread(after, c.digits), spread(ratios, 3))
			}
		}
	}
}
