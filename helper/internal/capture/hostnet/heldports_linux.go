package hostnet

import (
	"errors"
	"io"

	"github.com/causeway-dev/causeway/helper/internal/capture/held"
)

// refuser sends refusals for the caller. The zero value is ready for use.
type refuser struct{ raw *held.Refuser }

// passWatch opens the packet socket for the process at the other end of caller,
// and here the raw socket for the refusals.
func (r *refuser) passWatch(caller io.Reader) (err error) {
	if r.raw == nil {
		if r.raw, err = held.OpenRefuser(); err != nil {
			return err
		}
	}
	watch, err := held.OpenWatch()
	if err != nil {
		return err
	}
	defer watch.Close()
	return pass(caller, watch)
}

func (r *refuser) refuse(f held.Refusal) error {
	if r.raw == nil {
		return errors.New("loopback is not watched")
	}
	return r.raw.Refuse(f)
}

func (r *refuser) close() error {
	if r.raw == nil {
		return nil
	}
	return r.raw.Close()
}
