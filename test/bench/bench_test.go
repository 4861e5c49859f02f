//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && roles[os.Args[1]] != nil {
		if err := roles[os.Args[1]](context.Background(), os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestEveryRow measures what --quick does, and a rival in the first row. It
// judges no figures except those that the relay decides.
func TestEveryRow(t *testing.T) {
	o := options{root: "../..", quick: true, rounds: 1, progress: io.Discard}
	rows := o.selected()
	for i := range rows {
		rows[i].tools = []tool{mine}
		if i == 0 {
			rows[i].tools = []tool{sshFixed, mine}
		}
	}
	w, err := raise(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.measure(t.Context(), o, rows)
	if err != nil {
		t.Error(err)
	}
	bytes := size(w.helper)
	if err := w.lab.Close(); err != nil {
		t.Error(err)
	}
	for of, why := range s.errs {
		t.Errorf("%s, %s: %s", of[0], of[1], why)
	}
	// Causeway accepts a connection by name when the gateway has connected;
	// the byte and its answer take the second round trip.
	if got := s.median(of("setup-100", "plain p50")); got < 200 || got > 250 {
		t.Errorf("connecting at 100 ms took %.1f ms", got)
	}
	var out strings.Builder
	report(&out, rows, s, time.Second)
	judge(&out, s, bytes)
	t.Log(out.String())
	if !(s.ratio(of("bulk-0", "down"), *against(sshFixed, of("bulk-0", "down"))) > 0) {
		t.Error("there is no ratio to the rival")
	}
}

func TestRatioIsOfTheSameRound(t *testing.T) {
	s := newSamples(3)
	a, b := figure{"r", "a", "x"}, figure{"r", "b", "x"}
	for i, v := range []float64{10, 40, 90} {
		s.add(a, i, v)
	}
	s.add(b, 0, 5)
	s.add(b, 2, 10)
	if got := s.ratio(a, b); got != 5.5 { // of 2 and 9
		t.Errorf("ratio %v, want 5.5", got)
	}
	if got := s.median(figure{"r", "c", "x"}); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v", got)
	}
}

// TestBefore has a helper from before beside each tool that is Causeway, and
// prints what the helper is to it.
func TestBefore(t *testing.T) {
	o := options{before: "helper", quick: true}
	var names []string
	rows := o.selected()
	for _, tool := range rows[0].tools {
		names = append(names, tool.name)
	}
	if got, want := strings.Join(names, "; "), "kernel, direct; OpenSSH -R, fixed port; Causeway; Causeway, before"; got != want {
		t.Errorf("tools are %s, want %s", got, want)
	}
	s := newSamples(2)
	for round, v := range []float64{300, 330} {
		s.add(figure{"bulk-0", "Causeway", "up"}, round, v)
		s.add(figure{"bulk-0", "Causeway, before", "up"}, round, 300)
		s.add(figure{"bulk-0", "Causeway", "down"}, round, v) // has no before
	}
	var out strings.Builder
	compare(&out, rows, s)
	if want := "| bulk-0 | Causeway | up | 300 [300-300] | 315 [300-330] | 1.050 [1.000-1.100] |\n"; !strings.HasSuffix(out.String(), "---:|\n"+want) {
		t.Errorf("got %s, want %s", out.String(), want)
	}
}

// TestRoundTrips wants the two round trips of a direct connection to be the measure of
// the same round, for a tool's proxy too.
func TestRoundTrips(t *testing.T) {
	s := newSamples(2)
	for round, direct := range []float64{40, 44} {
		s.add(figure{"setup-20", "kernel, direct", "plain p50"}, round, direct)
		s.add(figure{"setup-20", "Causeway", "plain p50"}, round, direct*1.5)
		s.add(figure{"setup-20", "Causeway's proxy", "SOCKS5 p50"}, round, direct+2)
	}
	var out strings.Builder
	for _, r := range allRows() {
		if r.name == "setup-0" || r.name == "setup-20" {
			roundTrips(&out, r, s)
		}
	}
	want := "\n| round trips | |\n|---|---:|\n" +
		"| kernel, direct | 2.00 [2.00-2.00] |\n| Causeway | 3.00 [3.00-3.00] |\n| Causeway's proxy | 2.10 [2.09-2.10] |\n"
	if out.String() != want {
		t.Errorf("got %s, want %s", out.String(), want)
	}
}
