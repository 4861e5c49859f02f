package hostnet

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultResolvPath is the resolver configuration of this system.
const DefaultResolvPath = "/etc/resolv.conf"

// In resolv.conf every stub resolver has a line stubMark + id + address. The
// newest stub comes first and is the first nameserver. The lines of the other
// stubs follow, and then the file as it was, so each stub passes on to the next,
// and a stub that leaves needs no memory to put things back.
//
// The nameservers from before stay behind the stub. A program whose stub is gone
// asks them next: on a remote that lost power, in a process that outlives the
// session, in a nested container whose engine drops loopback nameservers. Where
// programs do not ask nameservers in order, these lines are parked behind
// parkMark, since the answer of another nameserver would win.
const (
	stubMark = "# causeway "
	parkMark = "#causeway# "
)

// asksAllAtOnce tells whether the C library of the system below root asks all
// nameservers at once: that is musl. A system that has both libraries is glibc's.
func asksAllAtOnce(root string) bool {
	there := func(patterns ...string) bool {
		for _, p := range patterns {
			if found, _ := filepath.Glob(filepath.Join(root, p)); len(found) > 0 {
				return true
			}
		}
		return false
	}
	return there("lib/ld-musl-*.so.1") && !there("lib/ld-linux*.so*", "lib64/ld-linux*.so*", "lib/*/ld-linux*.so*")
}

// rotates tells whether content has programs ask nameservers in turn, by
// resolv.conf(5)'s option.
func rotates(content []byte) bool {
	for line := range bytes.Lines(content) {
		if keyword(line) == "options" && slices.ContainsFunc(bytes.Fields(line), func(f []byte) bool { return string(f) == "rotate" }) {
			return true
		}
	}
	return false
}

type stub struct {
	id   string
	addr netip.Addr
}

// parseResolv tells our stubs from the rest, which is the file as it was
// without them, together with what others changed since.
func parseResolv(content []byte) (stubs []stub, rest []byte) {
	ours := map[netip.Addr]bool{}
	for line := range bytes.Lines(content) {
		if s, ok := parseStub(line); ok {
			stubs = append(stubs, s)
			ours[s.addr] = true
		}
	}
	rest = make([]byte, 0, len(content))
	for line := range bytes.Lines(content) {
		if _, ok := parseStub(line); ok {
			continue
		}
		if a, ok := nameserver(line); ok && ours[a] {
			continue
		}
		if parked, ok := bytes.CutPrefix(line, []byte(parkMark)); ok && keyword(parked) == "nameserver" {
			line = parked
		}
		rest = append(rest, line...)
	}
	return stubs, rest
}

// renderResolv is the inverse of parseResolv. park takes the nameservers of rest
// out of use; the option rotate does so too.
func renderResolv(stubs []stub, rest []byte, park bool) []byte {
	if len(stubs) == 0 {
		return rest
	}
	park = park || rotates(rest)
	var b bytes.Buffer
	for _, s := range stubs {
		fmt.Fprintf(&b, "%s%s %s\n", stubMark, s.id, s.addr)
	}
	fmt.Fprintf(&b, "nameserver %s\n", stubs[0].addr)
	for line := range bytes.Lines(rest) {
		if park && keyword(line) == "nameserver" {
			b.WriteString(parkMark)
		}
		b.Write(line)
	}
	return b.Bytes()
}

// EditResolv returns content with the stub of id at addr: in the place that it
// has, else as the first nameserver. An invalid addr takes it out. park tells
// that programs ask all nameservers at once.
func EditResolv(content []byte, id string, addr netip.Addr, park bool) []byte {
	old, rest := parseResolv(content)
	var stubs []stub
	there := false
	for _, s := range old {
		switch {
		case s.id != id:
			stubs = append(stubs, s)
		case addr.IsValid() && !there:
			stubs, there = append(stubs, stub{id, addr}), true
		}
	}
	if addr.IsValid() && !there {
		stubs = append([]stub{{id, addr}}, stubs...)
	}
	return renderResolv(stubs, rest, park)
}

// CleanResolv returns content without the stubs whose id is not alive. For park
// see EditResolv.
func CleanResolv(content []byte, alive func(id string) bool, park bool) []byte {
	old, rest := parseResolv(content)
	var stubs []stub
	for _, s := range old {
		if alive(s.id) {
			stubs = append(stubs, s)
		}
	}
	return renderResolv(stubs, rest, park)
}

// Nameservers returns, as content has it, the stub that the one at own passes on
// to, invalid if it is the last, and the nameservers that stand there besides all stubs.
func Nameservers(content []byte, own netip.Addr) (next netip.Addr, before []netip.Addr) {
	stubs, rest := parseResolv(content)
	for i, s := range stubs {
		if s.addr == own && i+1 < len(stubs) {
			next = stubs[i+1].addr
		}
	}
	for line := range bytes.Lines(rest) {
		if a, ok := nameserver(line); ok && a != own {
			before = append(before, a)
		}
	}
	if before == nil {
		before = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})} // resolv.conf(5)
	}
	return next, before
}

func parseStub(line []byte) (stub, bool) {
	s, ok := strings.CutPrefix(strings.TrimRight(string(line), " \t\r\n"), stubMark)
	id, text, found := strings.Cut(s, " ")
	addr, err := netip.ParseAddr(text)
	if _, _, iderr := parseID(id); !ok || !found || err != nil || iderr != nil || !isLoopback(addr) {
		return stub{}, false
	}
	return stub{id, addr}, true
}

func keyword(line []byte) string {
	f := bytes.Fields(line)
	if len(f) == 0 || line[0] == ' ' || line[0] == '\t' {
		return ""
	}
	return string(f[0])
}

func nameserver(line []byte) (netip.Addr, bool) {
	if keyword(line) != "nameserver" {
		return netip.Addr{}, false
	}
	f := bytes.Fields(line)
	if len(f) < 2 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(string(f[1]))
	return a, err == nil
}

// managers are the programs that manage resolv.conf, the text in their header, and
// what exists in /run while they run. The header alone proves nothing: in a
// container, the file can be a copy of the host's.
var managers = []struct{ name, header, runs string }{
	{"systemd-resolved", "systemd-resolved", "systemd/resolve"},
	{"NetworkManager", "NetworkManager", "NetworkManager"},
	{"resolvconf", "resolvconf(8)", "resolvconf"},
	{"Tailscale", "generated by tailscale", "tailscale"},
	{"ConnMan", "Connection Manager", "connman"},
}

// ErrManaged means that another program manages resolv.conf.
var ErrManaged = errors.New("another program manages it")

// CheckResolv returns an error if resolv.conf at path must not be edited. The error
// wraps ErrManaged if another program manages the file. run is the folder of running
// programs, "/run".
func CheckResolv(path, run string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: it is a link to %s", ErrManaged, to)
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, m := range managers {
		if !commented(content, m.header) {
			continue
		}
		if _, err := os.Stat(filepath.Join(run, m.runs)); err == nil {
			return fmt.Errorf("%w: %s", ErrManaged, m.name)
		}
	}
	return nil
}

func commented(content []byte, text string) bool {
	for line := range bytes.Lines(content) {
		if (line[0] == '#' || line[0] == ';') && bytes.Contains(line, []byte(text)) {
			return true
		}
	}
	return false
}
