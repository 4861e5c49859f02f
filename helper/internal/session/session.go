package session

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
)

// MaxResume is how long a session may wait at most: as long as the editor keeps
// a window alive that has lost its remote.
const MaxResume = 3 * time.Hour

// ResumeLimit is how long a session waits for its link or for its driver, by
// what its driver asks for; 0 and less mean the default.
func ResumeLimit(seconds int) time.Duration {
	if seconds <= 0 {
		return carrier.DefaultResumeLimit
	}
	return time.Duration(min(int64(seconds), int64(MaxResume/time.Second))) * time.Second
}

// Keys are a session's public identifier, and the secret that both helpers share.
type Keys struct {
	ID     carrier.SessionID
	Secret carrier.Secret
}

// NewKeys returns the keys of a new session.
func NewKeys() (k Keys, err error) {
	for _, b := range [][]byte{k.ID[:], k.Secret[:]} {
		if _, err := rand.Read(b); err != nil {
			return k, fmt.Errorf("make a secret: %w", err)
		}
	}
	return k, nil
}

// ParseKeys reads an identifier and a secret in hex.
func ParseKeys(id, secret string) (k Keys, err error) {
	if err := parseHex(k.ID[:], id); err != nil {
		return k, fmt.Errorf("session is %w", err)
	}
	if err := parseHex(k.Secret[:], secret); err != nil {
		return k, fmt.Errorf("secret is %w", err)
	}
	return k, nil
}

func parseHex(to []byte, text string) error {
	if len(text) == 2*len(to) {
		if _, err := hex.Decode(to, []byte(text)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("not %d bytes of hex", len(to))
}

// Hex returns both in hex.
func (k Keys) Hex() (id, secret string) {
	return hex.EncodeToString(k.ID[:]), hex.EncodeToString(k.Secret[:])
}

// SecretIs reports whether the secrets are the same, in constant time.
func (k Keys) SecretIs(secret carrier.Secret) bool {
	return subtle.ConstantTimeCompare(k.Secret[:], secret[:]) == 1
}

// Serve lays a tunnel over a session's carrier, by end (tunnel.Client or
// tunnel.Server), and serves it until it ends or ctx does. It returns why: the
// cause of ctx, the reason of the carrier's end, or the error of serve.
func Serve(ctx context.Context, c *carrier.Conn, log zerolog.Logger, end func(net.Conn, tunnel.Options) (*tunnel.Session, error), serve func(context.Context, *tunnel.Session) error) error {
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.CloseWithReason(context.Cause(ctx).Error()) })
	defer stop()
	t, err := end(c, tunnel.Options{Log: log, Carrier: c, Memory: c.Memory()})
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	err = serve(ctx, t)
	switch cause := c.Err(); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case cause != nil:
		return cause
	}
	return err
}
