package hostnet

import (
	"io"

	"github.com/causeway-dev/causeway/helper/internal/capture/held"
)

// refuser sends refusals for the caller. The zero value is ready for use.
type refuser struct{ raw *held.Refuser }

// passWatch opens the packet socket for the process at the other end of caller.
// It fails where refusals are impossible, since both take the same right.
func (r *refuser) passWatch(caller io.Reader) error {
	if err := r.open(); err != nil {
		return err
	}
	watch, err := held.OpenWatch()
	if err != nil {
		return err
	}
	defer watch.Close()
	return pass(caller, watch)
}

// refuse sends f. Its caller may have the packet socket of an earlier subcommand.
func (r *refuser) refuse(f held.Refusal) error {
	if err := r.open(); err != nil {
		return err
	}
	return r.raw.Refuse(f)
}

func (r *refuser) open() (err error) {
	if r.raw == nil {
		r.raw, err = held.OpenRefuser()
	}
	return err
}

func (r *refuser) close() error {
	if r.raw == nil {
		return nil
	}
	return r.raw.Close()
}
