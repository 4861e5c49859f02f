package tunnel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
)

func TestRelayOverTunnel(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	c, g := flow(t, capture, gateway, request, "")
	_ = g.Reply(tunnel.Connected, "")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- netx.Relay(context.Background(), accepted, c, netx.RelayOptions{}) }()
	payload := bytes.Repeat([]byte("causeway"), 1<<18)
	go func() {
		_, _ = client.Write(payload)
		_ = client.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(g)
	if err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	_, _ = g.Write([]byte("done"))
	_ = g.CloseWrite()
	if got, err := io.ReadAll(client); err != nil || string(got) != "done" {
		t.Fatalf("client read %q, %v", got, err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestStalledFlowHoldsUpNoOther(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	stalled, g1 := flow(t, capture, gateway, request, "")
	_ = g1.Reply(tunnel.Connected, "")
	_ = stalled.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := stalled.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("write without a reader: %v", err)
	}
	c, g := flow(t, capture, gateway, request, "ping")
	_ = g.Reply(tunnel.Connected, "")
	p := make([]byte, 8)
	if n, err := g.Read(p); err != nil || string(p[:n]) != "ping" {
		t.Fatal(err)
	}
	_ = c.Close()
}

// relayAll relays between each connection of accept and the one that other returns
// for it, until accept fails.
func relayAll(wg *sync.WaitGroup, accept func() (net.Conn, error), other func(net.Conn) (net.Conn, error)) {
	wg.Go(func() {
		for {
			a, err := accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if b, err := other(a); err == nil {
					_ = netx.Relay(context.Background(), a, b, netx.RelayOptions{})
				}
			})
		}
	})
}

// A program that connects, sends and closes at once loses nothing on the way.
func TestFireAndForget(t *testing.T) {
	capture, gateway := tunneltest.Pair(t)
	var lns [2]net.Listener // the capture's, the server's
	for i := range lns {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		lns[i] = ln
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _, _, _ = lns[0].Close(), capture.Close(), gateway.Close() }()
	relayAll(&wg, lns[0].Accept, func(net.Conn) (net.Conn, error) { return capture.Open(context.Background(), request, nil) })
	relayAll(&wg, func() (net.Conn, error) { return gateway.Accept() }, func(st net.Conn) (net.Conn, error) {
		c, err := net.Dial("tcp", lns[1].Addr().String())
		if err == nil {
			err = st.(*tunnel.Stream).Reply(tunnel.Connected, "")
		}
		return c, err
	})
	var want []string
	const senders = 60
	for i := range senders {
		c, err := net.Dial("tcp", lns[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("metric%02d 1\n", i)
		_, _ = io.WriteString(c, line)
		_ = c.Close()
		want = append(want, line)
	}
	var got []string
	for range senders {
		c, err := lns[1].Accept()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		got = append(got, string(b))
		_ = c.Close()
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
