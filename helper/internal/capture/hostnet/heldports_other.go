//go:build !linux

package hostnet

import (
	"errors"
	"io"

	"github.com/causeway-dev/causeway/helper/internal/capture/held"
)

type refuser struct{}

func (*refuser) passWatch(io.Reader) error { return errors.ErrUnsupported }

func (*refuser) refuse(held.Refusal) error { return errors.ErrUnsupported }

func (*refuser) close() error { return nil }
