package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// Numbers of SOCKS4. SOCKS4a adds names: the address is 0.0.0.x then, and the name
// follows the user.
const (
	socks4Version = 4
	rep4OK        = 90
	rep4Failure   = 91
	maxUser       = 255
)

// serveSOCKS4 speaks SOCKS4 and SOCKS4a, whose version byte has been read. It owns
// c.
func (p *Proxy) serveSOCKS4(c *net.TCPConn, who owner.Owner) {
	cmd, host, port, err := greetSOCKS4(c)
	switch {
	case err != nil:
		_ = c.Close()
	case cmd != cmdConnect:
		replySOCKS4(c, rep4Failure)
		_ = c.Close()
	default:
		_ = c.SetDeadline(time.Time{})
		p.connectSOCKS(c, host, port, who, func(err error) {
			code := byte(rep4OK)
			if err != nil {
				code = rep4Failure
			}
			replySOCKS4(c, code)
		})
	}
}

// greetSOCKS4 reads the request. It reads byte by byte, since what follows is the
// client's first data.
func greetSOCKS4(c io.Reader) (cmd byte, host string, port uint16, err error) {
	var b [7]byte
	if _, err = io.ReadFull(c, b[:]); err != nil {
		return
	}
	cmd, port = b[0], binary.BigEndian.Uint16(b[1:])
	if _, err = readText(c, maxUser); err != nil {
		return
	}
	if b[3] != 0 || b[4] != 0 || b[5] != 0 || b[6] == 0 {
		return cmd, netip.AddrFrom4([4]byte(b[3:])).String(), port, nil
	}
	host, err = readText(c, tunnel.MaxHost)
	if err == nil && (host == "" || strings.ContainsFunc(host, notInName)) {
		err = errors.New("the name is empty or has characters that no host name has")
	}
	return
}

// readText reads at most limit bytes and the zero byte that ends them.
func readText(r io.Reader, limit int) (string, error) {
	var text []byte
	var b [1]byte
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return "", err
		}
		switch {
		case b[0] == 0:
			return string(text), nil
		case len(text) == limit:
			return "", errors.New("too long")
		}
		text = append(text, b[0])
	}
}

func replySOCKS4(c io.Writer, code byte) { _, _ = c.Write([]byte{0, code, 0, 0, 0, 0, 0, 0}) }
