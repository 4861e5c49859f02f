//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/matrix"
)

// conformanceHost has an IPv4 and an IPv6 address, and serves echo on both.
const (
	conformanceHost  = "conformance.corp.test"
	conformanceHost6 = "fd77::14"
)

// The resources are names alone or addresses alone, so that no other way answers.
const (
	conformanceNames = `[
		{"name": "far", "host": "conformance.corp.test", "ports": [7, 8, 10, 11, 14, 16, 99], "protocols": ["tcp", "udp"]},
		{"name": "quiet", "host": "blackhole.corp.test", "ports": [80]},
		{"name": "unreachable", "host": "unreachable.corp.test", "ports": [80]}
	]`
	conformanceAddresses = `[
		{"name": "far", "host": "10.77.0.14", "ports": [7, 8, 10, 11, 14, 16, 99], "protocols": ["tcp", "udp"]},
		{"name": "far6", "host": "fd77::14", "ports": [7, 99], "protocols": ["tcp", "udp"]},
		{"name": "dead ends", "host": "10.77.8.0/23", "ports": [80]}
	]`
)

// TestConformance has one program make the same calls directly, from laptop, and in
// each way, from cloud. What it sees differs in what test/matrix lists, and nothing
// else.
func TestConformance(t *testing.T) {
	program := filepath.Join(filepath.Dir(helper), "probes")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-trimpath", "-o", program, "../../helper/internal/capture/run")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Otherwise corp's kernel sends one ICMP error per second to laptop.
	mustOn(t, world.Corp, "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit")
	t.Cleanup(func() {
		_ = world.Corp.Command(context.Background(), "sh", "-c", "echo 1000 >/proc/sys/net/ipv4/icmp_ratelimit").Run()
	})
	echo6(t)
	arrived := sink(t)
	ownServer(t)
	if err := world.DNS.Set("conformance", world.Info().Echo.Address, conformanceHost6); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.DNS.Set("conformance") })

	byAddress := program + " probe " + strings.Join([]string{world.Info().Echo.Address, conformanceHost6, "7,7,99,80,10.77.9.1,10.77.8.1"}, ",")
	byName := `first() { getent "$1" "$2" | cut -d' ' -f1 | head -n 1; }
		` + program + ` probe $(first ahostsv4 ` + conformanceHost + `),$(first ahostsv6 ` + conformanceHost + ` | grep -v '^::ffff:'),7,7,99,80,$(first ahostsv4 blackhole.corp.test),$(first ahostsv4 unreachable.corp.test)`
	other := fmt.Sprintf("export OTHER_USER=%d\n", world.Info().Users[lab.Other].UID)
	direct := outcomes(t, mustOn(t, world.Laptop, other+byAddress))
	direct["fire and forget"] = arrived()
	for _, probe := range matrix.Probes() {
		if direct[probe] == "" {
			t.Errorf("there is no probe %q", probe)
		}
	}
	rootBare := []string{"ip", "netns", "exec", world.Cloud.NS, "setpriv", "--inh-caps=-all",
		"--bounding-set=-all," + strings.Replace(containerCaps, ",+net_raw", "", 1), "--",
		"env", "HOME=" + world.Info().Users[lab.Dev].Home, helper, "capture", "--stdio", "--log-level=debug"}
	for _, way := range []struct {
		name, resources string
		args, link      []string
		script          string
	}{
		{matrix.ByDevice, conformanceNames, nil, sshLink(), byName},
		{matrix.Held, conformanceNames, []string{"--tun=off"}, sshLink(), byName},
		{matrix.Accepted, conformanceNames, nil, rootBare, byName},
		{matrix.Tun, conformanceAddresses, nil, sshLink(), byAddress},
		{matrix.Run, conformanceAddresses, []string{"--tun=off"}, sshLink(), helper + " run -- " + byAddress},
	} {
		t.Run(way.name, func(t *testing.T) {
			s := connectBy(t, way.resources, append(way.args, "--users=everyone"), way.link...)
			got := outcomes(t, mustCloud(t, 4*time.Minute, other+way.script))
			got["fire and forget"] = arrived()
			s.stop()
			for _, probe := range slices.Sorted(maps.Keys(direct)) {
				listed := matrix.Differs(probe, way.name)
				switch differs := got[probe] != direct[probe]; {
				case differs && !listed:
					t.Errorf("%s\n direct %s\n here   %s", probe, direct[probe], got[probe])
				case !differs && listed:
					t.Errorf("%s is as it is directly, while the list says that it differs: %s", probe, got[probe])
				}
			}
			eventually(t, 10*time.Second, "no helper is left", func() bool { return len(running()) == 0 })
		})
	}
}

// outcomes returns what each probe printed.
func outcomes(t *testing.T, out string) map[string]string {
	t.Helper()
	said := map[string]string{}
	for line := range strings.SplitSeq(out, "\n") {
		probe, outcome, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("%q in\n%s", line, out)
		}
		said[probe] = outcome
	}
	return said
}

// ownServer has a server of the user's on all addresses of cloud before anything
// connects.
func ownServer(t *testing.T) {
	t.Helper()
	ln, err := world.Cloud.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", lab.CountPort))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go eachConn(ln, func(c net.Conn) { _, _ = io.WriteString(c, "own server") })
}

// sink counts on a port of corp's echo host what senders that do not wait have sent.
// The function that it returns says how many of 60 connections and 30 datagrams have
// arrived, and begins to count anew.
func sink(t *testing.T) func() string {
	t.Helper()
	at := net.JoinHostPort(world.Info().Echo.Address, "16")
	ln, err := world.Corp.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	pc, err := world.Corp.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	var conns, datagrams atomic.Int32
	go eachConn(ln, func(c net.Conn) {
		if b, err := io.ReadAll(c); err == nil && string(b) == "fire" {
			conns.Add(1)
		}
	})
	go eachDatagram(pc, func(net.Addr, []byte) { datagrams.Add(1) })
	return func() string {
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && (conns.Load() < 60 || datagrams.Load() < 30); time.Sleep(20 * time.Millisecond) {
		}
		return fmt.Sprint(conns.Swap(0), " and ", datagrams.Swap(0))
	}
}

// echo6 gives corp's echo host an IPv6 address.
func echo6(t *testing.T) {
	t.Helper()
	mustOn(t, world.Corp, "ip addr add "+conformanceHost6+"/64 dev laptop nodad")
	t.Cleanup(func() {
		_ = world.Corp.Command(context.Background(), "ip", "addr", "del", conformanceHost6+"/64", "dev", "laptop").Run()
	})
	at := net.JoinHostPort(conformanceHost6, fmt.Sprint(lab.EchoPort))
	ln, err := world.Corp.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	pc, err := world.Corp.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	go eachConn(ln, func(c net.Conn) { _, _ = io.Copy(c, c) })
	go eachDatagram(pc, func(from net.Addr, b []byte) { _, _ = pc.WriteTo(b, from) })
}

func eachConn(ln net.Listener, handle func(net.Conn)) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			handle(c)
			_ = c.Close()
		}()
	}
}

func eachDatagram(pc net.PacketConn, handle func(from net.Addr, b []byte)) {
	b := make([]byte, 1<<16)
	for {
		n, from, err := pc.ReadFrom(b)
		if err != nil {
			return
		}
		handle(from, b[:n])
	}
}
