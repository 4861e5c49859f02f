//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
)

// The last bytes of the server's addresses, one for each tool that routes.
const (
	wayDirect = iota + 1
	wayWireGuard
	wayOpenVPN
	waySSHuttle
)

// installed returns an error that names the first missing program.
func installed(programs ...string) error {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%s is not installed", p)
		}
	}
	return nil
}

var wireGuard = tool{"wireguard-go", func(ctx context.Context, w *world, c condition) (*way, error) {
	if err := installed("wireguard-go", "wg"); err != nil {
		return nil, err
	}
	addr, err := w.way(ctx, wayWireGuard)
	if err != nil {
		return nil, err
	}
	port := w.port()
	endpoint, err := w.carrier(ctx, c, "udp", net.JoinHostPort(laptopCloud, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	var keys, public [2]string
	for i := range keys {
		keys[i] = filepath.Join(w.dir, fmt.Sprintf("wg%d.key", i))
		if public[i], err = wireGuardKey(ctx, keys[i]); err != nil {
			return nil, err
		}
	}
	v := &way{Target: at(addr, serverPort)}
	side := func(h *lab.Host, i int, inner string, peer ...string) error {
		dev := fmt.Sprintf("wg%d.%d", i, port) // the control sockets share a directory
		c := h.Command(ctx, "wireguard-go", "-f", dev)
		c.Env = append(os.Environ(), "LOG_LEVEL=verbose")
		p, err := w.start("wireguard", c)
		if err != nil {
			return err
		}
		v.processes = append(v.processes, p)
		// The socket exists before that, and wg removes a socket that refuses.
		if err := w.says(ctx, p, "UAPI listener started"); err != nil {
			return err
		}
		set := append([]string{"wg", "set", dev, "private-key", keys[i]}, peer...)
		return errors.Join(
			w.do(ctx, h, set...),
			w.do(ctx, h, "ip", "addr", "add", inner+"/24", "dev", dev),
			w.do(ctx, h, "ip", "link", "set", dev, "mtu", "1420", "up"),
		)
	}
	if err := side(w.lab.Laptop, 0, "10.79.0.1", "listen-port", strconv.Itoa(port), "peer", public[1], "allowed-ips", "10.79.0.2/32"); err != nil {
		return v, err
	}
	if err := side(w.lab.Cloud, 1, "10.79.0.2", "peer", public[0], "endpoint", endpoint, "allowed-ips", "10.79.0.1/32,"+addr+"/32"); err != nil {
		return v, err
	}
	return v, w.do(ctx, w.lab.Cloud, "ip", "route", "replace", addr, "via", "10.79.0.1")
}}

// wireGuardKey writes a key to file, and returns its public half.
func wireGuardKey(ctx context.Context, file string) (string, error) {
	key, err := exec.CommandContext(ctx, "wg", "genkey").Output()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(file, key, 0o600); err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, "wg", "pubkey")
	c.Stdin = bytes.NewReader(key)
	public, err := c.Output()
	return strings.TrimSpace(string(public)), err
}

// openVPN is two peers with TLS over UDP, otherwise with default settings.
var openVPN = tool{"OpenVPN", func(ctx context.Context, w *world, c condition) (*way, error) {
	if err := installed("openvpn", "openssl"); err != nil {
		return nil, err
	}
	addr, err := w.way(ctx, wayOpenVPN)
	if err != nil {
		return nil, err
	}
	var files, prints [2]string
	for i := range files {
		files[i] = filepath.Join(w.dir, fmt.Sprintf("openvpn%d", i))
		if prints[i], err = certificate(ctx, files[i]); err != nil {
			return nil, err
		}
	}
	port := w.port()
	endpoint, err := w.carrier(ctx, c, "udp", net.JoinHostPort(laptopCloud, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	far, farPort, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, err
	}
	v := &way{Target: at(addr, serverPort)}
	side := func(h *lab.Host, i int, args ...string) error {
		args = append(args, "--dev", "tun", "--proto", "udp", "--verb", "1",
			"--cert", files[i]+".crt", "--key", files[i]+".key", "--peer-fingerprint", prints[1-i])
		p, err := w.start("openvpn", h.Command(ctx, "openvpn", args...))
		if err == nil {
			v.processes = append(v.processes, p)
		}
		return err
	}
	return v, errors.Join(
		side(w.lab.Laptop, 0, "--ifconfig", "10.79.1.1", "10.79.1.2", "--port", strconv.Itoa(port), "--tls-server", "--dh", "none"),
		side(w.lab.Cloud, 1, "--ifconfig", "10.79.1.2", "10.79.1.1", "--remote", far, farPort, "--nobind", "--tls-client",
			"--route", addr, "255.255.255.255"),
	)
}}

// certificate writes file.crt and file.key and returns the fingerprint.
func certificate(ctx context.Context, file string) (string, error) {
	if _, err := os.Stat(file + ".crt"); errors.Is(err, fs.ErrNotExist) {
		if out, err := exec.CommandContext(ctx, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
			"-nodes", "-days", "2", "-subj", "/CN=bench", "-keyout", file+".key", "-out", file+".crt").CombinedOutput(); err != nil {
			return "", fmt.Errorf("make a certificate: %w: %s", err, out)
		}
	}
	out, err := exec.CommandContext(ctx, "openssl", "x509", "-in", file+".crt", "-noout", "-fingerprint", "-sha256").Output()
	_, fingerprint, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
	return fingerprint, err
}

// sshuttle takes connections on cloud and passes them through its own ssh to a
// Python program on laptop.
var sshuttle = tool{"sshuttle", func(ctx context.Context, w *world, c condition) (*way, error) {
	if err := installed("sshuttle", "nft"); err != nil {
		return nil, err
	}
	addr, err := w.way(ctx, waySSHuttle)
	if err != nil {
		return nil, err
	}
	// The address needs a route, as on every host; sshuttle takes the connection later.
	if err := w.do(ctx, w.lab.Cloud, "ip", "route", "replace", addr, "via", w.lab.Internet.Addr.String()); err != nil {
		return nil, err
	}
	at22 := net.JoinHostPort(laptopCloud, strconv.Itoa(w.port()))
	user, dir := w.lab.User(lab.Dev), filepath.Join(w.lab.Dir(), "ssh")
	config := filepath.Join(w.dir, "sshd.conf")
	if err := os.WriteFile(config, []byte(strings.Join([]string{
		"ListenAddress " + at22, "HostKey " + dir + "/host_ed25519", "AuthorizedKeysFile " + dir + "/authorized_keys",
		"AllowUsers " + user.Name, "UsePAM no", "StrictModes no", "PidFile none", "UseDNS no", "SetEnv HOME=" + user.Home, "",
	}, "\n")), 0o600); err != nil {
		return nil, err
	}
	daemon, err := w.start("sshd", w.lab.Laptop.Command(ctx, "/usr/sbin/sshd", "-D", "-e", "-f", config))
	if err != nil {
		return nil, err
	}
	v := &way{Target: at(addr, serverPort), processes: []*process{daemon}}
	if err := w.listens(ctx, at22); err != nil {
		return v, daemon.failed(err)
	}
	carrier, err := w.carrier(ctx, c, "tcp", at22)
	if err != nil {
		return v, err
	}
	info := w.lab.Info().SSH
	p, err := w.start("sshuttle", w.lab.Cloud.Command(ctx, "sshuttle", "--method", "nft",
		"-e", "ssh -F "+info.SSHConfig+" -o HostKeyAlias="+info.Address, "-r", user.Name+"@"+carrier, addr+"/32"))
	if err != nil {
		return v, err
	}
	v.processes = []*process{p, daemon}
	v.stop = func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it removes its rules
		w.ends(p)
	}
	if err := w.says(ctx, p, "Connected"); err != nil {
		return v, err
	}
	// It says so before it has made its rules, and never takes a connection that
	// began before them.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		tables, err := w.lab.Cloud.Command(ctx, "nft", "list", "tables").Output()
		if err != nil || strings.Contains(string(tables), "sshuttle") {
			return v, err
		}
		if time.Now().After(end) {
			return v, p.failed(errors.New("it has no rules"))
		}
	}
}}
