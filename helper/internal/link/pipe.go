// Package link makes the ways by which bytes move between the helpers: frames
// over the conversation with a driver, the stdio of a command, and TCP
// connections through a port that the editor forwards. It decides how many
// direct links a session has. What the bytes mean is the carrier's.
package link

import (
	"time"

	"github.com/causeway-dev/causeway/helper/internal/carrier"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
)

// Pipe returns the carrier's view of a link over a conversation.
func Pipe(l *rpc.Link) carrier.Link { return pipe{l} }

type pipe struct{ *rpc.Link }

// Shape has frames of 256 KiB. The editor's command channel carries large frames
// best: it is slow per call and pauses now and then. Stdio carries them as well
// as smaller ones. On the command channel the window is the only bound of what
// the editor queues.
func (l pipe) Shape() carrier.Shape {
	if l.Kind() == carrier.KindExec {
		return carrier.Shape{MaxFrame: 256 << 10, Window: carrier.DefaultWindow, Slack: 2 * time.Millisecond}
	}
	return carrier.Shape{MaxFrame: 256 << 10, Window: 2 << 20, Slack: 50 * time.Millisecond}
}
