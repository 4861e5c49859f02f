//go:build linux

package hostnet

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const resolvBefore = "# from DHCP\nsearch example.test\nnameserver 10.0.0.53\n nameserver 10.0.0.54\nnameserver fe80::1%eth0\noptions timeout:2 edns0"

var (
	stubA = netip.MustParseAddr("127.1.1.1")
	stubB = netip.MustParseAddr("127.2.2.2")
)

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func TestEditResolv(t *testing.T) {
	for _, park := range []bool{false, true} {
		t.Run(fmt.Sprintf("park %v", park), func(t *testing.T) { testEditResolv(t, park) })
	}
}

func testEditResolv(t *testing.T, park bool) {
	edit := func(content, id string, a netip.Addr) string { return string(EditResolv([]byte(content), id, a, park)) }
	one := edit(resolvBefore, "1-1", stubA)
	want := "# causeway 1-1 127.1.1.1\nnameserver 127.1.1.1\n# from DHCP\nsearch example.test\n#causeway# nameserver 10.0.0.53\n nameserver 10.0.0.54\n#causeway# nameserver fe80::1%eth0\noptions timeout:2 edns0"
	if !park {
		want = strings.ReplaceAll(want, parkMark, "")
	}
	if one != want {
		t.Fatalf("%q, want %q", one, want)
	}
	if edit(one, "1-1", stubA) != one {
		t.Error("a second time changes it")
	}
	two := edit(one, "2-2", stubB)
	if !strings.HasPrefix(two, "# causeway 2-2 127.2.2.2\n# causeway 1-1 127.1.1.1\nnameserver 127.2.2.2\n# from") {
		t.Errorf("%q", two)
	}
	if edit(two, "1-1", stubA) != two {
		t.Error("the two fight for the first place")
	}
	if got := edit(two, "2-2", netip.Addr{}); got != one {
		t.Errorf("the second leaves: %q", got)
	}
	if got := edit(edit(two, "1-1", netip.Addr{}), "2-2", netip.Addr{}); got != resolvBefore {
		t.Errorf("the first leaves, then the second: %q", got)
	}
	for _, c := range []struct {
		content string
		own     netip.Addr
		next    netip.Addr
		before  []netip.Addr
	}{
		{one, stubA, netip.Addr{}, addrs("10.0.0.53", "fe80::1%eth0")},
		{two, stubA, netip.Addr{}, addrs("10.0.0.53", "fe80::1%eth0")},
		{two, stubB, stubA, addrs("10.0.0.53", "fe80::1%eth0")},
		{"", stubA, netip.Addr{}, addrs("127.0.0.1")},
		{"nameserver 127.1.1.1\n", stubA, netip.Addr{}, addrs("127.0.0.1")},
		{"nameserver bogus\nnameserver\nnameserver\t10.0.0.1 # one\r\n", stubA, netip.Addr{}, addrs("10.0.0.1")},
	} {
		if next, before := Nameservers([]byte(c.content), c.own); next != c.next || !slices.Equal(before, c.before) {
			t.Errorf("%q: %v, %v, want %v, %v", c.content, next, before, c.next, c.before)
		}
	}
	if got := string(CleanResolv([]byte(two), func(id string) bool { return id == "1-1" }, park)); got != one {
		t.Errorf("cleaned: %q", got)
	}
}

// TestNameserversInTurn has programs ask nameservers in turn, which has to be
// noticed: half of all questions would pass by the stub.
func TestNameserversInTurn(t *testing.T) {
	const before = "nameserver 10.0.0.53\noptions timeout:2 rotate\n"
	got := string(EditResolv([]byte(before), "1-1", stubA, false))
	if want := "# causeway 1-1 127.1.1.1\nnameserver 127.1.1.1\n#causeway# nameserver 10.0.0.53\noptions timeout:2 rotate\n"; got != want {
		t.Errorf("%q", got)
	}
	if got := string(EditResolv([]byte(got), "1-1", netip.Addr{}, false)); got != before {
		t.Errorf("put back: %q", got)
	}
}

func TestAsksAllAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  bool
	}{
		"Alpine":               {[]string{"lib/ld-musl-x86_64.so.1"}, true},
		"Debian":               {[]string{"lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"}, false},
		"Debian on arm64":      {[]string{"lib/ld-linux-aarch64.so.1"}, false},
		"Debian with musl too": {[]string{"lib/ld-musl-x86_64.so.1", "lib64/ld-linux-x86-64.so.2"}, false},
		"nothing":              {nil, false},
	} {
		root := t.TempDir()
		for _, f := range c.files {
			path := filepath.Join(root, f)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		if got := asksAllAtOnce(root); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzEditResolv(f *testing.F) {
	f.Add([]byte(resolvBefore))
	f.Add(EditResolv([]byte(resolvBefore), "1-1", stubA, true))
	f.Add(EditResolv([]byte(resolvBefore), "1-1", stubA, false))
	f.Add([]byte("options ndots:2\n#causeway# #causeway# "))
	f.Fuzz(func(t *testing.T, content []byte) {
		_, before := parseResolv(content)
		for _, park := range []bool{false, true} {
			edited := EditResolv(content, "9-9", stubB, park)
			if again := EditResolv(edited, "9-9", stubB, park); string(again) != string(edited) {
				t.Fatalf("%q, then %q", edited, again)
			}
			var active []string
			for line := range strings.Lines(string(edited)) {
				if keyword([]byte(line)) == "nameserver" {
					active = append(active, line)
				}
			}
			if park && len(active) != 1 || len(active) == 0 || !strings.HasPrefix(active[0], "nameserver 127.") {
				t.Fatalf("nameservers %q: %q", active, edited)
			}
			_, after := parseResolv(CleanResolv(edited, func(string) bool { return false }, park))
			if strings.Contains(string(content), "127.2.2.2") || strings.Contains(string(content), "causeway") {
				continue
			}
			if string(after) != string(before) {
				t.Fatalf("%q became %q", before, after)
			}
		}
	})
}

func TestIsGiven(t *testing.T) {
	for a, want := range map[string]bool{
		"127.0.0.1": false, "127.0.1.1": false, "127.3.4.5": true, "::ffff:127.3.4.5": true, "198.19.0.7": true, "10.0.0.1": false, "::1": false, "fdc5:7a0e:93d1::7": true,
	} {
		if IsGiven(netip.MustParseAddr(a)) != want {
			t.Errorf("%s: not %v", a, want)
		}
	}
}

func TestCheckResolv(t *testing.T) {
	dir := t.TempDir()
	run, path := filepath.Join(dir, "run"), filepath.Join(dir, "resolv.conf")
	check := func(want error) {
		t.Helper()
		if err := CheckResolv(path, run); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	check(os.ErrNotExist)
	for header, folder := range map[string]string{
		"# This file is managed by man:systemd-resolved(8). Do not edit.":                "systemd/resolve",
		"# Generated by NetworkManager":                                                  "NetworkManager",
		"# Dynamic resolv.conf(5) file for glibc resolver(3) generated by resolvconf(8)": "resolvconf",
		"# resolv.conf(5) file generated by tailscale":                                   "tailscale",
		"# Generated by Connection Manager":                                              "connman",
	} {
		if err := os.WriteFile(path, []byte(header+"\nnameserver 127.0.0.53\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		check(nil) // a copy's
		if err := os.MkdirAll(filepath.Join(run, folder), 0o755); err != nil {
			t.Fatal(err)
		}
		check(ErrManaged)
	}
	if err := errors.Join(os.Rename(path, path+".stub"), os.Symlink(path+".stub", path)); err != nil {
		t.Fatal(err)
	}
	check(ErrManaged)
	if _, err := StartResolver(t.Context(), StartOptions{Self: "/proc/self/exe", Resolv: path}); !errors.Is(err, ErrManaged) {
		t.Error(err)
	}
}

func resolvFile(t *testing.T) (hosts, resolv string) {
	t.Helper()
	hosts = hostsFile(t, original)
	resolv = hosts + ".resolv"
	if err := os.WriteFile(resolv, []byte(resolvBefore), 0o644); err != nil {
		t.Fatal(err)
	}
	return hosts, resolv
}

func TestResolver(t *testing.T) {
	hosts, resolv := resolvFile(t)
	h, err := StartResolver(t.Context(), options(hosts))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.SetResolver(t.Context(), netip.MustParseAddr("10.0.0.1")); err == nil {
		t.Error("an address that is not loopback was taken")
	}
	if err := h.SetResolver(t.Context(), stubA); err != nil {
		t.Fatal(err)
	}
	ours := func(tail string) func() bool {
		return func() bool {
			now := read(t, resolv)
			return strings.Contains(now, "\nnameserver 127.1.1.1\n") && strings.HasSuffix(now, tail)
		}
	}
	if !ours("\noptions timeout:2 edns0")() {
		t.Errorf("%q", read(t, resolv))
	}
	// Somebody rewrites it, in place and by another file.
	if err := os.WriteFile(resolv, []byte("nameserver 10.9.9.9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "put back after a rewrite", ours("\nnameserver 10.9.9.9\n"))
	const last = "nameserver 10.8.8.8\nsearch other.test\n"
	if err := errors.Join(os.WriteFile(resolv+".new", []byte(last), 0o644), os.Rename(resolv+".new", resolv)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "put back after a rename", ours("\nnameserver 10.8.8.8\nsearch other.test\n"))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, resolv); got != last {
		t.Errorf("left behind: %q", got)
	}
}

// startStub runs a helper whose stub is the nameserver.
func startStub(t *testing.T, hosts string, a netip.Addr) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"HOSTNET_TEST_ROLE=resolver", "HOSTNET_TEST_PATH=" + hosts, "HOSTNET_TEST_STUB=" + a.String()}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "<nil>\n" {
		t.Fatalf("%q %v", line, err)
	}
	return cmd
}

func TestKilledHelpersLeaveResolvAsItWas(t *testing.T) {
	hosts, resolv := resolvFile(t)
	a := startStub(t, hosts, stubA)
	b := startStub(t, hosts, stubB)
	_ = a.Process.Kill()
	eventually(t, "the first is out", func() bool { return !strings.Contains(read(t, resolv), "127.1.1.1") })
	if got := read(t, resolv); !strings.Contains(got, "\nnameserver 127.2.2.2\n") {
		t.Errorf("%q", got)
	}
	start := time.Now()
	_ = b.Process.Kill()
	eventually(t, "as before", func() bool { return read(t, resolv) == resolvBefore })
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestRemainsInResolvAreRemoved(t *testing.T) {
	hosts, resolv := resolvFile(t)
	dead := EditResolv([]byte(resolvBefore), "999999-1", stubA, false)
	if err := os.WriteFile(resolv, dead, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := CleanupResolv(resolv, hosts+".run"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, resolv); got != resolvBefore {
		t.Errorf("%q", got)
	}
}

func TestListenPassesSockets(t *testing.T) {
	hosts, _ := resolvFile(t)
	h, err := StartResolver(t.Context(), options(hosts))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for at, want := range map[string]string{"10.0.0.1:53": "is not in", "127.0.0.2:80": "the system's own", "127.0.0.53:53": "the system's own", "[::2]:80": "is not in", "127.0.0.1:1024": "needs no privilege", "[::1]:0": "needs no privilege", "127.1.1.1:1024": "needs no privilege", "127.1.1.1:0": "needs no privilege"} {
		if _, err := h.ListenTCP(t.Context(), netip.MustParseAddrPort(at)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", at, err)
		}
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 77, byte(os.Getpid() >> 8), byte(os.Getpid())}), 53)
	udp, err := h.ListenUDP(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := h.ListenTCP(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	if udp.LocalAddr().String() != at.String() || tcp.Addr().String() != at.String() {
		t.Errorf("%v %v", udp.LocalAddr(), tcp.Addr())
	}
	c, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := h.SetResolver(t.Context(), at.Addr()); err != nil {
		t.Errorf("after it: %v", err)
	}
}
