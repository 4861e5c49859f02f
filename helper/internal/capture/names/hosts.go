package names

import (
	"context"
	"errors"
	"slices"

	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
)

// hostsState is the editor of the hosts file, and how it ended.
type hostsState struct {
	editor    Hosts           // nil without one
	err       error           // why there is no editor
	lost      bool            // there was an editor, and it ended
	restarted bool            // it was started again, which happens once
	current   []hostnet.Entry // as last set
	overruled []string        // names that have other lines in the file, too
}

func (h *hostsState) start(ctx context.Context, start func(context.Context) (Hosts, error)) {
	if h.died() {
		h.lose(h.editor.Err())
	}
	if h.mayRestart() {
		h.restarted, h.err = true, nil
	}
	if h.editor != nil || h.err != nil {
		return
	}
	editor, err := start(ctx)
	if err != nil {
		h.err = err
		return
	}
	h.editor = editor
}

// died tells whether the editor ended by itself.
func (h *hostsState) died() bool {
	if h.editor == nil {
		return false
	}
	select {
	case <-h.editor.Done():
		return true
	default:
		return false
	}
}

func (h *hostsState) mayRestart() bool { return h.editor == nil && h.lost && !h.restarted }

func (h *hostsState) lose(err error) {
	_ = h.editor.Close()
	h.editor, h.current, h.overruled, h.lost = nil, nil, nil, true
	h.err = errors.Join(errors.New("lost the hosts file"), err)
}

func (h *hostsState) set(ctx context.Context, entries []hostnet.Entry) error {
	if h.editor == nil || slices.EqualFunc(entries, h.current, equalEntry) {
		return nil
	}
	if err := h.editor.SetHosts(ctx, entries); err != nil {
		h.lose(err)
		return err
	}
	h.current = entries
	if o, ok := h.editor.(interface{ Overruled() []string }); ok {
		h.overruled = o.Overruled()
	}
	return nil
}

func (h *hostsState) close() error {
	if h.editor == nil {
		return nil
	}
	err := h.editor.Close()
	h.editor = nil
	return err
}

func equalEntry(a, b hostnet.Entry) bool {
	return a.Address == b.Address && slices.Equal(a.Names, b.Names)
}
