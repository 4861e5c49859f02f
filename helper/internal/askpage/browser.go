package askpage

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/cli/browser"
)

// Browser returns a function that opens a file in the browser of the user who runs
// this process; nil if the process has no graphical desktop.
func Browser() func(file string) error {
	// A service of systemd may be older than the desktop. The service manager knows the
	// desktop, and what it starts outlives the service.
	if runtime.GOOS == "linux" && os.Getenv("INVOCATION_ID") != "" {
		return func(file string) error {
			out, err := exec.Command("systemd-run", "--user", "--quiet", "--collect", "--", "xdg-open", file).CombinedOutput()
			if err != nil {
				return fmt.Errorf("open a browser: %w: %s", err, strings.TrimSpace(string(out)))
			}
			return nil
		}
	}
	// Without a desktop, the programs that open files start a browser in the terminal.
	desktop := runtime.GOOS == "windows" || runtime.GOOS == "darwin" || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
	if !desktop {
		return nil
	}
	return func(file string) error {
		// What the opened program prints is of no use here.
		browser.Stdout, browser.Stderr = io.Discard, io.Discard
		path := filepath.ToSlash(file)
		if !strings.HasPrefix(path, "/") {
			path = "/" + path // as in file:///C:/Users
		}
		if err := browser.OpenURL((&url.URL{Scheme: "file", Path: path}).String()); err != nil {
			return fmt.Errorf("open a browser: %w", err)
		}
		return nil
	}
}
