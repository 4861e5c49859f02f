package peer

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMessagesRoundTrip(t *testing.T) {
	want := []Publish{
		{Resources: []Published{{Name: "db", Host: "db.corp.test", Ports: []PublishedPort{{5432, 5432}}, Protocols: []string{"tcp"}}}},
		{StrictProxy: true},
	}
	var b bytes.Buffer
	for _, m := range want {
		if err := Write(&b, m); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(&b)
	for _, m := range want {
		var got Publish
		if err := r.Read(&got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, got); d != "" {
			t.Error(d)
		}
	}
	if err := r.Read(new(Publish)); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestLongMessageIsRefused(t *testing.T) {
	r := NewReader(strings.NewReader(`{"notes":["` + strings.Repeat("x", MaxMessage) + `"]}`))
	if err := r.Read(new(Report)); err == nil || !strings.Contains(err.Error(), "exceeds") {
		t.Fatalf("read: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"told":{"id":1,"arguments":"x"}}` + "\n" + `{"ask":{"id":1,"pid":7,"program":"x"}}` + "\n"))
	f.Add([]byte(`{"proxy":"127.0.0.1:1","names":[{"name":"x","served":["proxy"]}]}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		for range 100 {
			if r.Read(new(ToGateway)) != nil || r.Read(new(ToCapture)) != nil {
				return
			}
		}
	})
}
