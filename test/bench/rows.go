//go:build linux

package main

import (
	"context"
	"time"

	"github.com/causeway-dev/causeway/test/wan"
)

// row is one kind of measurement of every tool under one condition.
type row struct {
	name    string
	quick   bool // part of --quick
	title   string
	on      condition
	tools   []tool
	columns []column
	measure func(ctx context.Context, m *measurement) error
}

// column is a figure of a row.
type column struct {
	name   string
	digits int
}

const (
	mbit  = 1e6 / 8 // bytes per second
	grown = 1500 * time.Millisecond
)

var (
	near    = condition{name: "0 RTT"}
	region  = condition{name: "20 ms", path: wan.Path{Delay: 10 * time.Millisecond}, settle: grown}
	ocean   = condition{name: "100 ms", path: wan.Path{Delay: 50 * time.Millisecond}, settle: grown}
	capped  = condition{name: "100 ms, 1 MiB in flight", path: wan.Path{Delay: 50 * time.Millisecond, InFlight: 1 << 20}, settle: 12 * time.Second}
	limited = condition{name: "100 ms, 100 Mbit/s", path: wan.Path{Delay: 50 * time.Millisecond, Rate: 100 * mbit}, settle: 11 * time.Second}
	alone   = condition{name: "0 RTT, in a session of its own"}
)

// The targets are for mine, and compare it with ssh.
var (
	mine      = causeway("Causeway", serverName, best)
	mineTUN   = causeway("Causeway's TUN", serverAddr, best)
	mineHeld  = causeway("Causeway without a device", serverName, byLoopback)
	mineRun   = causeway("Causeway's run", serverAddr, byRun)
	mineSOCKS = causeway("Causeway's proxy", serverName, byProxy)
	mineTCP   = causewayExec(overTCP)
	mineSSH   = causewayExec(overSSH)
	// essential are the tools of --quick.
	ours      = []tool{mine, mineTUN, mineHeld, mineRun, mineSOCKS, mineTCP, mineSSH}
	essential = []tool{direct, sshFixed, mine}
	everyone  = []tool{direct, bare, sshFixed, sshSOCKS, sshuttle, openVPN, wireGuard, mine, mineTUN, mineHeld, mineRun, mineSOCKS, mineTCP, mineSSH}
)

func allRows() []row {
	bulk := []column{{"down", 0}, {"up", 0}, {"cpu down", 2}, {"cpu up", 2}}
	echo := []column{
		{"idle p50", 2}, {"down p50", 2}, {"down p99", 2}, {"down rate", 1}, {"up p50", 2}, {"up p99", 2}, {"up rate", 1},
	}
	setup := []column{{"plain p50", 2}, {"plain p99", 2}, {"SOCKS5 p50", 2}, {"HTTP p50", 2}}
	burst := []column{{"per second", 0}, {"p50 ms", 1}, {"p99 ms", 1}, {"failed", 0}, {"cpu ms", 2}}
	idle := []column{{"p50", 3}, {"p99", 3}}
	db := []column{{"1 tps", 0}, {"1 cpu µs", 0}, {"8 tps", 0}, {"8 cpu µs", 0}}
	memory := []column{{"cloud MiB", 1}, {"cloud PSS MiB", 1}, {"processes", 0}, {"largest", 1}, {"laptop MiB", 1}, {"its largest", 1}, {"cloud KiB/flow", 1}, {"laptop KiB/flow", 1}}
	const (
		bulkTitle  = "Bulk, one flow: Mbit/s, CPU s/GiB of both ends"
		echoTitle  = "Echo beside a bulk flow: ms, Mbit/s"
		setupTitle = "Connect, one byte, its answer: ms"
		burstTitle = "New connections of 1 KiB, 50 at once"
	)
	return []row{
		{"bulk-0", true, bulkTitle, near, everyone, bulk, measureBulk},
		{"echo-0", false, echoTitle, near, everyone, echo, measureEcho},
		{"burst-0", true, burstTitle, near, everyone, burst, measureBurst},
		{"setup-0", false, setupTitle, near, everyone, setup, measureSetup},
		{"idle-0", true, "Echo on an idle tunnel: ms", near, everyone, idle, measureIdle},
		{"pgbench-0", true, "pgbench -S, 1 and 8 clients: transactions per second, CPU of both ends for each", database,
			[]tool{direct, sshFixed, mine, mineTUN, mineHeld}, db, measureDatabase},
		{"bulk-20", false, bulkTitle, region, everyone, bulk, measureBulk},
		{"setup-20", false, setupTitle, region, everyone, setup, measureSetup},
		{"bulk-100", true, bulkTitle, ocean, everyone, bulk, measureBulk},
		{"setup-100", true, setupTitle, ocean, everyone, setup, measureSetup},
		{"bulk-capped", false, bulkTitle, capped, []tool{sshFixed, mine}, bulk, measureBulk},
		{"echo-limited", true, echoTitle, limited, []tool{bare, sshFixed, wireGuard, mine, mineSSH}, echo, measureEcho},
		{"memory", true, "Memory, fresh: resident and proportional (PSS) of all processes, the largest; for each idle flow", alone, []tool{sshFixed, mine, mineTUN, mineHeld}, memory, measureMemory},
	}
}
