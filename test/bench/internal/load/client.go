//go:build linux

package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/proxy"
)

// Target is a server and the way to it.
type Target struct {
	Addr  string `json:"addr"`  // HOST:PORT
	Via   string `json:"via"`   // "" for a plain connection, "socks5" or "http" for one through Proxy
	Proxy string `json:"proxy"` // HOST:PORT
}

func (t Target) String() string {
	if t.Via == "" {
		return t.Addr
	}
	return t.Addr + " via " + t.Via + "://" + t.Proxy
}

// Resolved returns t with addresses in place of the names that this host resolves
// itself, so that measurements contain no look-up.
func (t Target) Resolved(ctx context.Context) (Target, error) {
	name := &t.Addr
	if t.Via != "" {
		name = &t.Proxy
	}
	host, port, err := net.SplitHostPort(*name)
	if err != nil {
		return t, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return t, err
	}
	*name = net.JoinHostPort(addrs[0].Unmap().String(), port)
	return t, nil
}

// Dial connects and waits for every answer of a proxy.
func (t Target) Dial(ctx context.Context) (net.Conn, error) {
	d := &net.Dialer{Timeout: 15 * time.Second}
	switch t.Via {
	case "":
		return d.DialContext(ctx, "tcp", t.Addr)
	case "socks5":
		s, err := proxy.SOCKS5("tcp", t.Proxy, nil, d)
		if err != nil {
			return nil, err
		}
		return s.(proxy.ContextDialer).DialContext(ctx, "tcp", t.Addr)
	case "http":
		c, err := d.DialContext(ctx, "tcp", t.Proxy)
		if err != nil {
			return nil, err
		}
		if err := tunnel(c, t.Addr); err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
	return nil, fmt.Errorf("there is no way called %q", t.Via)
}

// tunnel asks the proxy at the other end of c for addr. The server sends nothing
// before it is asked, so the reader loses none of its bytes.
func tunnel(c net.Conn, addr string) error {
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", addr); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy says %s", resp.Status)
	}
	return nil
}

// Down measures one flow from the server.
func Down(ctx context.Context, t Target, warm, span time.Duration) (Bulk, error) {
	c, err := t.Dial(ctx)
	if err != nil {
		return Bulk{}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.Write([]byte{opDown}); err != nil {
		return Bulk{}, err
	}
	return meter{warm, span}.read(c)
}

// Up measures one flow to the server. The server measures it.
func Up(ctx context.Context, t Target, warm, span time.Duration) (Bulk, error) {
	c, err := t.Dial(ctx)
	if err != nil {
		return Bulk{}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	head := append([]byte{opUp}, make([]byte, 16)...)
	binary.BigEndian.PutUint64(head[1:], uint64(warm))
	binary.BigEndian.PutUint64(head[9:], uint64(span))
	if _, err := c.Write(head); err != nil {
		return Bulk{}, err
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		noise := make([]byte, bufferSize)
		var seed [32]byte
		_, _ = rand.NewChaCha8(seed).Read(noise)
		for {
			if _, err := c.Write(noise); err != nil {
				return
			}
		}
	}()
	var b Bulk
	err = binary.Read(c, binary.BigEndian, &b)
	c.Close()
	<-sent
	return b, err
}

// Echo sends a few bytes every interval without waiting for earlier ones, and returns
// the time of each until it was back.
func Echo(ctx context.Context, t Target, interval, span time.Duration) ([]time.Duration, error) {
	c, err := t.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := exchange(c); err != nil {
		return nil, err
	}
	start := time.Now()
	count := int(span / interval)
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		var record [8]byte
		for i := range count {
			time.Sleep(time.Until(start.Add(time.Duration(i) * interval)))
			binary.BigEndian.PutUint64(record[:], uint64(time.Since(start)))
			if _, err := c.Write(record[:]); err != nil {
				failed <- err
				return
			}
		}
	}()
	took := make([]time.Duration, 0, count)
	for range count {
		var record [8]byte
		if _, err := io.ReadFull(c, record[:]); err != nil {
			return nil, errors.Join(err, <-failed)
		}
		took = append(took, time.Since(start)-time.Duration(binary.BigEndian.Uint64(record[:])))
	}
	return took, <-failed
}

// exchange sends a byte and waits for the answer.
func exchange(c net.Conn) error {
	b := [1]byte{opEcho}
	if _, err := c.Write(b[:]); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b[:])
	return err
}

// Setup connects count times, one after the other. It returns the time of each to
// connect, send one byte and receive the answer.
func Setup(ctx context.Context, t Target, count int) ([]time.Duration, error) {
	took := make([]time.Duration, 0, count)
	for range count {
		start := time.Now()
		c, err := t.Dial(ctx)
		if err != nil {
			return nil, err
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		err = exchange(c)
		took = append(took, time.Since(start))
		c.Close()
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}

// Burst keeps workers busy for span with connections of one small request each. It
// returns the time of each that succeeded, and the number of failures.
func Burst(ctx context.Context, t Target, workers int, span time.Duration) (took []time.Duration, failed int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	end := time.Now().Add(span)
	for range workers {
		all.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				start := time.Now()
				err := request(ctx, t)
				mu.Lock()
				if err != nil {
					failed++
				} else {
					took = append(took, time.Since(start))
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return took, failed
}

func request(ctx context.Context, t Target) error {
	c, err := t.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+t.Addr+"\r\n\r\n"); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, c)
	if err == nil && n < answerSize {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Hold opens count connections, waits for one answer on each, calls held, and keeps
// the connections until ctx ends.
func Hold(ctx context.Context, t Target, count int, held func()) error {
	const atOnce = 20
	var mu sync.Mutex
	var open []net.Conn
	var first error
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for range count / atOnce {
				c, err := t.Dial(ctx)
				if err == nil {
					err = exchange(c)
				}
				mu.Lock()
				if c != nil {
					open = append(open, c)
				}
				failed := first != nil
				if err != nil && !failed {
					first, failed = err, true
				}
				mu.Unlock()
				if failed {
					return
				}
			}
		})
	}
	all.Wait()
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	if first != nil {
		return first
	}
	held()
	<-ctx.Done()
	return nil
}
