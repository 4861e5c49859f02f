package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
)

// office is an exit that resolves every name to one address.
type office struct {
	addr   netip.Addr
	dialed []string
}

func (o *office) LookupNetIP(context.Context, string) ([]netip.Addr, error) {
	return []netip.Addr{o.addr}, nil
}

func (o *office) Query(context.Context, records.Question) (*dns.Msg, error) {
	return nil, errors.New("no records")
}

func (o *office) Dial(_ context.Context, _, address string) (net.Conn, error) {
	o.dialed = append(o.dialed, address)
	c, _ := net.Pipe()
	return c, nil
}

func TestExitIsJudged(t *testing.T) {
	t.Parallel()
	list, problems := resource.Parse("", []byte(`[{"host": "db.test", "ports": 5432, "exit": "office"}]`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	m, err := resource.NewSet(list).Match(resource.TCP, "db.test", 5432)
	if err != nil {
		t.Fatal(err)
	}
	fail := ownWay{dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("the machine's own way was used")
		return nil, errors.New("wrong way")
	}}
	for addr, wanted := range map[string]bool{"10.1.2.3": true, "169.254.169.254": false, "127.0.0.1": false} {
		o := &office{addr: netip.MustParseAddr(addr)}
		d := &Dialer{system: fail, timeout: time.Second, interfaces: func() ([]netip.Prefix, error) { return nil, nil }}
		d.exits.Store(&map[string]Exit{"office": o})
		to, err := d.Open(t.Context(), resource.TCP, m, nil)
		if wanted != (err == nil) || wanted != (len(o.dialed) == 1) {
			t.Errorf("%s: %v, dialled %v", addr, err, o.dialed)
		}
		if err == nil {
			to.Close()
		}
	}
	d := &Dialer{system: fail, timeout: time.Second}
	_, err = d.Open(t.Context(), resource.TCP, m, nil)
	if e, ok := errors.AsType[*tunnel.Error](err); !ok || e.Code != tunnel.Denied {
		t.Errorf("without the exit: %v", err)
	}
}
