package link

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
)

// addressed is a connection that has nothing but addresses.
type addressed struct {
	net.Conn
	remote net.TCPAddr
}

func (c *addressed) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c *addressed) RemoteAddr() net.Addr { return &c.remote }

// TestSocketOfAnotherHost wants a connection from another host, which a firewall
// may forward to loopback, to get as far as the proof of the secret.
func TestSocketOfAnotherHost(t *testing.T) {
	allowed := sameUser(os.Getuid())
	if err := allowed(&addressed{remote: net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}}); err != nil {
		t.Errorf("from another host: %v", err)
	}
	if err := allowed(&addressed{remote: net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2}}); !errors.Is(err, kernelnet.ErrGone) {
		t.Errorf("from a closed socket of this host: %v, want %v", err, kernelnet.ErrGone)
	}
}
