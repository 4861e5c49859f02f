// Package logs makes the helper's loggers and filters them. Each reader of a
// log has a level of its own. The package says nothing about where log lines
// of a helper in the background go.
package logs

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// Parse returns the level of that name: trace, debug, info, warn or error.
func Parse(name string) (zerolog.Level, error) {
	l, err := zerolog.ParseLevel(name)
	if err != nil || name == "" || l < zerolog.TraceLevel || l > zerolog.ErrorLevel {
		return 0, fmt.Errorf("unknown level %.20q: use trace, debug, info, warn or error", name)
	}
	return l, nil
}

// Level is the least level that one reader of a log wants. It may change at any
// time. The zero value is debug.
type Level struct{ v atomic.Int32 }

// NewLevel returns a Level of info.
func NewLevel() *Level {
	l := new(Level)
	l.v.Store(int32(zerolog.InfoLevel))
	return l
}

// Set changes the level to that of a name that Parse knows.
func (l *Level) Set(name string) error {
	v, err := Parse(name)
	if err == nil {
		l.v.Store(int32(v))
	}
	return err
}

// String returns the level's name.
func (l *Level) String() string { return zerolog.Level(l.v.Load()).String() }

// Sample implements zerolog.Sampler: the reader wants events of that level.
func (l *Level) Sample(v zerolog.Level) bool { return v >= zerolog.Level(l.v.Load()) }

// Writer passes the lines that its reader wants on to W.
type Writer struct {
	W     io.Writer
	Level *Level
}

// Write passes a line without a level on.
func (w Writer) Write(p []byte) (int, error) { return w.W.Write(p) }

// WriteLevel implements zerolog.LevelWriter.
func (w Writer) WriteLevel(v zerolog.Level, p []byte) (int, error) {
	if v != zerolog.NoLevel && !w.Level.Sample(v) {
		return len(p), nil
	}
	return w.W.Write(p)
}

// Logs is where a process logs to.
type Logs struct {
	Out   io.Writer
	Level *Level // of Out
}

// New returns logs on stderr: for a person if that is a terminal, JSON otherwise.
// It turns the process-wide level of zerolog off, since each reader has its own.
func New(stderr io.Writer) *Logs {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	zerolog.SetGlobalLevel(zerolog.TraceLevel)
	l := &Logs{Out: stderr, Level: NewLevel()}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		l.Out = zerolog.ConsoleWriter{Out: f, TimeFormat: "15:04:05", NoColor: os.Getenv("NO_COLOR") != ""}
	}
	return l
}

// Logger returns the logger of a component.
func (l *Logs) Logger(component string) zerolog.Logger {
	return zerolog.New(l.Out).Sample(l.Level).With().Timestamp().Str("component", component).Logger()
}

// LoggerTo returns the logger of a component that also writes to w.
func (l *Logs) LoggerTo(component string, w Writer) zerolog.Logger {
	out := zerolog.MultiLevelWriter(Writer{l.Out, l.Level}, w)
	return zerolog.New(out).Sample(either{l.Level, w.Level}).With().Timestamp().Str("component", component).Logger()
}

type either [2]*Level

func (e either) Sample(v zerolog.Level) bool { return e[0].Sample(v) || e[1].Sample(v) }
