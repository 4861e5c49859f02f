//go:build unix

package daemon

import "testing"

func TestAdmit(t *testing.T) {
	for peer, ok := range map[uint32]bool{0: true, 1000: true, 1001: false} {
		if err := admit(peer, 1000); (err == nil) != ok {
			t.Errorf("user %d: %v", peer, err)
		}
	}
}
