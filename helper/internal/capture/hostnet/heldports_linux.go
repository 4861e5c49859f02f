package hostnet

import (
	"errors"
	"io"

	"github.com/causeway-dev/causeway/helper/internal/capture/held"
)

// refuser shows SYNs to the caller and refuses them for it. The zero value is
// ready for use.
type refuser struct {
	raw   *held.Refuser
	relay *held.Relay
}

// passWatch passes the process at the other end of caller a file that shows SYNs.
// The packet socket stays here: its holder could send with it. passWatch fails
// where refusals are impossible, since both take the same right.
func (r *refuser) passWatch(caller io.Reader) error {
	if r.relay != nil {
		return errors.New("loopback is watched already")
	}
	if err := r.open(); err != nil {
		return err
	}
	relay, shown, err := held.OpenRelay()
	if err != nil {
		return err
	}
	defer shown.Close()
	r.relay = relay
	return pass(caller, shown)
}

// refuse sends f. Its caller may have the file of an earlier subcommand.
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

func (r *refuser) close() (err error) {
	if r.relay != nil {
		err = r.relay.Close()
	}
	if r.raw != nil {
		err = errors.Join(err, r.raw.Close())
	}
	return err
}
