// Package handover is how "causeway run" gives a connection to the capture on the
// same machine. "causeway run" asks for a target over a Unix socket in the helper's
// private directory. After the gateway has connected, it hands over the descriptor
// of its end of the program's connection. From then on the capture relays, so that
// a flow has no further hop and survives the process that asked.
//
// Every message is one packet of a SOCK_SEQPACKET connection, and a connection
// is for one flow: request, verdict, for a covered target the answer, and then
// the descriptor. The capture keeps the connection open while the flow lives.
package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
)

const (
	wireVersion = 1
	maxMessage  = 1 << 10
	maxProgram  = 64
	requestSize = 1 + 1 + 2 + 16 + 4

	prefix, suffix = "run-", ".sock"
)

// Verdicts, the first byte that comes back.
const (
	notCovered = 0
	covered    = 1
)

// Options of Listen. Gateway, Covers and CheckUDP are required.
type Options struct {
	Log      zerolog.Logger
	Gateway  *flow.Gateway
	Covers   func(network, host string, port uint16) bool
	At       func(netip.Addr) (string, bool) // returns the name that an address stands for; nil: no address stands for a name
	CheckUDP func(local, remote netip.AddrPort) (owner.Owner, error)
	// RefuseUDP shows a program that has sent a datagram from client to server, our end on
	// loopback, why it does not arrive, where that is possible; may be nil.
	RefuseUDP func(client, server netip.AddrPort, err error)
	Path      string // of the socket, in a directory of mode 0700
}

// Request asks for one flow.
type Request struct {
	Network tunnel.Network // TCP or UDP
	Target  netip.AddrPort // unmapped, without zone
	PID     uint32         // of the program, for show
	Program string         // its owner.Program, for show; cut to 64 bytes
}

// ErrNoCapture says that no capture listens in the directory.
var ErrNoCapture = errors.New("no capture of yours runs on this machine: connect first, from the editor or by causeway connect")

var errFrame = errors.New("malformed message")

func appendRequest(b []byte, r Request) []byte {
	b = append(b, wireVersion, byte(r.Network))
	b = binary.BigEndian.AppendUint16(b, r.Target.Port())
	a := r.Target.Addr().As16()
	b = append(b, a[:]...)
	b = binary.BigEndian.AppendUint32(b, r.PID)
	return append(b, r.Program[:min(len(r.Program), maxProgram)]...)
}

func parseRequest(b []byte) (Request, error) {
	if len(b) < requestSize || len(b) > requestSize+maxProgram {
		return Request{}, fmt.Errorf("%w: request of %d bytes", errFrame, len(b))
	}
	if b[0] != wireVersion {
		return Request{}, fmt.Errorf("request has version %d, this helper speaks %d", b[0], wireVersion)
	}
	r := Request{Network: tunnel.Network(b[1])}
	if r.Network != tunnel.TCP && r.Network != tunnel.UDP {
		return Request{}, fmt.Errorf("%w: %v", errFrame, r.Network)
	}
	addr := netip.AddrFrom16([16]byte(b[4:20])).Unmap()
	r.Target = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[2:]))
	if r.Target.Port() == 0 || addr.IsUnspecified() || addr.IsMulticast() {
		return Request{}, fmt.Errorf("%w: target %s", errFrame, r.Target)
	}
	r.PID = binary.BigEndian.Uint32(b[20:])
	r.Program = tunnel.Clean(string(b[requestSize:]))
	return r, nil
}

func appendAnswer(b []byte, code tunnel.Code, reason string) []byte {
	return append(append(b, byte(code)), reason[:min(len(reason), tunnel.MaxReason)]...)
}

// parseAnswer returns nil for a connected flow, else a *tunnel.Error.
func parseAnswer(b []byte) error {
	if len(b) == 0 {
		return errFrame
	}
	if code := tunnel.Code(b[0]); code != tunnel.Connected {
		return &tunnel.Error{Code: code, Reason: tunnel.Clean(string(b[1:]))}
	}
	return nil
}

// Path is where the capture of a session listens.
func Path(dir, session string) string {
	return filepath.Join(dir, prefix+session[:min(len(session), 12)]+suffix)
}
