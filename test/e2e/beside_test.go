//go:build linux

package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestWhatIsNotPrivateStays has a public site of which a resource covers the name,
// or the domain, for another port: the remote reaches the site as before.
func TestWhatIsNotPrivateStays(t *testing.T) {
	get := "curl -sS -m 20 -o /dev/null -w '%{http_code}' " + world.Info().Public.URL
	host, address := world.Info().Public.Host, world.Info().Public.Address
	if got := mustCloud(t, 30*time.Second, get); got != "200" {
		t.Fatalf("without a session: %q", got)
	}
	for pattern, sameAddress := range map[string]bool{
		host:             false, // the device has an address for it, and passes the port on
		"*.example.test": true,  // the laptop does not know the name: it resolves as before
	} {
		s := connect(t, `[{"name": "split", "host": "`+pattern+`", "ports": [8443]}]`)
		if got := mustCloud(t, 30*time.Second, "getent ahostsv4 "+host+" | cut -d' ' -f1 | sort -u"); (got == address) != sameAddress || !strings.HasPrefix(got, "198.") {
			t.Errorf("%s: %s is at %s", pattern, host, got)
		}
		if got, err := cloud(t, 30*time.Second, get); err != nil || got != "200" {
			t.Errorf("%s: %q %v", pattern, got, err)
		}
		s.stop()
	}
}
