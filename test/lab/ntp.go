//go:build linux

package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const ntpName = "ntp." + Zone

// startNTP serves this machine's time and never sets it.
func (l *Lab) startNTP(ctx context.Context) error {
	dir := filepath.Join(l.dir, "ntp")
	if err := os.MkdirAll(dir, 0o750); err != nil { // chronyd requires private directories
		return err
	}
	config := filepath.Join(dir, "chrony.conf")
	text := "local stratum 5\nallow\nbindaddress " + ntpAddr + "\ncmdport 0\nbindcmdaddress /\npidfile " + filepath.Join(dir, "pid") + "\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	p, err := l.start(NTP, syscall.SIGTERM, l.Corp.Command(l.ctx, l.tools.chronyd, "-d", "-x", "-u", "root", "-f", config))
	if err != nil {
		return err
	}
	if err := p.ready(ctx, func() error { return l.askTime(ctx) }); err != nil {
		return err
	}
	l.setInfo(func(i *Info) { i.NTP = &NTPInfo{Host: ntpName, Address: ntpAddr} })
	return nil
}

// askTime fails unless the server reports that it is synchronised.
func (l *Lab) askTime(ctx context.Context) error {
	c, err := l.Laptop.Dial(ctx, "udp", ntpAddr+":123")
	if err != nil {
		return err
	}
	defer c.Close()
	const version4Client, unsynchronised = 4<<3 | 3, 3
	packet := make([]byte, 48)
	packet[0] = version4Client
	binary.BigEndian.PutUint64(packet[40:], uint64(time.Now().UnixNano())) // comes back
	_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := c.Write(packet); err != nil {
		return err
	}
	if n, err := c.Read(packet); err != nil || n < 48 {
		return fmt.Errorf("ask for the time: %d bytes, %w", n, err)
	}
	if packet[0]>>6 == unsynchronised {
		return fmt.Errorf("the time server has no time yet")
	}
	return nil
}
