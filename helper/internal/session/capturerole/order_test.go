package capturerole

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture"
)

// member is a capture that claims some hosts.
type member struct {
	name   string
	claims map[string]capture.Claim
	place  capture.Place
	log    *refreshes

	mu     sync.Mutex
	moving chan struct{}
}

type refreshes struct {
	mu   sync.Mutex
	text string
}

func (r *refreshes) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := r.text
	r.text = ""
	return text
}

func (m *member) Claims(_, host string, _ uint16) capture.Claim { return m.claims[host] }

// Refresh notes what the member serves.
func (m *member) Refresh() {
	var here []string
	for host := range m.claims {
		if !m.place.Elsewhere("lookup", host, 0) {
			here = append(here, host)
		}
	}
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	m.log.text += fmt.Sprintf("%s:%s;", m.name, strings.Join(here, ","))
}

func (m *member) link() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.moving
}

func (m *member) sleep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moving = make(chan struct{})
}

func (m *member) wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.moving)
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o order
		var log refreshes
		join := func(name string, claims map[string]capture.Claim) (*member, func()) {
			m := &member{name: name, claims: claims, log: &log, moving: make(chan struct{})}
			m.wake()
			var leave func()
			m.place, leave = o.join(m, m.link)
			return m, leave
		}
		says := func(what, want string) {
			t.Helper()
			synctest.Wait()
			if got := log.take(); got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		a, leaveA := join("a", map[string]capture.Claim{"db": capture.ByName})
		b, leaveB := join("b", map[string]capture.Claim{"db": capture.ByName})
		a.place.Changed()
		says("both are awake", "b:;a:db;")
		a.sleep()
		time.Sleep(asleepAfter - time.Second)
		says("it may come back", "")
		time.Sleep(3 * time.Second)
		says("the first sleeps", "a:;b:db;")
		b.sleep()
		time.Sleep(asleepAfter + 2*time.Second)
		says("both sleep", "b:;a:db;")
		b.wake()
		says("the second is awake", "a:;b:db;")
		a.wake()
		says("the first too", "b:;a:db;")
		a.sleep()
		time.Sleep(time.Second)
		a.wake()
		time.Sleep(time.Minute)
		says("a link that changes", "")
		leaveA()
		says("the first has ended", "b:db;")
		b.sleep()
		time.Sleep(time.Minute)
		says("there is no other one", "")
		leaveB()
	})
}

// A wildcard of an older session does not take a name from one that has the name
// itself, unless that one sleeps.
func TestOrderOfClaims(t *testing.T) {
	none, domain, name := capture.NoClaim, capture.ByDomain, capture.ByName
	for _, c := range []struct {
		older, newer          capture.Claim
		olderWake, newerAwake bool
		olderYields, yields   bool
	}{
		{name, name, true, true, false, true},
		{name, domain, true, true, false, true},
		{domain, domain, true, true, false, true},
		{domain, name, true, true, false, false},
		{none, name, true, true, false, false},
		{domain, name, true, false, false, true},
		{name, domain, false, true, true, false},
		{name, none, false, true, false, false},
		{name, name, false, false, false, true},
	} {
		older := &member{claims: map[string]capture.Claim{"x": c.older}}
		newer := &member{claims: map[string]capture.Claim{"x": c.newer}}
		o := &order{}
		o.members = []*place{{in: o, member: older, awake: c.olderWake}, {in: o, member: newer, awake: c.newerAwake}}
		for i, want := range []bool{c.olderYields, c.yields} {
			if got := o.members[i].Elsewhere("lookup", "x", 0); got != want {
				t.Errorf("%+v: member %d yields: %v", c, i, got)
			}
		}
	}
}
