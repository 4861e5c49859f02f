package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Bounds of one request.
const (
	MaxEntries  = 2048
	maxNames    = 16 // of one address
	maxRequest  = 1 << 20
	maxHostname = 253
	// maxOverruled bounds the names in an answer.
	maxOverruled = 64
)

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// check normalises entries in place. It admits only host names, with loopback
// addresses or addresses of our devices.
func check(entries []Entry) error {
	if len(entries) > MaxEntries {
		return fmt.Errorf("%d entries: at most %d are allowed", len(entries), MaxEntries)
	}
	for _, e := range entries {
		if !isNames(e.Address) {
			return fmt.Errorf("address %q: not in %s, %s or %s", e.Address, loopback, devices4, devices6)
		}
		if len(e.Names) == 0 || len(e.Names) > maxNames {
			return fmt.Errorf("address %s: %d names, not 1 to %d", e.Address, len(e.Names), maxNames)
		}
		for i, name := range e.Names {
			name = strings.ToLower(name)
			if err := CheckName(name); err != nil {
				return err
			}
			e.Names[i] = name
		}
	}
	return nil
}

func isLoopback(a netip.Addr) bool { return a.Is4() && loopback.Contains(a) }

// isNames tells whether the hosts file may give a to names.
func isNames(a netip.Addr) bool { return isLoopback(a) || a.Zone() == "" && onDevice(a) }

// IsGiven tells whether a in the hosts file is an address that captures give to
// names, rather than one that the system or its user has put there.
func IsGiven(a netip.Addr) bool {
	a = a.Unmap()
	return isNames(a) && (!a.Is4() || a.As4()[1] != 0) // names get no address of 127.0.0.0/16
}

// checkListen admits ports below 1024 on loopback addresses outside 127.0.0.0/16,
// which systems may use themselves, and on the two addresses of localhost.
func checkListen(at netip.AddrPort) error {
	switch b := at.Addr(); {
	case !isLoopback(b) && b != netip.IPv6Loopback():
		return fmt.Errorf("%s is not in %s", b, loopback)
	case b.Is4() && b.As4()[1] == 0 && b != netip.AddrFrom4([4]byte{127, 0, 0, 1}):
		return fmt.Errorf("%s may be the system's own", b)
	case at.Port() == 0 || at.Port() >= 1024:
		return fmt.Errorf("port %d needs no privilege", at.Port())
	}
	return nil
}

// CheckName returns an error if the hosts file must not give name, in lower case, an
// address: if it is not a host name, or stands for this machine.
func CheckName(name string) error {
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read host name: %w", err)
	}
	if err := checkName(name, strings.ToLower(hostname)); err != nil {
		return fmt.Errorf("name %q: %w", name, err)
	}
	return nil
}

func checkName(name, hostname string) error {
	if name == "" || len(name) > maxHostname {
		return fmt.Errorf("not 1 to %d bytes long", maxHostname)
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return errors.New("not a host name")
		}
	}
	if top := labels[len(labels)-1]; isNumeric(top) {
		return errors.New("reads as an address")
	}
	switch labels[len(labels)-1] {
	case "localhost", "localdomain", "ip6-localhost", "ip6-loopback":
		return errors.New("stands for this machine")
	}
	short, _, _ := strings.Cut(hostname, ".")
	if name == hostname || name == short || labels[0] == "localhost" {
		return errors.New("stands for this machine")
	}
	return nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isNumeric tells whether resolvers read a name with this last label as an address.
func isNumeric(label string) bool {
	_, err := strconv.ParseUint(label, 0, 64)
	return err == nil || strings.Trim(label, "0123456789") == "" || strings.HasPrefix(label, "0x")
}

// parseID reads "PID-START": the process number, and the time of its start in ticks
// since boot.
func parseID(id string) (pid int, start uint64, err error) {
	p, s, ok := strings.Cut(id, "-")
	if !ok || len(id) > 40 {
		return 0, 0, errors.New("not an id")
	}
	n, err := strconv.ParseUint(p, 10, 31)
	if err != nil {
		return 0, 0, err
	}
	start, err = strconv.ParseUint(s, 10, 64)
	return int(n), start, err
}
