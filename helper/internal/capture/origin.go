package capture

import (
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// maxTelling bounds how many questions of the gateway are answered at a time.
const maxTelling = 4

// origin describes the program that opens a flow. It starts from the result of a
// check.
func (c *capture) origin(check *owner.Checker) owner.OriginFunc {
	return func(source string, t tunnel.Target, who owner.Owner) tunnel.Origin {
		return check.Process(who, c.offered.Load().ByProgram(t.Network.String(), t.Host, t.Port)).Origin(source)
	}
}

// answer tells the gateway the arguments of a program of this user. If too many
// questions are under way, answer drops this one. Serve does not wait for the
// goroutine: the kernel can block a reader of /proc for as long as the process is
// stuck.
func (c *capture) answer(a peer.Ask) {
	select {
	case c.telling <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-c.telling }()
		told := peer.Told{ID: a.ID, Arguments: owner.Arguments(int(a.PID), a.Program, c.o.UID)}
		select {
		case c.told <- told:
		case <-c.ended:
		}
	}()
}
