package exit

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// TestFragments sends datagrams that do not fit: the fragments of one are told
// from those of another.
func TestFragments(t *testing.T) {
	s, err := newStack([]netip.Addr{netip.MustParseAddr("10.9.0.2")}, 1420)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	request := make([]byte, 3000)
	request[0] = 8 // of an echo
	for kind, write := range map[string]func() error{
		"ping": func() error {
			c, err := s.pinger(t.Context(), netip.MustParseAddr("10.9.0.1"))
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write(request)
			return err
		},
		"UDP": func() error {
			c, err := s.DialContext(t.Context(), "udp", "10.9.0.1:7")
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write(request)
			return err
		},
	} {
		seen := make(map[uint16]int)
		for range 2 {
			written := make(chan error, 1)
			go func() { written <- write() }()
			for range 3 {
				b, sizes := [][]byte{make([]byte, 1500)}, []int{0}
				if _, err := s.Read(b, sizes, 0); err != nil {
					t.Fatal(err)
				}
				seen[binary.BigEndian.Uint16(b[0][4:])]++
			}
			if err := <-written; err != nil {
				t.Fatal(kind, err)
			}
		}
		if len(seen) != 2 {
			t.Errorf("%s: fragments by their identification: %v", kind, seen)
		}
	}
}
