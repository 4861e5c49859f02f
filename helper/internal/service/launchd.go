package service

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	label      = "dev.causeway.gateway"
	launchdLog = "Library/Logs/causeway-gateway.log"
)

// launchd is the manager of a user's services on macOS; see launchd.plist(5).
var launchd = manager{
	file: func() (string, error) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the folder of launchd: %w", err)
		}
		return filepath.Join(home, "Library/LaunchAgents", label+".plist"), nil
	},
	text:    launchdPlist,
	start:   [][]string{{"launchctl", "bootstrap", "gui/{uid}", "{file}"}},
	stop:    [][]string{{"launchctl", "bootout", "gui/{uid}/" + label}},
	running: []string{"launchctl", "print", "gui/{uid}/" + label},
	log:     "less ~/" + launchdLog,
}

func launchdPlist(s Spec) string {
	var b strings.Builder
	b.WriteString(xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
  <key>Label</key><string>` + label + `</string>
  <key>ProgramArguments</key><array>
`)
	for _, w := range append([]string{s.Program}, s.Args...) {
		b.WriteString("    <string>")
		_ = xml.EscapeText(&b, []byte(w))
		b.WriteString("</string>\n")
	}
	b.WriteString("  </array>\n")
	// What the helper prints on stdout has secrets of its page, so only stderr is kept.
	if home, err := os.UserHomeDir(); err == nil {
		b.WriteString("  <key>StandardErrorPath</key><string>")
		_ = xml.EscapeText(&b, []byte(filepath.Join(home, launchdLog)))
		b.WriteString("</string>\n")
	}
	b.WriteString(`  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>
  <key>ProcessType</key><string>Interactive</string>
</dict></plist>
`)
	return b.String()
}
