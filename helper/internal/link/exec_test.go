package link

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

// remoteVariable makes this program a remote's helper, which behaves as its value says.
const remoteVariable = "CAUSEWAY_TEST_REMOTE"

// remote is a helper that echoes what comes over its carrier.
type remote struct{ c *carrier.Conn }

func (r *remote) SetLogLevel(string) error           { return nil }
func (r *remote) CloseSession(context.Context) error { return r.c.Close() }
func (r *remote) AttachLink(l *rpc.Link)             { _ = r.c.Attach(context.Background(), Pipe(l)) }
func (r *remote) Status(context.Context) (rpc.CaptureStatus, error) {
	return rpc.CaptureStatus{}, nil
}
func (r *remote) ListenLinks(context.Context) (rpc.DirectLink, error) {
	return rpc.DirectLink{}, nil
}
func (r *remote) OpenSession(_ context.Context, p rpc.CaptureOpenParams) error {
	o := carrier.Options{Role: carrier.Capture}
	_, _ = hex.Decode(o.Session[:], []byte(p.Session))
	_, _ = hex.Decode(o.Secret[:], []byte(p.Secret))
	r.c = carrier.New(o)
	go func() { _, _ = io.Copy(r.c, r.c) }()
	return nil
}

// beRemote is the other process of the tests.
func beRemote(how string) {
	switch how {
	case "terminal": // echoes as a terminal does, and passes no line on that has no end
		for b := make([]byte, 1); ; {
			if _, err := os.Stdin.Read(b); err != nil {
				return
			}
			if b[0] == '\r' || b[0] == '\n' {
				_, _ = os.Stdout.WriteString("\r\n")
			} else {
				_, _ = os.Stdout.Write(b)
			}
		}
	case "endless":
		for {
			if _, err := os.Stdout.WriteString("yes\n"); err != nil {
				return
			}
		}
	case "missing":
		fmt.Println("bash: causeway: command not found")
		os.Exit(127)
	case "greeting":
		fmt.Print("Last login: today\r\n* Content-Length is a word *\n\x1b[31mWelcome\x1b[0m, ")
	}
	conn := rpc.ServeCapture(rpc.NewStdio(os.Stdin, os.Stdout), rpc.Identity{}, new(remote))
	<-conn.Done()
}

// start runs a link to a remote that behaves like how, and returns the log.
func start(t *testing.T, how string) (e *Exec, c *carrier.Conn, log string, err error) {
	t.Helper()
	t.Setenv(remoteVariable, how)
	o := carrier.Options{Role: carrier.Gateway}
	_, _ = rand.Read(o.Session[:])
	_, _ = rand.Read(o.Secret[:])
	c = carrier.New(o)
	t.Cleanup(func() { _ = c.Close() })
	var lines bytes.Buffer
	command := Command{Args: []string{os.Args[0]}, Stderr: io.Discard, Log: zerolog.New(&lines)}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	e, err = command.Start(ctx, c, rpc.CaptureOpenParams{Session: hex.EncodeToString(o.Session[:]), Secret: hex.EncodeToString(o.Secret[:])})
	return e, c, lines.String(), err
}

// What a login shell or a banner prints does not end the link, and is logged.
func TestTextBeforeTheHelper(t *testing.T) {
	for how, want := range map[string]string{"greeting": "Welcome", "plain": ""} {
		t.Run(how, func(t *testing.T) {
			e, c, log, err := start(t, how)
			if err != nil {
				t.Fatalf("%v\n%s", err, log)
			}
			if got := strings.Contains(log, "printed text"); got != (want != "") || !strings.Contains(log, want) {
				t.Errorf("log: %s", log)
			}
			if strings.Contains(log, "\x1b") {
				t.Errorf("log: %q", log)
			}
			said := bytes.Repeat([]byte("causeway"), 64<<10)
			go func() { _, _ = c.Write(said) }()
			got := make([]byte, len(said))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, said) {
				t.Errorf("not echoed: %v", err)
			}
			_ = e.Close(true)
		})
	}
}

func TestLinksThatCannotWork(t *testing.T) {
	for how, want := range map[string]string{
		"terminal": "docker exec -i",
		"endless":  "printed more than 65536 bytes",
		"missing":  "ended with exit status 127",
	} {
		t.Run(how, func(t *testing.T) {
			began := time.Now()
			_, _, log, err := start(t, how)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v\n%.500s", err, log)
			}
			if how == "missing" && !strings.Contains(log, "command not found") {
				t.Errorf("log: %s", log)
			}
			if took := time.Since(began); took > 10*time.Second || len(log) > 8<<10 {
				t.Errorf("it took %v and %d bytes of log", took, len(log))
			}
		})
	}
}
