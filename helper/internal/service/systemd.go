package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const unit = "causeway-gateway.service"

// systemd is the manager of a user's services on Linux; see systemd.unit(5).
var systemd = manager{
	file: func() (string, error) {
		dir, err := os.UserConfigDir()
		if err != nil {
			return "", fmt.Errorf("find the folder of systemd: %w", err)
		}
		return filepath.Join(dir, "systemd/user", unit), nil
	},
	text: systemdUnit,
	start: [][]string{
		{"systemctl", "--user", "daemon-reload"},
		{"systemctl", "--user", "enable", "--now", unit},
	},
	stop:    [][]string{{"systemctl", "--user", "disable", "--now", unit}},
	forget:  [][]string{{"systemctl", "--user", "daemon-reload"}},
	running: []string{"systemctl", "--user", "--quiet", "is-active", unit},
	log:     "journalctl --user --unit " + unit,
}

func systemdUnit(s Spec) string {
	words := make([]string, 0, 1+len(s.Args))
	for _, w := range append([]string{s.Program}, s.Args...) {
		words = append(words, systemdQuote(w))
	}
	return `[Unit]
Description=Causeway: resources of this machine's network for VS Code in a browser

[Service]
ExecStart=` + strings.Join(words, " ") + `
Restart=on-failure
RestartSec=5
# What the helper prints there has secrets of its page, and others may read the journal.
StandardOutput=null

[Install]
WantedBy=default.target
`
}

// systemdQuote quotes a word of ExecStart; see systemd.service(5), Command lines.
func systemdQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(s) + `"`
}
