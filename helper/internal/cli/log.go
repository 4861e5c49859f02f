package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// logs makes the helper's loggers: for a person on a terminal, JSON otherwise.
type logs struct {
	out   io.Writer
	level string
}

func newLogs(stderr io.Writer) *logs {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	l := &logs{out: stderr, level: "info"}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		l.out = zerolog.ConsoleWriter{Out: f, TimeFormat: "15:04:05", NoColor: os.Getenv("NO_COLOR") != ""}
	}
	return l
}

func (l *logs) addFlags(root *cobra.Command) {
	root.PersistentFlags().StringVar(&l.level, "log-level", l.level, "least level to log: trace, debug, info, warn or error")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if err := setLevel(l.level); err != nil {
			return usageError(fmt.Errorf("--log-level: %w", err))
		}
		return nil
	}
}

// setLevel sets the level of every logger of the process.
func setLevel(level string) error {
	v, err := zerolog.ParseLevel(level)
	if err != nil || v < zerolog.TraceLevel || v > zerolog.ErrorLevel || level == "" {
		return fmt.Errorf("unknown level %q: use trace, debug, info, warn or error", level)
	}
	zerolog.SetGlobalLevel(v)
	return nil
}

// logger returns a logger on stderr.
func (l *logs) logger(component string) zerolog.Logger {
	return zerolog.New(l.out).With().Timestamp().Str("component", component).Logger()
}

// loggerTo returns a logger that also notifies a shim that cannot see stderr.
func (l *logs) loggerTo(component string, notify func(rpc.LogMessage)) zerolog.Logger {
	return zerolog.New(zerolog.MultiLevelWriter(l.out, notifyWriter(notify))).With().Timestamp().Str("component", component).Logger()
}

type notifyWriter func(rpc.LogMessage)

func (w notifyWriter) Write(p []byte) (int, error) {
	var event map[string]json.RawMessage
	if json.Unmarshal(p, &event) != nil {
		return len(p), nil
	}
	var m rpc.LogMessage
	_ = json.Unmarshal(event[zerolog.LevelFieldName], &m.Level)
	_ = json.Unmarshal(event[zerolog.MessageFieldName], &m.Message)
	for _, k := range []string{zerolog.LevelFieldName, zerolog.MessageFieldName, zerolog.TimestampFieldName} {
		delete(event, k)
	}
	m.Fields, _ = json.Marshal(event)
	w(m)
	return len(p), nil
}
