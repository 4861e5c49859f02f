package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/capture/proxy"
	"github.com/spf13/cobra"
	xproxy "golang.org/x/net/proxy"
)

func ncCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "nc HOST PORT",
		Short: "Join stdin and stdout to a resource, on the remote",
		Long: `Nc connects to a resource through your capture on this machine, and joins stdin and
stdout to the connection, as ssh's ProxyCommand expects. If the gateway refuses, nc
exits with 3.`,
		Example: `  ssh -o ProxyCommand='causeway nc %h %p' git@git.corp.example
  printf 'PING\r\n' | causeway nc redis.corp.example 6379`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError(errors.New("nc takes a host and a port"))
			}
			if n, err := strconv.ParseUint(args[1], 10, 16); err != nil || n == 0 {
				return usageError(fmt.Errorf("%q is not a port", args[1]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return nc(cmd.Context(), e, args[0], args[1]) },
	}
}

func nc(ctx context.Context, e *env, host, port string) error {
	at, err := findProxy()
	if err != nil {
		return err
	}
	var direct keepingDialer
	dialer, err := xproxy.SOCKS5("tcp", at, nil, &direct)
	if err != nil {
		return err
	}
	_, err = dialer.(xproxy.ContextDialer).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	c := direct.conn
	if err != nil {
		return &exitError{exitRefused, fmt.Errorf("connect to %s port %s: %w", host, port, err)}
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	go func() {
		// Nobody waits for this goroutine: nothing can stop a read of stdin.
		_, _ = io.Copy(c, e.stdin)
		_ = c.CloseWrite()
	}()
	if _, err := io.Copy(e.stdout, c); err != nil {
		return fmt.Errorf("read from %s port %s: %w", host, port, err)
	}
	return nil
}

// keepingDialer remembers the connection that it made: the SOCKS client wraps the
// connection in a type without half-close.
type keepingDialer struct{ conn *net.TCPConn }

func (d *keepingDialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

func (d *keepingDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	c, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	d.conn = c.(*net.TCPConn)
	return c, nil
}

// findProxy finds the proxy of this user's capture by its port, and checks that this
// user's helper listens there.
func findProxy() (string, error) {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	var addrs []netip.AddrPort
	for _, port := range proxy.Ports(os.Geteuid()) {
		addrs = append(addrs, netip.AddrPortFrom(loopback, uint16(port)))
	}
	holders, err := owner.Holders(false, addrs)
	if err != nil {
		return "", err
	}
	for _, at := range addrs {
		if h, ok := holders[at]; ok && h.UID == os.Geteuid() && h.Program == program() {
			return at.String(), nil
		}
	}
	return "", errors.New("no capture of yours runs on this machine: connect first, from the editor or by causeway connect")
}

// program is the name of this helper's executable; the capture runs the same.
func program() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Base(self)
}
