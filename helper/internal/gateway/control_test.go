package gateway

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/gateway/show"
	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/google/go-cmp/cmp"
)

func TestPublishAndReport(t *testing.T) {
	r := newRig(t, Options{StrictProxy: true}, `[{"name": "db", "host": "db.test", "ports": ["15432:5432", "80-90"]}]`)
	want := peer.Publish{StrictProxy: true, Resources: []peer.Published{{
		Name: "db", Host: "db.test", Ports: []peer.PublishedPort{{First: 80, Last: 90}, {First: 15432, Last: 15432}}, Protocols: []string{"tcp"},
	}}}
	got := r.published()
	if d := cmp.Diff(len(want.Resources[0].Ports), len(got.Resources[0].Ports)); d != "" || got.Resources[0].Name != "db" || !got.StrictProxy {
		t.Error(got)
	}
	r.approve(`[]`)
	if got := r.published(); len(got.Resources) != 0 {
		t.Errorf("after the list was emptied: %+v", got)
	}
	r.approve(`[{"name": "db", "host": "db.test", "ports": [1]}]`)
	hostile := peer.Report{
		Proxy: "127.0.0.1:1080\x1b[2J", Notes: make([]string, 1000),
		Names: []peer.NameReport{{Name: "db", Address: "127.1.2.3", Served: []string{"db.test:1\u202e"}, Trouble: strings.Repeat("é", 5000)}, {Name: "other"}},
	}
	if err := peer.Write(r.write, hostile); err != nil {
		t.Fatal(err)
	}
	r.wait("the report", func(s Status) bool { return s.Proxy != "" })
	s := r.g.Status()
	db := s.Resources[0]
	if strings.ContainsAny(s.Proxy+db.Served[0], "\x1b\u202e") || len(s.Notes) != maxNotes || len(db.Trouble) > 2*show.MaxText || db.Address != "127.1.2.3" {
		t.Errorf("%+v", s)
	}
}

func TestGarbageOnTheControlStreamEndsTheSession(t *testing.T) {
	r := newRig(t, Options{}, `[]`)
	_, _ = r.write.Write([]byte("{]\n")) // fails if the session has ended before it returns
	err := <-r.served
	r.served <- err
	if err == nil || !strings.Contains(err.Error(), "report of the remote") {
		t.Errorf("Serve: %v", err)
	}
}

func TestTooMuchToPublish(t *testing.T) {
	var list []resource.Approved
	for i := range 100 {
		one := resource.Resource{Name: strconv.Itoa(i), Host: nethost.Pattern{Name: strconv.Itoa(i) + ".test"}, Protocols: []resource.Network{resource.TCP}}
		for p := range uint16(1024) {
			one.Ports = append(one.Ports, resource.Ports{First: 2*p + 1, Last: 2*p + 1})
		}
		list = append(list, resource.Approved{Resource: one, From: resource.FromUser})
	}
	g := New(Options{})
	g.SetApproved(list)
	var b bytes.Buffer
	if err := peer.Write(&b, g.published()); err != nil {
		t.Error(err)
	}
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"proxy":"127.0.0.1:1","names":[{"name":"x","served":["proxy"],"trouble":"\u001b"}],"notes":["n"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in peer.Report
		if peer.NewReader(bytes.NewReader(append(b, '\n'))).Read(&in) != nil {
			return
		}
		out := cleanReport(in)
		all := append([]string{out.proxy}, out.notes...)
		for _, n := range out.names {
			all = append(append(all, n.Address, n.Trouble), n.Served...)
		}
		for _, s := range all {
			if strings.TrimSuffix(s, "…") != tunnel.Clean(strings.TrimSuffix(s, "…")) {
				t.Fatalf("%q is not clean", s)
			}
		}
	})
}
