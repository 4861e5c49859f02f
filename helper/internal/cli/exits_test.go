package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Credentials come from a file that nobody else may read, and never get into a message.
func TestCredentialsFile(t *testing.T) {
	var stderr bytes.Buffer
	e := &env{stderr: &stderr}
	file := filepath.Join(t.TempDir(), "credentials.json")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"http://proxy.test:2": {"user": "me", "password": "hunter2"}}`, 0o600)
	if got, err := readCredentials(e, file); err != nil || got["http://proxy.test:2"].Password != "hunter2" {
		t.Error(len(got), err)
	}
	write(`{"http://proxy.test:2": {"user": "me", "password": "hunter2"}}`, 0o640)
	if _, err := readCredentials(e, file); runtime.GOOS != "windows" && (err == nil || !strings.Contains(err.Error(), "0600")) {
		t.Error(err)
	}
	write(`{"http://proxy.test:2": "hunter2"}`, 0o600)
	if _, err := readCredentials(e, file); err == nil || strings.Contains(err.Error()+stderr.String(), "hunter2") {
		t.Error(err, stderr.String())
	}
}
