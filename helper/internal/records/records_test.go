package records

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func answer(t *testing.T, lines ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		if rr.Header().Rrtype == dns.TypeSOA {
			m.Ns = append(m.Ns, rr)
		} else {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

func TestReverse(t *testing.T) {
	for _, addr := range []string{"10.77.0.12", "127.1.2.3", "fd77::12", "2001:db8::abcd"} {
		name, err := dns.ReverseAddr(addr)
		if err != nil {
			t.Fatal(err)
		}
		if a, ok := Reverse(name); !ok || a != netip.MustParseAddr(addr) {
			t.Errorf("%s: %v %v", name, a, ok)
		}
	}
	for _, name := range []string{"77.10.in-addr.arpa.", "web.corp.test.", "a.0.77.10.in-addr.arpa", "1.0.ip6.arpa", ""} {
		if a, ok := Reverse(name); ok {
			t.Errorf("%q is %v", name, a)
		}
	}
}

func TestLifetime(t *testing.T) {
	soa := "corp.test. 60 SOA dns hostmaster 1 3600 600 86400 5"
	failed := answer(t, soa)
	failed.Rcode = dns.RcodeServerFailure
	for _, c := range []struct {
		m    *dns.Msg
		want uint32
	}{
		{answer(t, "a.test. 60 A 10.0.0.1", "a.test. 20 A 10.0.0.2"), 20},
		{answer(t, soa), 5},
		{answer(t, "www.test. 3 CNAME a.test.", soa), 3},
		{answer(t), 0},
		{failed, 0},
	} {
		if got := Lifetime(c.m); got != c.want {
			t.Errorf("%v: %d, want %d", c.m, got, c.want)
		}
	}
}

func TestCacheKeepsAnswersForTheirLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCache()
		q := Question{"a.test", dns.TypeA}
		fetched := 0
		get := func() *dns.Msg {
			t.Helper()
			m, err := c.Get(t.Context(), q, func(context.Context) (*dns.Msg, error) {
				fetched++
				return answer(t, "a.test. 20 A 10.0.0.1"), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		get().Answer[0].Header().Ttl = 9999 // the caller's own
		time.Sleep(15 * time.Second)
		if ttl := get().Answer[0].Header().Ttl; fetched != 1 || ttl != 5 {
			t.Errorf("fetched %d times, TTL %d", fetched, ttl)
		}
		time.Sleep(5 * time.Second)
		if get(); fetched != 2 {
			t.Errorf("fetched %d times", fetched)
		}
		c.Clear()
		if get(); fetched != 3 {
			t.Errorf("fetched %d times", fetched)
		}
	})
}

func TestCacheForgetsNegativeAnswersSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCache()
		fetched := 0
		for range 3 {
			_, err := c.Get(t.Context(), Question{"a.test", dns.TypeA}, func(context.Context) (*dns.Msg, error) {
				fetched++
				return answer(t, "test. 3600 SOA dns hostmaster 1 3600 600 86400 3600"), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(longestNegative / 2)
		}
		if fetched != 2 {
			t.Errorf("fetched %d times", fetched)
		}
	})
}

func TestCacheBounds(t *testing.T) {
	c := NewCache()
	for i := range 2 * maxEntries {
		q := Question{fmt.Sprintf("n%d.test", i), dns.TypeA}
		if _, err := c.Get(t.Context(), q, func(context.Context) (*dns.Msg, error) { return answer(t, q.Name+". 60 A 10.0.0.1"), nil }); err != nil {
			t.Fatal(err)
		}
	}
	if entries, _ := c.answers.Len(); entries != maxEntries {
		t.Errorf("%d entries", entries)
	}
	if _, err := c.Get(t.Context(), Question{"x.test", dns.TypeA}, func(context.Context) (*dns.Msg, error) { return nil, errors.New("no") }); err == nil {
		t.Error("the error is lost")
	}
}

// A remote that asks for long answers fills a few megabytes, not more.
func TestCacheMemory(t *testing.T) {
	measure := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := measure()
	c := NewCache()
	for i := range maxEntries {
		q := Question{fmt.Sprintf("n%d.corp.test", i), dns.TypeA}
		if _, err := c.Get(t.Context(), q, func(context.Context) (*dns.Msg, error) {
			m := new(dns.Msg)
			for n := range 40 {
				m.Answer = append(m.Answer, Address(q.Name, netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 60))
			}
			return m, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	after := measure()
	const bound = 4 << 20 // bytes
	if grown := int64(after) - int64(before); grown > bound {
		t.Errorf("the heap grows by %d bytes, the bound is %d", grown, bound)
	}
	runtime.KeepAlive(c)
}

func TestTheFirstWhoGivesUpTakesNobodyAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCache()
		q := Question{"a.test", dns.TypeA}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := c.Get(ctx, q, func(ctx context.Context) (*dns.Msg, error) { <-ctx.Done(); return nil, ctx.Err() })
			gone <- err
		}()
		synctest.Wait()
		got := make(chan error)
		go func() {
			_, err := c.Get(t.Context(), q, func(context.Context) (*dns.Msg, error) { return answer(t, "a.test. 20 A 10.0.0.1"), nil })
			got <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; err == nil {
			t.Error("an answer in spite of it")
		}
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
}
