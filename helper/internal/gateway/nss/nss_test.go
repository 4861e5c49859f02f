package nss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a program with that text.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "getent")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLookUp(t *testing.T) {
	known := script(t, `[ "$*" = "ahosts db" ] || exit 2
cat <<END
10.0.0.1        STREAM db.corp.test
10.0.0.1        DGRAM
fd00::1         STREAM
garbage
END`)
	for name, want := range map[string]string{"db": "[10.0.0.1 fd00::1] <nil>", "gone": "[] <nil>"} {
		got, err := lookUp(t.Context(), known, name)
		if said := fmt.Sprint(got, err); said != want {
			t.Errorf("%s: %s, want %s", name, said, want)
		}
	}
	if got, err := lookUp(t.Context(), t.TempDir(), "db"); got != nil || err != nil {
		t.Errorf("without the program: %v, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lookUp(ctx, script(t, "exec sleep 60"), "db"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a program that hangs: %v", err)
	}
	if len(slots) != 0 {
		t.Errorf("%d slots are in use", len(slots))
	}
}

func TestSystem(t *testing.T) {
	got, err := Lookup(t.Context(), "localhost")
	if err != nil || runtime.GOOS == "linux" && len(got) == 0 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Lookup(t.Context(), "-s"); got != nil || err != nil {
		t.Errorf("an option: %v, %v", got, err)
	}
}
