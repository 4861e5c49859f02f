package session

import (
	"math"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
)

func TestResumeLimit(t *testing.T) {
	for seconds, want := range map[int]time.Duration{
		-1: carrier.DefaultResumeLimit, 0: carrier.DefaultResumeLimit, 1: time.Second,
		3 * 3600: 3 * time.Hour, 3*3600 + 1: 3 * time.Hour, math.MaxInt: 3 * time.Hour,
	} {
		if got := ResumeLimit(seconds); got != want {
			t.Errorf("%d s: %v, want %v", seconds, got, want)
		}
	}
}
