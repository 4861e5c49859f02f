//go:build linux

package dns

import (
	"testing"
	"time"

	"github.com/miekg/dns"
)

// While the laptop sleeps, no question about a name below a wildcard waits for it. One
// about a resource's own name does, since the laptop may wake.
func TestAsleep(t *testing.T) {
	f := start(t, func(o *Options) { o.Asleep = func() bool { return true } })
	begin := time.Now()
	for range 5 {
		if got := f.ask("udp", "stalled.wild.corp.test", dns.TypeA); got != "SERVFAIL" {
			t.Error(got)
		}
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("five questions took %v", took)
	}
	if got := f.ask("udp", "web.corp.test", dns.TypeA); got != "NOERROR|web.corp.test. 30 IN A 127.9.9.1" {
		t.Error(got)
	}
}
