//go:build linux

package lab

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// EditorOptions configures the editor. The zero value is a VS Code without
// extensions that runs as root, as dev containers do, in a trusted workspace.
type EditorOptions struct {
	// Extensions are VSIX files to install.
	Extensions []string
	// User is Dev to run the extension host without privileges; empty means root.
	User string
	// Settings is the text of the user's settings.json; empty means one that
	// hides the parts of the window that Causeway does not need.
	Settings string
	// WorkspaceSettings is the text of the workspace's settings.json; empty means none.
	WorkspaceSettings string
	// WorkspaceTrust makes the editor ask whether it may trust the workspace.
	WorkspaceTrust bool
	// Env is the environment of the extension host, as NAME=VALUE, besides the
	// user's variables, PATH, LANG and TMPDIR.
	Env []string
}

const quietSettings = `{
  "chat.disableAIFeatures": true,
  "extensions.ignoreRecommendations": true,
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "workbench.startupEditor": "none"
}
`

// startEditor starts VS Code in cloud, and the relay through which laptop reaches it.
func (l *Lab) startEditor(ctx context.Context) error {
	o := l.opts.Editor
	u := User{Name: "root", UID: os.Getuid(), GID: os.Getgid(), Home: filepath.Join(l.dir, "home", "root")}
	command := l.Cloud.Command
	if o.User != "" {
		u = l.user(o.User)
		if u.Name == "" {
			return fmt.Errorf("no user is called %q", o.User)
		}
		command = func(ctx context.Context, name string, args ...string) *exec.Cmd {
			return l.Cloud.CommandAs(ctx, u, name, args...)
		}
	}
	dir := filepath.Join(l.dir, "editor")
	addr, port, err := l.place(cloudAddr, 8080)
	_, relayPort, rerr := l.place("127.0.0.1", 8080)
	if err := errors.Join(err, rerr); err != nil {
		return err
	}
	relay := net.JoinHostPort("127.0.0.1", strconv.Itoa(relayPort))
	info := EditorInfo{
		URL: "http://" + relay + "/", Upstream: net.JoinHostPort(addr, strconv.Itoa(port)),
		UserDataDir: filepath.Join(dir, "data"), ExtensionsDir: filepath.Join(dir, "extensions"),
		Workspace: filepath.Join(dir, "workspace"), User: u.Name,
		RelaySocket: filepath.Join(l.dir, "relay.sock"), ForwardSocket: filepath.Join(l.dir, "forward.sock"),
		Chromium: filepath.Join(l.dir, "bin", "chromium"),
	}
	settings := map[string]string{filepath.Join(info.UserDataDir, "User"): cmp.Or(o.Settings, quietSettings)}
	if o.WorkspaceSettings != "" {
		settings[filepath.Join(info.Workspace, ".vscode")] = o.WorkspaceSettings
	}
	tmp := filepath.Join(dir, "tmp") // the editor leaves sockets there
	for _, d := range []string{u.Home, tmp, info.UserDataDir, info.ExtensionsDir, info.Workspace} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for d, text := range settings {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(d, "settings.json"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := chownAll(dir, u); err != nil {
		return err
	}

	code := func(ctx context.Context, args ...string) *exec.Cmd {
		c := command(ctx, l.tools.node, append([]string{
			filepath.Join(l.tools.modules, "code-server", "out", "node", "entry.js"),
			"--config", filepath.Join(dir, "config.yaml"),
			"--extensions-dir", info.ExtensionsDir, "--user-data-dir", info.UserDataDir,
		}, args...)...)
		path := filepath.Dir(l.tools.node) + ":" + os.Getenv("PATH")
		c.Env = slices.Concat(u.environ(), []string{"PATH=" + path, "LANG=C.UTF-8", "TMPDIR=" + tmp, ForwardVariable + "=" + info.ForwardSocket}, o.Env)
		c.Dir = info.Workspace
		return c
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), nil, 0o644); err != nil {
		return err
	}
	if len(o.Extensions) > 0 {
		var args []string
		for _, vsix := range o.Extensions {
			args = append(args, "--install-extension", vsix)
		}
		if _, err := output(code(ctx, args...)); err != nil {
			return fmt.Errorf("install extensions: %w", err)
		}
	}
	args := []string{"--auth", "none", "--bind-addr", info.Upstream, "--disable-telemetry", "--disable-update-check"}
	if !o.WorkspaceTrust {
		args = append(args, "--disable-workspace-trust")
	}
	p, err := l.start("editor", syscall.SIGTERM, code(l.ctx, append(args, info.Workspace)...))
	if err != nil {
		return err
	}
	if err := l.startEditorRelay(relay, info); err != nil {
		return err
	}
	if err := l.writeChromium(info.Chromium); err != nil {
		return err
	}
	if err := p.ready(ctx, func() error { return l.healthy(ctx, relay) }); err != nil {
		return err
	}
	l.setInfo(func(i *Info) { i.Editor = &info })
	return nil
}

func chownAll(dir string, u User) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, u.UID, u.GID))
	})
}

func (l *Lab) startEditorRelay(addr string, info EditorInfo) error {
	ln, err := l.Laptop.Listen("tcp", addr)
	if err != nil {
		return err
	}
	l.EditorRelay = NewRelay(ln, func(ctx context.Context) (net.Conn, error) {
		return l.Laptop.Dial(ctx, "tcp", info.Upstream)
	})
	l.onClose(l.EditorRelay.Close)
	if err := l.serveControl(info.RelaySocket, l.EditorRelay); err != nil {
		return err
	}
	forwarder := &Forwarder{laptop: l.Laptop, cloud: l.Cloud, relays: map[int]*Relay{}}
	l.onClose(forwarder.Close)
	if err := l.serveControl(info.ForwardSocket, forwarder); err != nil {
		return err
	}
	return os.Chmod(info.ForwardSocket, 0o666) // the editor may run as any user
}

// serveControl serves h at a Unix socket until the lab ends.
func (l *Lab) serveControl(socket string, h http.Handler) error {
	control, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- s.Serve(control) }()
	l.onClose(func() error {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return nil
}

// healthy asks the editor through the relay, from laptop, as the browser does.
func (l *Lab) healthy(ctx context.Context, relay string) error {
	c, err := l.Laptop.Dial(ctx, "tcp", relay)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		return err
	}
	status, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.Contains(status, " 200 ") {
		err = fmt.Errorf("editor answers %q", strings.TrimSpace(status))
	}
	return err
}

// writeChromium writes a script that runs the browser on laptop. The flags keep the
// browser from services that the lab does not have.
func (l *Lab) writeChromium(path string) error {
	text := "#!/bin/sh\nexec " + quote(l.execScript(l.Laptop)) + " " + quote(l.tools.chromium) +
		" --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run" +
		" --disable-background-networking --disable-component-update --disable-sync \"$@\"\n"
	return os.WriteFile(path, []byte(text), 0o755)
}

// publish forwards ports of this machine's loopback to laptop's loopback.
func (l *Lab) publish() error {
	if l.opts.Loopback {
		return nil // both are the same loopback
	}
	for _, port := range l.opts.Publish {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("publish port: %w", err)
		}
		r := NewRelay(ln, func(ctx context.Context) (net.Conn, error) {
			return l.Laptop.Dial(ctx, "tcp", addr)
		})
		l.onClose(r.Close)
	}
	return nil
}
