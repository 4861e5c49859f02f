//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/causeway-dev/causeway/test/lab"
)

// The links that Causeway is measured over. A kind that brings more than one
// connection gets its own case in link.
const (
	overTCP = "TCP" // a command that joins the helpers by a TCP connection, without encryption
	overSSH = "ssh" // ssh to cloud's sshd, as users write it
)

// link returns the command line of the link for `causeway connect`.
func (w *world) link(ctx context.Context, c condition, kind string) ([]string, error) {
	capture := []string{w.helper, "capture", "--stdio"}
	switch kind {
	case overSSH:
		return w.ssh(ctx, c, capture...)
	case overTCP:
		far := net.JoinHostPort("10.78.0.2", strconv.Itoa(w.port()))
		p, err := w.start("answer", w.lab.Cloud.CommandAs(ctx, w.lab.User(lab.Dev), w.self, append([]string{"answer", far}, capture...)...))
		if err != nil {
			return nil, err
		}
		carrier, err := w.carrier(ctx, c, "tcp", far)
		return []string{w.self, "pipe", carrier}, errors.Join(err, w.says(ctx, p, "listening"))
	}
	return nil, fmt.Errorf("there is no link %q", kind)
}

// causeway is the helper over a kind of link, with the server as a resource by
// its name, or by its address, which takes a TUN device.
func causeway(kind, host string) tool {
	name := "Causeway over " + kind
	if host == serverAddr {
		name = "Causeway's TUN over " + kind
	}
	return tool{name, func(ctx context.Context, w *world, c condition) (*way, error) {
		link, err := w.link(ctx, c, kind)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(w.dir, "resources.json")
		list := fmt.Sprintf(`[{"name": "bench", "host": %q, "ports": [%d]}]`, host, serverPort)
		if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
			return nil, err
		}
		args := append([]string{"connect", "--resources", file, "--events=json", "--"}, link...)
		cmd := w.lab.Laptop.Command(ctx, w.helper, args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		p, err := w.start("connect", cmd)
		if err != nil {
			return nil, err
		}
		var connected struct{ Event, Proxy string }
		events := bufio.NewReader(out)
		line, err := events.ReadBytes('\n')
		if err != nil {
			<-p.done
			return nil, p.failed(err)
		}
		if err := json.Unmarshal(line, &connected); err != nil || connected.Event != "connected" {
			return nil, fmt.Errorf("connect says %q", line)
		}
		go func() {
			for _, err := events.ReadBytes('\n'); err == nil; _, err = events.ReadBytes('\n') {
			}
		}()
		v := &way{Target: at(host, serverPort), processes: []*process{p}}
		socks, http := v.Target, v.Target
		socks.Via, socks.Proxy = "socks5", connected.Proxy
		http.Via, http.Proxy = "http", connected.Proxy
		v.socks, v.http = &socks, &http
		v.stop = func() {
			_ = p.cmd.Process.Signal(syscall.SIGINT)
			w.ends(p)
		}
		return v, nil
	}}
}
