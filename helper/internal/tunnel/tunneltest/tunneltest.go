// Package tunneltest joins two tunnel sessions in memory, for tests of what
// runs over a tunnel.
package tunneltest

import (
	"net"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// Pair returns both ends of a tunnel; they end with the test.
func Pair(t testing.TB) (capture, gateway *tunnel.Session) {
	t.Helper()
	return PairWith(t, tunnel.Options{}, tunnel.Options{})
}

// PairWith is Pair with options for each end.
func PairWith(t testing.TB, captureOptions, gatewayOptions tunnel.Options) (capture, gateway *tunnel.Session) {
	t.Helper()
	a, b := loopback(t)
	return over(t, a, b, captureOptions, gatewayOptions)
}

// PairOver is Pair with what wrap makes of the gateway's connection.
func PairOver(t testing.TB, wrap func(net.Conn) net.Conn) (capture, gateway *tunnel.Session) {
	t.Helper()
	a, b := loopback(t)
	return over(t, a, wrap(b), tunnel.Options{}, tunnel.Options{})
}

func over(t testing.TB, a, b net.Conn, captureOptions, gatewayOptions tunnel.Options) (capture, gateway *tunnel.Session) {
	t.Helper()
	capture, err := tunnel.Client(a, captureOptions)
	if err != nil {
		t.Fatal(err)
	}
	gateway, err = tunnel.Server(b, gatewayOptions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = capture.Close()
		_ = gateway.Close()
	})
	return capture, gateway
}

func loopback(t testing.TB) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}
