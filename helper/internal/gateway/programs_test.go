package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// openBy is open for a program on the remote.
func (r *rig) openBy(program string, pid uint32, host string, port uint16) (*tunnel.Stream, error) {
	r.t.Helper()
	st, err := r.capture.Open(r.t.Context(), tunnel.Request{Target: tunnel.Target{Network: tunnel.TCP, Host: host, Port: port},
		Origin: tunnel.Origin{Source: "names", User: "dev", PID: pid, Program: program}}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { st.Close() })
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	_, err = st.Answer(ctx)
	return st, err
}

func limited(port uint16, programs string) string {
	return strings.Replace(loopbackAs("svc.test", port), "{", fmt.Sprintf(`{"programs": [%s],`, programs), 1)
}

func TestProgramsAreJudged(t *testing.T) {
	port := serve(t, echo)
	r := newRig(t, Options{}, `[`+limited(port, `"psql", "node"`)+`, {"host": "*.test", "ports": ["1-65535"]}]`)
	if p := r.published(); !p.Resources[0].ByProgram || p.Resources[1].ByProgram {
		t.Errorf("%+v", p)
	}
	psql, err := r.openBy("psql", 7, "svc.test", port)
	if err != nil {
		t.Fatal(err)
	}
	node, err := r.openBy("node", 8, "svc.test", port)
	if err != nil {
		t.Fatal(err)
	}
	// Another resource that has the name too does not take what this one refuses.
	for program, why := range map[string]string{"curl": `"curl" asks`, "": "not known", "PSQL": `"PSQL" asks`} {
		_, err := r.openBy(program, 9, "svc.test", port)
		if err == nil || !strings.Contains(err.Error(), `"svc.test" is limited to node, psql`) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", program, err)
		}
	}
	if s := r.g.Status(); s.Resources[0].LastFail == nil || s.Resources[0].LastFail.Code != tunnel.Denied || s.Resources[0].Flows != 2 || s.Flows != 2 {
		t.Errorf("%+v", s)
	}
	// What is not admitted any more ends, the rest goes on.
	r.approve(`[` + limited(port, `"node"`) + `]`)
	r.wait("the end of the flow", func(s Status) bool { return s.Flows == 1 })
	if _, err := psql.Read(make([]byte, 1)); err == nil {
		t.Error("the flow of psql went on")
	}
	_ = node.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = node.Write([]byte("x"))
	if _, err := node.Read(make([]byte, 1)); err != nil {
		t.Errorf("the flow of node: %v", err)
	}
}

// Arguments are asked for while a flow lives, of a remote that can tell, and are
// in no log.
func TestArguments(t *testing.T) {
	port := serve(t, echo)
	r := newRig(t, Options{}, `[`+loopbackAs("svc.test", port)+`]`)
	_ = r.published()
	st, err := r.openBy("psql", 7, "svc.test", port)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan peer.Ask)
	go func() {
		defer close(asked)
		for {
			var m peer.ToCapture
			if err := r.control.Read(&m); err != nil {
				return
			}
			if m.Ask != nil {
				asked <- *m.Ask
			}
		}
	}()
	ask := func(resource string, pid uint32) (string, error) {
		return r.g.Arguments(t.Context(), resource, pid)
	}
	for _, refused := range []func() (string, error){
		func() (string, error) { return ask("svc.test", 7) }, // nobody has said that it may be asked
		func() (string, error) { return ask("svc.test", 8) },
		func() (string, error) { return ask("other", 7) },
		func() (string, error) { return ask("svc.test", 0) },
	} {
		if told, err := refused(); err == nil {
			t.Errorf("told %q", told)
		}
	}
	if err := peer.Write(r.write, peer.ToGateway{Report: &peer.Report{Proxy: "127.0.0.1:1", Names: []peer.NameReport{}, Asks: true}}); err != nil {
		t.Fatal(err)
	}
	r.wait("the report", func(s Status) bool { return s.Reported })
	told := make(chan string, 1)
	go func() {
		got, err := ask("svc.test", 7)
		if err != nil {
			t.Error(err)
		}
		told <- got
	}()
	a := <-asked
	if a.PID != 7 || a.Program != "psql" {
		t.Errorf("asked for %+v", a)
	}
	for _, m := range []peer.Told{{ID: a.ID + 1, Arguments: "of nobody"}, {ID: a.ID, Arguments: "psql S3CRET \x1b[2J\u202e" + strings.Repeat("é", peer.MaxArguments)}, {ID: a.ID, Arguments: "twice"}} {
		if err := peer.Write(r.write, peer.ToGateway{Told: &m}); err != nil {
			t.Fatal(err)
		}
	}
	got := <-told
	if !strings.HasPrefix(got, `psql S3CRET \u001b[2J\u202e`) || len(got) > 3*peer.MaxArguments {
		t.Errorf("%q", got)
	}
	if s := r.g.Status(); s.Proxy != "127.0.0.1:1" {
		t.Errorf("an answer was taken for a report: %+v", s)
	}
	// A remote that does not answer is not waited for, nor asked without bound.
	for range maxQuestionsAsked {
		go func() { _, _ = ask("svc.test", 7) }()
		<-asked
	}
	if told, err := ask("svc.test", 7); err == nil || !strings.Contains(err.Error(), "too many questions") {
		t.Errorf("%q, %v", told, err)
	}
	_ = st.CloseWrite()
	r.wait("the end of the flow", func(s Status) bool { return s.Flows == 0 })
	if told, err := ask("svc.test", 7); err == nil {
		t.Errorf("after the flow: %q", told)
	}
	if strings.Contains(r.log.String(), "S3CRET") {
		t.Errorf("in the log: %s", r.log)
	}
}
