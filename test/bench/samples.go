//go:build linux

package main

import (
	"math"
	"slices"
	"time"
)

// figure names one measured value of one tool.
type figure struct {
	row, tool, name string
}

// samples has the values of all figures, one for each round, or NaN.
type samples struct {
	rounds int
	values map[figure][]float64
	errs   map[[2]string]string // why a tool has no figures in a row; by row and tool
}

func newSamples(rounds int) *samples {
	return &samples{rounds, map[figure][]float64{}, map[[2]string]string{}}
}

func (s *samples) add(f figure, round int, value float64) {
	if s.values[f] == nil {
		s.values[f] = slices.Repeat([]float64{math.NaN()}, s.rounds)
	}
	s.values[f][round] = value
}

// median returns NaN if there is no value.
func (s *samples) median(f figure) float64 { return quantile(s.values[f], 0.5) }

// ratio returns the median of ratios, or NaN if there are none.
func (s *samples) ratio(a, b figure) float64 { return quantile(s.ratios(a, b), 0.5) }

// ratios returns a divided by b for each round, or nil if one was not measured.
func (s *samples) ratios(a, b figure) []float64 {
	va, vb := s.values[a], s.values[b]
	if va == nil || vb == nil {
		return nil
	}
	ratios := make([]float64, s.rounds)
	for i := range ratios {
		ratios[i] = va[i] / vb[i]
	}
	return ratios
}

// quantile interpolates between the values next to q. It ignores NaN.
func quantile(values []float64, q float64) float64 {
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	at := q * float64(len(values)-1)
	low := int(at)
	high := min(low+1, len(values)-1)
	return values[low] + (at-float64(low))*(values[high]-values[low])
}

// millis returns a quantile of durations in milliseconds.
func millis(took []time.Duration, q float64) float64 {
	values := make([]float64, len(took))
	for i, d := range took {
		values[i] = float64(d) / float64(time.Millisecond)
	}
	return quantile(values, q)
}
