package gateway

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/health"
	"github.com/causeway-dev/causeway/helper/internal/gateway/show"
	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// newHealth returns the keeper of the health of g's resources.
func newHealth(g *Gateway) *health.Keeper {
	return health.New(health.Options{
		Test: g.check,
		Network: func() string {
			around, err := g.dialer.Surroundings()
			return fmt.Sprint(around.Own, err)
		},
		Changed: g.o.OnChange,
	})
}

// keepHealth gives the health's keeper the approved resources.
func (g *Gateway) keepHealth(resources []resource.Resource) {
	list := make([]health.Resource, len(resources))
	for i, r := range resources {
		list[i] = health.Resource{
			Name: r.Name, Exit: r.Exit, Many: standsForMany(r),
			Definition: strings.Join([]string{r.Host.String(), r.As, r.Resolve, fmt.Sprint(r.PortStrings(), r.ProtocolStrings(), r.AddressStrings())}, " "),
		}
	}
	g.health.Keep(list)
}

func standsForMany(r resource.Resource) bool {
	return r.Host.Kind != nethost.Name && r.Host.Kind != nethost.Address
}

// manyPorts reports whether a port of r on which nothing listens tells nothing about
// the others.
func manyPorts(r resource.Resource) bool {
	if len(r.Ports) != 1 {
		return true
	}
	first, last := r.Ports[0].Remote()
	return first != last
}

// CheckHealth tests the approved resources that stand for one host, gently, and returns
// when it is done.
func (g *Gateway) CheckHealth(ctx context.Context) { g.health.CheckAll(ctx) }

// check is the test of a resource's health. ok is false if it got no turn.
func (g *Gateway) check(ctx context.Context, name string, port uint16) (o health.Outcome, ok bool) {
	began := time.Now()
	step, err := g.prober().Check(ctx, name, port)
	took := time.Since(began)
	if err == nil && !step.OK {
		return health.Outcome{Detail: step.Detail}, true // there is nothing to test
	}
	if err == nil {
		return health.Outcome{State: health.Works, Step: step.Name, Detail: step.Detail, Took: took}, true
	}
	r, _ := g.named(name)
	o = outcome(r, err)
	o.Hint, o.Took = step.Hint, took
	return o, o.State != health.Unknown
}

// outcome returns what a failed connection tells of a resource. Its state is Unknown if
// that is nothing.
func outcome(r resource.Resource, err error) health.Outcome {
	e := dial.Error(err)
	o := health.Outcome{State: health.Fails, Step: "connect", Detail: show.Text(cmp.Or(e.Reason, e.Code.String()))}
	switch e.Code {
	case tunnel.NoSuchName, tunnel.ResolveFailed:
		o.Step, o.Silent = "resolve", true
	case tunnel.TimedOut, tunnel.HostUnreachable, tunnel.NetUnreachable:
		o.Silent = true
	case tunnel.Denied:
		o.Step = "judge"
	case tunnel.Overloaded:
		return health.Outcome{}
	case tunnel.Refused, tunnel.Reset:
		if manyPorts(r) {
			o.State, o.Detail = health.Works, "the host answers"
		}
	}
	return o
}

// noteFailed tells the health of a connection that failed.
func (g *Gateway) noteFailed(r resource.Resource, err error) {
	if o := outcome(r, err); o.State != health.Unknown {
		g.health.Note(r.Name, o)
	}
}

// noteConnected tells the health of a connection. One that failed never gets here.
func (g *Gateway) noteConnected(f *flow, took time.Duration) {
	if f.network == resource.TCP {
		g.health.Note(f.match.Resource.Name, health.Outcome{State: health.Works, Step: "connect", Port: f.st.Request().Target.Port, Took: took})
	}
}
