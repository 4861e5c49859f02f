package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/gateway"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/rs/zerolog"
)

// dialRate bounds what a remote can make the gateway dial in a second; a page
// load or a test suite stays far below it.
const dialRate = 5000

// session is the gateway's end of a session, from its making to its end.
type session struct {
	log     zerolog.Logger
	options carrier.Options
	carrier *carrier.Conn
}

func newSession(log zerolog.Logger) (*session, error) {
	s := &session{log: log, options: carrier.Options{Role: carrier.Gateway, Log: log}}
	for _, b := range [][]byte{s.options.Session[:], s.options.Secret[:]} {
		if _, err := rand.Read(b); err != nil {
			return nil, fmt.Errorf("make a secret: %w", err)
		}
	}
	s.carrier = carrier.New(s.options)
	return s, nil
}

func (s *session) id() string     { return hex.EncodeToString(s.options.Session[:]) }
func (s *session) secret() string { return hex.EncodeToString(s.options.Secret[:]) }

// serve carries the session over l until that ends, or ctx. It returns why.
func (s *session) serve(ctx context.Context, l carrier.Link, gw *gateway.Gateway) error {
	defer func() { _ = s.carrier.Close() }()
	if err := s.carrier.Attach(ctx, l); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.carrier.CloseWithReason("the user disconnected") })
	defer stop()
	tun, err := tunnel.Server(s.carrier, tunnel.Options{Log: s.log})
	if err != nil {
		return err
	}
	defer func() { _ = tun.Close() }()
	s.log.Info().Str("link", l.Kind()).Msg("connected")
	err = gw.Serve(ctx, tun)
	switch cause := s.carrier.Err(); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case cause != nil:
		return cause
	}
	return err
}

// gatewayOptions completes o with what every gateway of this program has.
func gatewayOptions(log zerolog.Logger, o gateway.Options) gateway.Options {
	o.Log = log
	o.DialRate = dialRate
	return o
}
