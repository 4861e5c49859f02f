package netx

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpPair returns both ends of a loopback connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func startRelay(t *testing.T, o RelayOptions) (client, server *net.TCPConn, result chan error, cancel context.CancelFunc) {
	client, a := tcpPair(t)
	b, server := tcpPair(t)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	result = make(chan error, 1)
	go func() { result <- Relay(ctx, a, b, o) }()
	return client, server, result, cancel
}

func TestRelayHalfClose(t *testing.T) {
	var up, down int
	client, server, result, _ := startRelay(t, RelayOptions{
		AToB: func(n int) { up += n }, BToA: func(n int) { down += n },
	})
	if _, err := client.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	_ = client.CloseWrite()
	if got, err := io.ReadAll(server); err != nil || string(got) != "question" {
		t.Fatalf("server read %q, %v", got, err)
	}
	if _, err := server.Write([]byte("a late answer")); err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "a late answer" {
		t.Fatalf("client read %q, %v", got, err)
	}
	if err := <-result; err != nil {
		t.Fatalf("relay: %v", err)
	}
	if up != 8 || down != 13 {
		t.Errorf("counted %d up, %d down", up, down)
	}
}

func TestRelayPassesResetOn(t *testing.T) {
	client, server, result, _ := startRelay(t, RelayOptions{})
	_ = server.SetLinger(0)
	_ = server.Close()
	_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("client read: %v, want a reset", err)
	}
	if err := <-result; !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("relay: %v", err)
	}
}

func TestRelayEndsWithContext(t *testing.T) {
	client, _, result, cancel := startRelay(t, RelayOptions{})
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("relay: %v", err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("client read: %v, want a reset", err)
	}
}

func TestRelayWithoutHalfClose(t *testing.T) {
	client, a := net.Pipe()
	b, server := tcpPair(t)
	result := make(chan error, 1)
	go func() { result <- Relay(context.Background(), a, b, RelayOptions{}) }()
	_ = server.Close()
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("client read: %v", err)
	}
	if err := <-result; err != nil {
		t.Fatalf("relay: %v", err)
	}
}
