package cache

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestValuesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int](10, 1000)
		n := 0
		get := func(want int) {
			t.Helper()
			v, _, err := c.Get(t.Context(), "a", func(context.Context) (Fetched[int], error) {
				n++
				time.Sleep(time.Second) // counts
				return Fetched[int]{Value: n, Life: time.Minute}, nil
			})
			if v != want || err != nil {
				t.Errorf("%d, %v; want %d", v, err, want)
			}
		}
		get(1)
		time.Sleep(time.Minute - time.Second - 1)
		get(1)
		time.Sleep(time.Nanosecond)
		get(2)
		c.Clear()
		get(3)
	})
}

func TestBounds(t *testing.T) {
	c := New[int, string](100, 1000)
	get := func(key, size int) {
		_, _, _ = c.Get(t.Context(), key, func(context.Context) (Fetched[string], error) {
			return Fetched[string]{Value: strconv.Itoa(key), Life: time.Hour, Size: size}, nil
		})
	}
	for i := range 300 {
		get(i, 1)
		get(0, 1) // stays, since it is used
	}
	if entries, bytes := c.Len(); entries != 100 || bytes != 100 || c.entries[0] == nil {
		t.Errorf("%d entries, %d bytes", entries, bytes)
	}
	for i := range 50 {
		get(1000+i, 300)
	}
	if entries, bytes := c.Len(); entries != 3 || bytes != 900 {
		t.Errorf("%d entries, %d bytes", entries, bytes)
	}
	get(5000, 2000)
	if entries, bytes := c.Len(); entries != 0 || bytes != 0 {
		t.Errorf("a value beyond the bounds leaves %d entries, %d bytes", entries, bytes)
	}
}

func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New[string, int](10, 1000)
		fetches := 0
		first, giveUp := context.WithCancel(t.Context())
		fetch := func(ctx context.Context) (Fetched[int], error) {
			fetches++
			select {
			case <-time.After(time.Second):
				return Fetched[int]{Value: 7}, nil
			case <-ctx.Done():
				return Fetched[int]{}, ctx.Err()
			}
		}
		var all sync.WaitGroup
		all.Go(func() {
			if _, _, err := c.Get(first, "a", fetch); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who gives up: %v", err)
			}
		})
		synctest.Wait()
		for range 20 {
			all.Go(func() {
				if v, _, err := c.Get(t.Context(), "a", fetch); v != 7 || err != nil {
					t.Errorf("%d, %v", v, err)
				}
			})
		}
		synctest.Wait()
		giveUp()
		all.Wait()
		if fetches != 2 {
			t.Errorf("%d fetches, want one for the one who gives up and one for the rest", fetches)
		}
	})
}

func TestErrorsAreSharedAndNotKept(t *testing.T) {
	c := New[string, int](10, 1000)
	no := errors.New("no")
	for i := range 2 {
		if _, _, err := c.Get(t.Context(), "a", func(context.Context) (Fetched[int], error) {
			if i == 0 {
				return Fetched[int]{Life: time.Hour}, no
			}
			return Fetched[int]{Value: 1}, nil
		}); errors.Is(err, no) != (i == 0) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// What was under way when the cache was cleared is neither kept nor shared with later
// callers.
func TestClearWhileFetching(t *testing.T) {
	c := New[string, int](10, 1000)
	go1 := make(chan struct{})
	began := make(chan struct{})
	old := make(chan int)
	go func() {
		v, _, _ := c.Get(t.Context(), "a", func(context.Context) (Fetched[int], error) {
			close(began)
			<-go1
			return Fetched[int]{Value: 1, Life: time.Hour}, nil
		})
		old <- v
	}()
	<-began
	c.Clear()
	two := func(context.Context) (Fetched[int], error) { return Fetched[int]{Value: 2, Life: time.Hour}, nil }
	if v, _, err := c.Get(t.Context(), "a", two); v != 2 || err != nil {
		t.Errorf("after Clear: %d, %v", v, err)
	}
	close(go1)
	if v := <-old; v != 1 {
		t.Errorf("the one who waited: %d", v)
	}
	if v, _, _ := c.Get(t.Context(), "a", two); v != 2 {
		t.Errorf("later: %d", v)
	}
}
