//go:build linux

package e2e

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/matrix"
)

const (
	tftpPort = 69
	oncePort = 17
)

// tftpFile takes several blocks of 512 bytes.
var tftpFile = strings.Repeat("0123456789", 300)

// serveTFTP answers each read request from a port of its own (RFC 1350).
func serveTFTP(t *testing.T) {
	t.Helper()
	address := world.Info().Echo.Address
	ln, err := world.Corp.ListenPacket("udp", net.JoinHostPort(address, strconv.Itoa(tftpPort)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	send := func(to net.Addr) {
		c, err := world.Corp.ListenPacket("udp", net.JoinHostPort(address, "0"))
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		ack := make([]byte, 600)
		for block := 1; ; block++ {
			data := tftpFile[min((block-1)*512, len(tftpFile)):min(block*512, len(tftpFile))]
			_, _ = c.WriteTo(append([]byte{0, 3, 0, byte(block)}, data...), to)
			for { // until this block is acknowledged, by the same client
				n, from, err := c.ReadFrom(ack)
				if err != nil {
					return
				}
				if from.String() == to.String() && n == 4 && ack[1] == 4 && ack[3] == byte(block) {
					break
				}
			}
			if len(data) < 512 {
				return
			}
		}
	}
	go func() {
		b := make([]byte, 600)
		for {
			n, from, err := ln.ReadFrom(b)
			if err != nil {
				return
			}
			if n > 2 && b[1] == 1 {
				go send(from)
			}
		}
	}()
}

// serveOnce answers one datagram, and is gone before the next.
func serveOnce(t *testing.T) {
	t.Helper()
	c, err := world.Corp.ListenPacket("udp", net.JoinHostPort(world.Info().Echo.Address, strconv.Itoa(oncePort)))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		b := make([]byte, 10)
		if n, from, err := c.ReadFrom(b); err == nil {
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
}

// refusedLater sends a datagram to a server that answers, and then to one that is gone.
const refusedLater = `python3 - %s <<'PY'
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect((sys.argv[1], 17))
s.send(b"hello")
print(s.recv(10).decode(), end=" ")
time.sleep(0.3)
try:
	s.send(b"anyone?")
	print(s.recv(10))
except OSError as e:
	print(e.strerror or e)
PY`

// TestUDPPorts has TFTP servers answer from other ports, and servers end after they
// have answered, in each way.
func TestUDPPorts(t *testing.T) {
	mustOn(t, world.Corp, "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit")
	t.Cleanup(func() {
		_ = world.Corp.Command(context.Background(), "sh", "-c", "echo 1000 >/proc/sys/net/ipv4/icmp_ratelimit").Run()
	})
	serveTFTP(t)
	address := world.Info().Echo.Address
	const (
		refused   = "hello Connection refused"
		noAnswer  = "hello timed out"
		resources = `[{"name": "far", "host": "HOST", "ports": [17, 69], "protocols": ["udp"]}, {"name": "name", "host": "npm.corp.test", "ports": [80]}]`
	)
	rootBare := []string{"ip", "netns", "exec", world.Cloud.NS, "setpriv", "--inh-caps=-all",
		"--bounding-set=-all," + strings.Replace(containerCaps, ",+net_raw", "", 1), "--",
		"env", "HOME=" + world.Info().Users[lab.Dev].Home, helper, "capture", "--stdio", "--log-level=debug"}
	for _, way := range []struct {
		name, host string
		args, link []string
		before     string // of a program
		tftp       bool
		later      string
	}{
		{matrix.ByDevice, "echo.corp.test", nil, sshLink(), "", true, refused},
		{matrix.Held, "echo.corp.test", []string{"--tun=off"}, sshLink(), "", true, refused},
		{matrix.Accepted, "echo.corp.test", nil, rootBare, "", true, noAnswer},
		{matrix.Tun, address, nil, sshLink(), "", true, refused},
		{matrix.Run, address, []string{"--tun=off"}, sshLink(), helper + " run -- ", false, refused},
	} {
		t.Run(way.name, func(t *testing.T) {
			s := connectBy(t, strings.Replace(resources, "HOST", way.host, 1), append(way.args, "--users=everyone"), way.link...)
			defer s.stop()
			if way.tftp {
				got, err := cloud(t, 20*time.Second, "curl -sS --max-time 15 tftp://"+way.host+"/file")
				if err != nil || got != tftpFile {
					t.Errorf("TFTP: %d bytes, want %d, %v", len(got), len(tftpFile), err)
				}
			}
			serveOnce(t)
			if got := mustCloud(t, 20*time.Second, way.before+strings.Replace(refusedLater, "%s", way.host, 1)); got != way.later {
				t.Errorf("a later refusal: %q, want %q", got, way.later)
			}
		})
	}
}
