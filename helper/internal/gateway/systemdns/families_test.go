package systemdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// lookUps answers for each network after a time.
type lookUps map[string]struct {
	takes time.Duration
	addr  string // "": err
	err   error
}

func (l lookUps) look(ctx context.Context, network string) ([]netip.Addr, error) {
	c := l[network]
	select {
	case <-time.After(c.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.addr == "" {
		return nil, c.err
	}
	return []netip.Addr{netip.MustParseAddr(c.addr)}, nil
}

func TestFamilies(t *testing.T) {
	none := &net.DNSError{Err: "no such host", IsNotFound: true}
	timeout := &net.DNSError{Err: "i/o timeout", IsTimeout: true}
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		l    lookUps
		want string
		took time.Duration
	}{
		"both":                     {lookUps{"ip4": {10 * ms, "10.0.0.1", nil}, "ip6": {30 * ms, "fd00::1", nil}}, "[10.0.0.1 fd00::1] <nil>", 30 * ms},
		"the server drops AAAA":    {lookUps{"ip4": {10 * ms, "10.0.0.1", nil}, "ip6": {10 * time.Second, "", timeout}}, "[10.0.0.1] <nil>", 60 * ms},
		"IPv6 comes first":         {lookUps{"ip4": {200 * ms, "10.0.0.1", nil}, "ip6": {ms, "fd00::1", nil}}, "[10.0.0.1 fd00::1] <nil>", 200 * ms},
		"no IPv6":                  {lookUps{"ip4": {10 * ms, "10.0.0.1", nil}, "ip6": {20 * ms, "", none}}, "[10.0.0.1] <nil>", 20 * ms},
		"IPv6 only, slow":          {lookUps{"ip4": {10 * ms, "", none}, "ip6": {time.Second, "fd00::1", nil}}, "[fd00::1] <nil>", time.Second},
		"no such name":             {lookUps{"ip4": {10 * ms, "", none}, "ip6": {20 * ms, "", none}}, "[] lookup : no such host", 20 * ms},
		"not known whether exists": {lookUps{"ip4": {10 * ms, "", none}, "ip6": {time.Second, "", timeout}}, "[] lookup : i/o timeout", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				got, err := new(Families).LookUp(t.Context(), c.l.look)
				if said := fmt.Sprint(got, err); said != c.want || time.Since(began) != c.took {
					t.Errorf("%s after %s, want %s after %s", said, time.Since(began), c.want, c.took)
				}
			})
		})
	}
}

// A server that drops the questions for IPv6 costs the delay a few times only.
func TestFamiliesRememberSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Families
		asked := 0
		lookUp := func() time.Duration {
			began := time.Now()
			got, err := f.LookUp(t.Context(), func(ctx context.Context, network string) ([]netip.Addr, error) {
				if network == "ip6" {
					asked++
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
			})
			if err != nil || len(got) != 1 {
				t.Error(got, err)
			}
			return time.Since(began)
		}
		for i := range 6 {
			want := time.Duration(0)
			if i < ipv6Misses {
				want = ipv6Delay
			}
			if took := lookUp(); took != want {
				t.Errorf("look-up %d took %s, want %s", i, took, want)
			}
		}
		if asked != ipv6Misses {
			t.Errorf("asked %d times for IPv6", asked)
		}
		time.Sleep(ipv6Pause)
		if took := lookUp(); took != ipv6Delay {
			t.Errorf("after the pause: %s", took)
		}
	})
}

func TestFamiliesEndWithTheirContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := new(Families).LookUp(ctx, lookUps{"ip4": {time.Hour, "", nil}, "ip6": {time.Hour, "", nil}}.look); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
