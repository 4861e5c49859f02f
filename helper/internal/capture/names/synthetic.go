package names

import (
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
)

// maxNumbers bounds how many names get a number. Some numbers stay free, so that the
// search for one is short.
const maxNumbers = 1<<hostnet.RangeBits - 512

// numbers gives every name a number, from which its address in any range follows. The
// number is mostly the same in every run of this user. As long as a name may be in
// use, no other name gets its number. It is safe for concurrent use.
type numbers struct {
	uid int

	mu     sync.Mutex
	ranges hostnet.Ranges // zero: no device leads anywhere
	of     map[string]uint16
	names  map[uint16]string
}

func newNumbers(uid int) *numbers {
	return &numbers{uid: uid, of: make(map[string]uint16), names: make(map[uint16]string)}
}

// lead makes r the ranges, and tells whether they have changed.
func (n *numbers) lead(r hostnet.Ranges) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := n.ranges
	n.ranges = r
	return was != r
}

// leads tells whether there are ranges.
func (n *numbers) leads() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ranges != hostnet.Ranges{}
}

// give returns the addresses of host. If there are no ranges, or no number is left,
// v4 is not valid.
func (n *numbers) give(host string) (v4, v6 netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ranges == (hostnet.Ranges{}) {
		return v4, v6
	}
	number, ok := n.of[host]
	if !ok && len(n.of) >= maxNumbers {
		return v4, v6
	}
	for try := 0; !ok; try++ {
		// Not the network's or the device's own address, nor one that looks like a
		// broadcast.
		number = uint16(2 + digest("number", strconv.Itoa(n.uid), host, strconv.Itoa(try))%(1<<hostnet.RangeBits-3))
		if n.names[number] == "" {
			n.of[host], n.names[number], ok = number, host, true
		}
	}
	return n.ranges.At(number)
}

// free makes the number of host available to other names.
func (n *numbers) free(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if number, ok := n.of[host]; ok {
		delete(n.of, host)
		delete(n.names, number)
	}
}

// at returns the name that has the address a, if any.
func (n *numbers) at(a netip.Addr) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	number, ok := n.ranges.Number(a)
	name := n.names[number]
	return name, ok && name != ""
}

// Lead tells s of the addresses that lead to a device of this process, whose reader
// asks At. From then on programs get these addresses, and names have no listeners.
// Listeners that there are go on for a minute. Zero ranges mean that there is no
// device any more: names get listeners again. Lead returns when the hosts file is up
// to date. An address becomes that of another name only if both are below wildcards
// and the first was unused for Options.Idle.
func (s *Source) Lead(r hostnet.Ranges) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.numbers.leads()
	if !s.numbers.lead(r) || s.closed {
		return
	}
	if !before && len(s.listeners) > 0 {
		s.linger = time.Now().Add(s.o.Linger)
	}
	s.reconcile()
}

// At returns the name that a stands for since the last call of Lead, if any. No
// resource may cover the name any more.
func (s *Source) At(a netip.Addr) (string, bool) {
	name, ok := s.numbers.at(a)
	if ok {
		s.recent.touch(name)
	}
	return name, ok
}

// led has the addresses of a name that lead to a device.
type led struct{ v4, v6 netip.Addr }

// findLed decides which names lead to the device: all names that programs can find.
// The caller holds s.mu.
func (s *Source) findLed(exact []string) {
	s.led = make(map[string]led)
	for _, names := range [][]string{exact, s.looked} {
		for _, host := range names {
			if at, ok := s.leadTo(host); ok {
				s.led[host] = at
			}
		}
	}
}

// leadTo gives host its addresses on the device, if there is one and programs
// can find them. The caller holds s.mu.
func (s *Source) leadTo(host string) (led, bool) {
	if !s.byDNS && (s.hosts.editor == nil || s.o.NoHosts) || s.isElsewhere(host) || hostnet.CheckName(host) != nil {
		return led{}, false
	}
	v4, v6 := s.numbers.give(host)
	return led{v4, v6}, v4.IsValid()
}
