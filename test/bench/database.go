//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// database is the condition in which the server's port leads to PostgreSQL.
var database = condition{name: "0 RTT, PostgreSQL", database: true}

// lead redirects connections that arrive at corp for the server's port to
// PostgreSQL, or ends that.
func (w *world) lead(ctx context.Context, toDatabase bool) error {
	if !toDatabase {
		return w.nat(ctx, w.lab.Corp, "")
	}
	db := w.lab.Info().Postgres
	return w.nat(ctx, w.lab.Corp, fmt.Sprintf("chain in { type nat hook prerouting priority -100; tcp dport %d dnat ip to %s:%d; }",
		serverPort, db.Address, db.Port))
}

// postgres runs one of PostgreSQL's programs on cloud, without TLS, against the
// database at the other end of v, and returns its output.
func (w *world) postgres(ctx context.Context, v *way, program string, args ...string) (string, error) {
	db := w.lab.Info().Postgres
	host, port, err := net.SplitHostPort(v.Addr)
	if err != nil {
		return "", err
	}
	argv := append(slices.Clone(v.under), program, "-h", host, "-p", port, "-U", db.User)
	argv = append(append(argv, args...), db.Database)
	c := w.lab.Cloud.Command(ctx, argv[0], argv[1:]...)
	c.Env = append(os.Environ(), "PGPASSWORD="+db.Password, "PGSSLMODE=disable", "PGCONNECT_TIMEOUT=5")
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// answers waits until the database answers by v.
func (w *world) answers(ctx context.Context, v *way) error {
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		_, err := w.postgres(ctx, v, "psql", "-XAtc", "select 1")
		if err == nil || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
	}
}

var (
	transactions = regexp.MustCompile(`number of transactions actually processed: (\d+)`)
	perSecond    = regexp.MustCompile(`(?m)^tps = ([\d.]+)`)
	failed       = regexp.MustCompile(`number of failed transactions: ([1-9]\d*)`)
)

// measureDatabase has pgbench select rows by their key, with 1 and with 8 clients.
func measureDatabase(ctx context.Context, m *measurement) error {
	span := 8 * time.Second
	if m.quick {
		span = 2 * time.Second
	}
	for _, clients := range []int{1, 8} {
		n := strconv.Itoa(clients)
		before := m.cpu()
		out, err := m.postgres(ctx, m.way, "pgbench", "-S", "-n", "-c", n, "-T", strconv.Itoa(int(span.Seconds())))
		if err != nil {
			return err
		}
		took := m.since(before) // pgbench has ended, so it does not count
		count, rate := transactions.FindStringSubmatch(out), perSecond.FindStringSubmatch(out)
		if count == nil || rate == nil || failed.MatchString(out) {
			return fmt.Errorf("pgbench says %q", out)
		}
		total, terr := strconv.ParseFloat(count[1], 64)
		tps, err := strconv.ParseFloat(rate[1], 64)
		if err != nil || terr != nil || total == 0 {
			return fmt.Errorf("pgbench says %q", out)
		}
		m.add(n+" tps", tps)
		m.add(n+" cpu µs", float64(took.Microseconds())/total)
	}
	return nil
}
