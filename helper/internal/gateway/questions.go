package gateway

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/journal"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
)

// Watch returns a watcher of the flows, questions and refusals.
func (g *Gateway) Watch() *journal.Watcher { return g.journal.Watch() }

// answerFrom records where an answer came from.
type answerFrom struct{ cache atomic.Bool }

// maxShownRecords bounds how many records of an answer are shown.
const maxShownRecords = 4

// recordQuestion shows a DNS question and its answer to watchers. m is nil if err is not.
func (g *Gateway) recordQuestion(r tunnel.Request, began time.Time, name string, from *answerFrom, m *dns.Msg, err error) {
	q := journal.Question{Type: dns.Type(r.Target.Port).String()}
	if from.cache.Load() {
		q.From = "cache"
	}
	if err == nil {
		var shown []string
		for _, rr := range m.Answer {
			shown = append(shown, strings.TrimSpace(strings.TrimPrefix(rr.String(), rr.Header().String())))
			if len(shown) == maxShownRecords {
				break
			}
		}
		q.OK, q.Answer = len(shown) > 0, strings.Join(shown, ", ")
		if more := len(m.Answer) - len(shown); more > 0 {
			q.Answer += ", …"
		}
		if !q.OK {
			q.Answer = dns.RcodeToString[m.Rcode]
			if m.Rcode == dns.RcodeSuccess {
				q.Answer = "no such record"
			}
		}
	}
	g.record(q, r, began, name, err)
}

// recordLookup shows a look-up of addresses to watchers.
func (g *Gateway) recordLookup(r tunnel.Request, began time.Time, name string, addrs []netip.Addr, err error) {
	q := journal.Question{Type: "address", OK: len(addrs) > 0}
	for i, a := range addrs[:min(len(addrs), maxShownRecords)] {
		if i > 0 {
			q.Answer += ", "
		}
		q.Answer += a.String()
	}
	g.record(q, r, began, name, err)
}

func (g *Gateway) record(q journal.Question, r tunnel.Request, began time.Time, name string, err error) {
	if err != nil {
		q.Answer = dial.Error(err).Error()
	}
	if q.From == "" {
		if of, ok := g.named(name); ok {
			q.From = of.Exit
		}
	}
	o := r.Origin
	q.Time, q.Millis = began, float64(time.Since(began).Microseconds())/1000
	q.Name, q.Resource, q.Way, q.User, q.PID, q.Program = r.Target.Host, name, o.Source, o.User, o.PID, o.Program
	g.journal.Ask(q)
}
