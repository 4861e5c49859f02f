//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Addresses are the same in every lab, since each namespace has its own.
const (
	corpAddr   = "10.77.0.1"
	dbAddr     = "10.77.0.10"
	npmAddr    = "10.77.0.11"
	webAddr    = "10.77.0.12"
	webAddr6   = "fd77::12"
	gitAddr    = "10.77.0.13"
	echoAddr   = "10.77.0.14"
	ntpAddr    = "10.77.0.15"
	dnsAddr    = "10.77.0.53"
	laptopCorp = "10.77.0.2"

	laptopCloud = "10.78.0.1"
	cloudAddr   = "10.78.0.2"

	cloudPublic = "198.51.100.2"
	publicAddr  = "198.51.100.10"
	publicDNS   = "198.51.100.53"
)

// PublicName is a name that cloud resolves and reaches without Causeway.
const PublicName = "public.example.test"

func (l *Lab) makeHosts(ctx context.Context) error {
	mk := func(name, addr string) *Host {
		ns := l.id + "-" + name
		return &Host{Name: name, NS: ns, Addr: netip.MustParseAddr(addr), etc: filepath.Join("/etc/netns", ns)}
	}
	l.Corp, l.Laptop = mk("corp", corpAddr), mk("laptop", laptopCorp)
	l.Cloud, l.Internet = mk("cloud", cloudAddr), mk("internet", publicAddr)

	if l.opts.Loopback {
		for _, h := range l.hosts() {
			h.NS, h.Addr, h.etc = "", netip.MustParseAddr("127.0.0.1"), "/etc"
		}
		return l.describeHosts()
	}
	l.onClose(func() error { return removeHosts(l.id) })
	for _, h := range l.hosts() {
		if err := ip(ctx, "", "netns add "+h.NS); err != nil {
			return err
		}
		// These settings are per namespace. A new one may inherit other values.
		if err := h.do(func() error {
			forward := "0"
			if h == l.Corp {
				forward = "1" // otherwise it could not answer for its dead ends below
			}
			if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte(forward), 0); err != nil {
				return err
			}
			// This machine may use another one; its pacing is meant for real networks.
			if err := os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte("reno"), 0); err != nil {
				return err
			}
			// Docker sets this in every container.
			return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
		}); err != nil {
			return fmt.Errorf("set sysctls on %s: %w", h.Name, err)
		}
	}
	batches := []struct {
		host *Host
		text string
	}{
		{l.Laptop, `
			link set lo up
			link add corp type veth peer name laptop netns ` + l.Corp.NS + `
			link add cloud type veth peer name laptop netns ` + l.Cloud.NS + `
			addr add 10.77.0.2/24 dev corp
			addr add fd77::2/64 dev corp nodad
			addr add 10.78.0.1/24 dev cloud
			link set corp up
			link set cloud up
			route add 10.77.8.0/24 via 10.77.0.1
			route add 10.77.9.0/24 via 10.77.0.1`},
		{l.Corp, `
			link set lo up
			addr add 10.77.0.1/24 dev laptop
			addr add fd77::1/64 dev laptop nodad
			addr add 10.77.0.10/24 dev laptop
			addr add 10.77.0.11/24 dev laptop
			addr add 10.77.0.12/24 dev laptop
			addr add fd77::12/64 dev laptop nodad
			addr add 10.77.0.13/24 dev laptop
			addr add 10.77.0.14/24 dev laptop
			addr add 10.77.0.15/24 dev laptop
			addr add 10.77.0.53/24 dev laptop
			link set laptop up
			route add unreachable 10.77.8.0/24
			route add blackhole 10.77.9.0/24`},
		{l.Cloud, `
			link set lo up
			link add internet type veth peer name cloud netns ` + l.Internet.NS + `
			addr add 10.78.0.2/24 dev laptop
			addr add 198.51.100.2/24 dev internet
			link set laptop up
			link set internet up`},
		{l.Internet, `
			link set lo up
			addr add 198.51.100.10/24 dev cloud
			addr add 198.51.100.53/24 dev cloud
			link set cloud up`},
	}
	for _, b := range batches {
		if err := ip(ctx, b.host.NS, b.text); err != nil {
			return fmt.Errorf("wire %s: %w", b.host.Name, err)
		}
	}
	return l.writeEtc()
}

