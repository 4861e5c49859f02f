package capture

import (
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// maxTelling bounds how many of the gateway's questions are under way.
const maxTelling = 4

// origin tells of who opens a flow, for every source that has a check's word
// only.
func (c *capture) origin(check *owner.Checker) owner.OriginFunc {
	return func(source string, t tunnel.Target, who owner.Owner) tunnel.Origin {
		return check.Process(who, c.offered.Load().ByProgram(t.Network.String(), t.Host, t.Port)).Origin(source)
	}
}

// answer tells the gateway the arguments of a program, of this user's own alone.
// What it cannot do at once it leaves out. Nobody waits for the goroutine, since
// the kernel keeps who reads of a process waiting while that is stuck.
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
