package names

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/google/go-cmp/cmp"
)

func TestAddresses(t *testing.T) {
	a, again := newAddresses(1000), newAddresses(1000)
	seen := make(map[netip.Addr]bool)
	for i := range 5000 {
		host := fmt.Sprintf("host-%d.test", i)
		addr := a.of(host)
		if seen[addr] || !usable(addr) || addr.As4()[0] != 127 || a.of(host) != addr || again.of(host) != addr {
			t.Fatalf("%s: %s", host, addr)
		}
		seen[addr] = true
	}
	if newAddresses(1001).of("host-1.test") == a.of("host-1.test") {
		t.Error("two users share an address")
	}
	taken := newAddresses(1000)
	taken.taken[a.of("host-1.test")] = true
	if taken.of("host-1.test") == a.of("host-1.test") {
		t.Error("an address was given twice")
	}
}

func TestSpans(t *testing.T) {
	got := spans([]uint16{443, 80, 8002, 8000, 8001, 80, 65535})
	if d := cmp.Diff([]string{"80", "443", "8000-8002", "65535"}, got); d != "" {
		t.Error(d)
	}
}

func TestExplain(t *testing.T) {
	at := netip.MustParseAddrPort("127.1.2.3:443")
	s := New(Options{UID: 1000})
	for _, tc := range []struct {
		problem problem
		want    string
	}{
		{problem{err: syscall.EADDRINUSE, at: at}, "taken by another program"},
		{problem{err: syscall.EADDRINUSE, at: at, holder: owner.Process{UID: 0, User: "root"}},
			`taken by a program of user "root"; map another to it, as in "10443:443"`},
		{problem{err: syscall.EADDRINUSE, at: at, holder: owner.Process{UID: 1000, User: "me", PID: 7, Program: "causeway"}},
			"served by another window (pid 7)"},
		{problem{err: syscall.EADDRINUSE, at: at, holder: owner.Process{UID: 1001, User: "you", PID: 7, Program: "causeway"}},
			`taken by "causeway" (pid 7, user "you"); map another to it, as in "10443:443"`},
		{problem{err: os.NewSyscallError("bind", syscall.EACCES), at: at},
			`low ports need more rights than this user has; map another to it, as in "10443:443"`},
		{problem{err: errors.New("something else"), at: at}, "something else"},
	} {
		if got := s.explain(&tc.problem); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}