// writeEtc writes the files of each host that `ip netns exec` mounts over those in /etc.
func (l *Lab) writeEtc() error {
	const hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	resolver := map[*Host]string{l.Corp: dnsAddr, l.Laptop: dnsAddr, l.Cloud: publicDNS, l.Internet: publicDNS}
	machine, err := os.Hostname() // sudo looks up the name, which all hosts share
	if err != nil {
		return err
	}
	for _, h := range l.hosts() {
		if err := os.MkdirAll(h.etc, 0o755); err != nil {
			return err
		}
		files := map[string]string{
			"hosts":         hosts + h.Addr.String() + "\t" + h.Name + " " + machine + "\n",
			"resolv.conf":   "nameserver " + resolver[h] + "\noptions timeout:2 attempts:1\n",
			"nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
		}
		if h == l.Cloud {
			// The user of a codespace may become root; the other user must not.
			files["sudoers"] = "root ALL=(ALL) ALL\n" + l.user(Dev).Name + " ALL=(ALL) NOPASSWD: ALL\n"
		}
		for name, text := range files {
			if _, err := os.Stat(filepath.Join("/etc", name)); err != nil {
				continue // without a file to mount it over, `ip netns exec` would complain
			}
			mode := os.FileMode(0o644)
			if name == "sudoers" {
				mode = 0o440
			}
			if err := os.WriteFile(filepath.Join(h.etc, name), []byte(text), mode); err != nil {
				return err
			}
		}
	}
	return l.describeHosts()
}

func (l *Lab) describeHosts() error {
	l.setInfo(func(i *Info) {
		i.Hosts = map[string]HostInfo{}
		for _, h := range l.hosts() {
			i.Hosts[h.Name] = HostInfo{
				Namespace: h.NS, Address: h.Addr.String(), Exec: l.execScript(h),
				HostsFile: h.HostsFile(), ResolvConf: h.ResolvConf(),
			}
		}
	})
	return l.writeScripts()
}

// place returns where a service listens: the given address and port, or on a lab on
// loopback a free port below the system's ephemeral ports that the lab has not used.
func (l *Lab) place(addr string, port int) (string, int, error) {
	if !l.opts.Loopback {
		return addr, port, nil
	}
	const first, count = 20000, 12000 // ephemeral ports begin at 32768
	l.mu.Lock()
	defer l.mu.Unlock()
	for range 1000 {
		n := first + rand.IntN(count)
		if l.placed[n] || !free(n) {
			continue
		}
		if l.placed == nil {
			l.placed = map[int]bool{}
		}
		l.placed[n] = true
		return "127.0.0.1", n, nil
	}
	return "", 0, errors.New("no port of loopback is free")
}

// free reports whether a port of loopback is free for TCP and for UDP. It keeps
// programs from being started meanwhile, since a child holds the sockets of this
// process open until its program runs.
func free(port int) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	at := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	ln, err := net.Listen("tcp", at)
	if err != nil {
		return false
	}
	defer ln.Close()
	pc, err := net.ListenPacket("udp", at)
	if err != nil {
		return false
	}
	return pc.Close() == nil
}

func (l *Lab) hosts() []*Host { return []*Host{l.Corp, l.Laptop, l.Cloud, l.Internet} }

// ip runs lines of ip(8) commands in a namespace, or outside if ns is empty.
func ip(ctx context.Context, ns, lines string) error {
	args := []string{"-batch", "-"}
	if ns != "" {
		args = append([]string{"-n", ns}, args...)
	}
	c := exec.CommandContext(ctx, "ip", args...)
	c.Stdin = strings.NewReader(strings.TrimSpace(lines) + "\n")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
