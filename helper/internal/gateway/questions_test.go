package gateway

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/journal"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/miekg/dns"
)

// A watcher sees who has a flow, where it leads, and each step.
func TestWatchFlow(t *testing.T) {
	port := serve(t, echo)
	r := newRig(t, Options{}, `[`+loopbackAs("svc.test", port)+`]`)
	w := r.g.Watch()
	st, err := r.capture.Open(t.Context(), tunnel.Request{
		Target: tunnel.Target{Network: tunnel.TCP, Host: "svc.test", Port: port},
		Origin: tunnel.Origin{Source: "tun", User: "dev", PID: 7, Program: "psql"},
	}, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	_ = st.CloseWrite()
	if _, err := st.Answer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(st); err != nil {
		t.Fatal(err)
	}
	r.wait("the end of the flow", func(s Status) bool { return s.Flows == 0 })
	d := w.Next()
	if len(d.Flows) != 1 {
		t.Fatalf("%+v", d)
	}
	f := d.Flows[0]
	if f.Program != "psql" || f.PID != 7 || f.User != "dev" || f.Way != "tun" || f.Resource != "svc.test" || f.Host != "svc.test" || f.Port != port ||
		f.Address != "127.0.0.1" || f.State != journal.StateClosed || f.Reason != "" || f.BytesUp != 5 || f.BytesDown != 5 {
		t.Errorf("%+v", f)
	}
	if !(0 < f.LookedUp && f.LookedUp <= f.Judged && f.Judged <= f.Dialled && f.Dialled <= f.FirstByte && f.FirstByte <= f.Ended) {
		t.Errorf("the steps are not in order: %+v", f)
	}
}

// A watcher sees why a flow was refused, whether a resource matched or not.
func TestWatchRefusals(t *testing.T) {
	port := closedPort(t)
	r := newRig(t, Options{}, `[`+loopbackAs("svc.test", port)+`]`)
	w := r.g.Watch()
	r.code(tunnel.TCP, "svc.test", port)
	r.code(tunnel.TCP, "other.test", 80)
	r.code(tunnel.TCP, "other.test", 80)
	r.wait("the end of the flows", func(s Status) bool { return s.Flows == 0 })
	d := w.Next()
	if len(d.Refusals) != 2 || len(d.Flows) != 1 {
		t.Fatalf("%+v", d)
	}
	if got := d.Refusals[0]; got.Resource != "svc.test" || got.Code != "refused" || got.Count != 1 {
		t.Errorf("%+v", got)
	}
	if got := d.Refusals[1]; got.Resource != "" || got.Code != "denied" || got.Host != "other.test" || got.Count != 2 || !strings.Contains(got.Reason, "other.test") {
		t.Errorf("%+v", got)
	}
	if f := d.Flows[0]; f.State != journal.StateFailed || f.Code != "refused" || f.Dialled != 0 || f.Judged == 0 || f.Ended == 0 {
		t.Errorf("%+v", f)
	}
}

// A watcher sees questions with their answers, and where those came from.
func TestWatchQuestions(t *testing.T) {
	r := newRig(t, Options{Dial: dial.Options{Records: &fakeRecords{records: testRecords}}}, dnsResources)
	w := r.g.Watch()
	for _, q := range []struct {
		name string
		kind uint16
	}{{"web.corp.test", dns.TypeA}, {"web.corp.test", dns.TypeA}, {"none.corp.test", dns.TypeA}, {"web.corp.test", dns.TypeSRV}, {"else.test", dns.TypeA}} {
		r.question(q.name, q.kind)
	}
	var got []string
	for _, q := range w.Next().Questions {
		got = append(got, strings.Join([]string{q.Name, q.Type, q.Answer, q.From, q.Resource}, "|"))
	}
	want := []string{
		"web.corp.test|A|10.0.0.1||domain", "web.corp.test|A|10.0.0.1|cache|domain", "none.corp.test|A|NXDOMAIN||domain",
		"web.corp.test|SRV|no such record||domain", "else.test|A|denied: no approved resource names else.test||",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A flow that its resource loses says so.
func TestWatchLapse(t *testing.T) {
	port := serve(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	r := newRig(t, Options{}, `[`+loopbackAs("svc.test", port)+`]`)
	if code, _ := r.code(tunnel.TCP, "svc.test", port); code != tunnel.Connected {
		t.Fatal(code)
	}
	r.approve(`[]`)
	r.wait("the end of the flow", func(s Status) bool { return s.Flows == 0 })
	if d := r.g.Watch().Next(); len(d.Flows) != 1 || !strings.Contains(d.Flows[0].Reason, errLapsed.Reason) {
		t.Errorf("%+v", d.Flows)
	}
}
