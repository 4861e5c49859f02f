package logs

import (
	"bytes"
	"strings"
	"testing"
)

// Each of two readers gets the lines of its own level, whatever the other wants.
func TestLevelsAreApart(t *testing.T) {
	var own, other bytes.Buffer
	l := New(&own)
	level := NewLevel()
	log := l.LoggerTo("test", Writer{&other, level})
	say := func() (string, string) {
		own.Reset()
		other.Reset()
		log.Trace().Msg("t")
		log.Debug().Msg("d")
		log.Info().Msg("i")
		log.Warn().Msg("w")
		letters := func(b *bytes.Buffer) (s string) {
			for line := range strings.SplitSeq(b.String(), "\n") {
				if _, after, ok := strings.Cut(line, `"message":"`); ok {
					s += after[:1]
				}
			}
			return s
		}
		return letters(&own), letters(&other)
	}
	if a, b := say(); a != "iw" || b != "iw" {
		t.Errorf("at first %q and %q", a, b)
	}
	if err := level.Set("trace"); err != nil {
		t.Fatal(err)
	}
	if a, b := say(); a != "iw" || b != "tdiw" {
		t.Errorf("after the other one has changed: %q and %q", a, b)
	}
	if err := l.Level.Set("warn"); err != nil {
		t.Fatal(err)
	}
	if a, b := say(); a != "w" || b != "tdiw" {
		t.Errorf("after both have changed: %q and %q", a, b)
	}
	if l.Level.String() != "warn" || level.String() != "trace" {
		t.Errorf("%v, %v", l.Level, level)
	}
	for _, wrong := range []string{"", "loud", "fatal", "disabled", strings.Repeat("x", 1000)} {
		if err := level.Set(wrong); err == nil || len(err.Error()) > 200 || level.String() != "trace" {
			t.Errorf("%.20q: %v", wrong, err)
		}
	}
}
