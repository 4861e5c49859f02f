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
		{"name": "far", "host": "conformance.corp.test", "ports": [7, 8, 11, 14, 99], "protocols": ["tcp", "udp"]},
		{"name": "quiet", "host": "blackhole.corp.test", "ports": [80]},
		{"name": "unreachable", "host": "unreachable.corp.test", "ports": [80]}
	]`
	conformanceAddresses = `[
		{"name": "far", "host": "10.77.0.14", "ports": [7, 8, 11, 14, 99], "protocols": ["tcp", "udp"]},
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
	serve6(t)
	if err := world.DNS.Set("conformance", world.Info().Echo.Address, conformanceHost6); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.DNS.Set("conformance") })

	byAddress := program + " probe " + strings.Join([]string{world.Info().Echo.Address, conformanceHost6, "7,7,99,80,10.77.9.1,10.77.8.1"}, ",")
	byName := `first() { getent "$1" "$2" | cut -d' ' -f1 | head -n 1; }
		` + program + ` probe $(first ahostsv4 ` + conformanceHost + `),$(first ahostsv6 ` + conformanceHost + ` | grep -v '^::ffff:'),7,7,99,80,$(first ahostsv4 blackhole.corp.test),$(first ahostsv4 unreachable.corp.test)`
	direct := outcomes(t, mustOn(t, world.Laptop, byAddress))
	if len(direct) < 30 {
		t.Fatalf("only %d results: %v", len(direct), direct)
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
		{matrix.Accepted, conformanceNames, []string{"--users=everyone"}, rootBare, byName},
		{matrix.Tun, conformanceAddresses, nil, sshLink(), byAddress},
		{matrix.Run, conformanceAddresses, []string{"--tun=off"}, sshLink(), helper + " run -- " + byAddress},
	} {
		t.Run(way.name, func(t *testing.T) {
			s := connectBy(t, way.resources, way.args, way.link...)
			got := outcomes(t, mustCloud(t, 2*time.Minute, way.script))
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

// serve6 gives corp's echo host an IPv6 address.
func serve6(t *testing.T) {
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
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(b[:n], from)
		}
	}()
}
