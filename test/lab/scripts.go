//go:build linux

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// execScript returns the script that runs its arguments on a host. Programs that
// start others by a path, such as a browser driver, need a file.
func (l *Lab) execScript(h *Host) string { return filepath.Join(l.dir, "bin", h.Name) }

func (l *Lab) writeScripts() error {
	if err := os.MkdirAll(filepath.Join(l.dir, "bin"), 0o755); err != nil {
		return err
	}
	wrappers := map[string]string{}
	known := map[string]bool{}
	for _, h := range l.hosts() {
		known[h.Name] = true
		if err := l.writeScript(h, l.execScript(h), ""); err != nil {
			return err
		}
		for _, program := range l.opts.Wrap[h.Name] {
			if !filepath.IsAbs(program) {
				return fmt.Errorf("wrap %s: the path is not absolute", program)
			}
			name := h.Name + "-" + filepath.Base(program)
			wrappers[name] = filepath.Join(l.dir, "bin", name)
			if err := l.writeScript(h, wrappers[name], program); err != nil {
				return err
			}
		}
	}
	for name := range l.opts.Wrap {
		if !known[name] {
			return fmt.Errorf("wrap programs for %q: no such host", name)
		}
	}
	l.setInfo(func(i *Info) { i.Wrappers = wrappers })
	return nil
}

func (l *Lab) writeScript(h *Host, path, program string) error {
	if program != "" {
		program = quote(program) + " "
	}
	// Only root may enter a namespace; dev can become root.
	enter := "exec"
	if h.NS != "" {
		enter = "[ \"$(id -u)\" = 0 ] || exec sudo -n \"$0\" \"$@\"\nexec ip netns exec " + h.NS
	}
	text := "#!/bin/sh\n" + enter + " " + program + "\"$@\"\n"
	return os.WriteFile(path, []byte(text), 0o755)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
