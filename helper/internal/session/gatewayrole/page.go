package gatewayrole

import (
	"context"
	"encoding/json"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/logs"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/causeway-dev/causeway/helper/internal/terminal"
	"github.com/rs/zerolog"
)

// pairTime is how long a page may take to show the pairing token.
const pairTime = 10 * time.Second

// Page describes a page in the user's browser that wants to drive.
type Page struct {
	Origin      string
	Token       string // the pairing token that the page must show
	Logs        *logs.Logs
	Preapproved Preapproval
	User        terminal.Asker // asks the user of this machine; nil if there is nobody to ask
	// Admit asks the user whether the page may drive, once it has shown the token.
	Admit    func(context.Context) error
	OwnPorts []uint16 // of this helper, which no resource may lead to
}

// ServePage serves one page until its conversation ends, or ctx, and waits for
// the calls that it has made.
func (r *Role) ServePage(ctx context.Context, p rpc.Pipe, page Page) {
	level := logs.NewLevel()
	h := &conversation{Driver: r.NewDriver(zerolog.Nop(), level.Set), role: r,
		pre: page.Preapproved, ownPorts: page.OwnPorts, user: page.User, origin: page.Origin, admit: page.Admit}
	h.Log = page.Logs.LoggerTo("gateway", logs.Writer{W: toPage(h.Notify), Level: level})
	conn := rpc.ServeGateway(p, rpc.Identity{Helper: r.helper, Token: page.Token}, h)
	_ = h.Run(ctx, conn, pairTime)
	conn.Wait()
}

// toPage sends log lines to a page, which cannot see stderr.
type toPage func(method string, params any)

func (notify toPage) Write(p []byte) (int, error) {
	var event map[string]json.RawMessage
	if json.Unmarshal(p, &event) != nil {
		return len(p), nil
	}
	var m rpc.LogMessage
	_ = json.Unmarshal(event[zerolog.LevelFieldName], &m.Level)
	_ = json.Unmarshal(event[zerolog.MessageFieldName], &m.Message)
	for _, k := range []string{zerolog.LevelFieldName, zerolog.MessageFieldName, zerolog.TimestampFieldName} {
		delete(event, k)
	}
	m.Fields, _ = json.Marshal(event)
	notify(rpc.NotifyLog, m)
	return len(p), nil
}
