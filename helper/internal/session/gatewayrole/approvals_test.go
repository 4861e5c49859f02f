package gatewayrole

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/rpc"
	"github.com/rs/zerolog"
)

// A session that runs notices that another process has revoked an approval.
func TestSessionNoticesRevocation(t *testing.T) {
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, t.TempDir())
	}
	h := driver(t, zerolog.Nop())
	opened, err := h.OpenSession(t.Context(), rpc.GatewayOpenParams{
		Authority: "a", Workspace: "w", Resources: json.RawMessage(`[{"name": "db", "host": "db.test", "ports": [5432]}]`),
	})
	if err != nil || len(opened.Approvals) != 1 {
		t.Fatalf("%+v, %v", opened, err)
	}
	defer func() { _ = h.CloseSession(t.Context()) }()
	answers := rpc.ApprovalAnswers{Answers: []rpc.ApprovalAnswer{{ID: opened.Approvals[0].ID, Decision: rpc.DecisionAlways}}}
	if _, err := h.AnswerApprovals(t.Context(), answers); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		s, err := h.Status(t.Context())
		if err != nil || len(s.Resources) != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		return s.Resources[0].State
	}
	if s := state(); s == rpc.ResourcePending {
		t.Fatal("approved, and pending")
	}
	time.Sleep(time.Second) // the watch has seen the file with the approval
	path, err := consent.Path()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := consent.Revoke(path, func(consent.Entry) bool { return true }); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); state() != rpc.ResourcePending; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the revoked resource is still served")
		}
	}
}

// frozen is a conversation with a driver that does not read, such as a frozen tab.
type frozen struct {
	*conversation
	t      *testing.T
	far    net.Conn
	reader *bufio.Reader
}

func newFrozen(t *testing.T) *frozen {
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, t.TempDir())
	}
	h := driver(t, zerolog.Nop())
	far, near := net.Pipe() // has no buffer
	conn := rpc.ServeGateway(rpc.NewStdio(near, near), rpc.Identity{}, h)
	ran := make(chan error, 1)
	go func() { ran <- h.Run(t.Context(), conn, 0) }()
	t.Cleanup(func() {
		_ = far.Close()
		<-ran
		h.role.EndAll(errors.New("the test is over"))
	})
	return &frozen{h, t, far, bufio.NewReader(far)}
}

// within calls done until it returns true.
func (f *frozen) within(what string, done func() bool) {
	f.t.Helper()
	var late atomic.Bool
	timer := time.AfterFunc(5*time.Second, func() {
		late.Store(true)
		_ = f.far.Close() // ends what waits for the driver
	})
	defer timer.Stop()
	for !done() && !late.Load() {
		time.Sleep(time.Millisecond)
	}
	if late.Load() {
		f.t.Fatalf("%s: not within 5 s", what)
	}
}

func (f *frozen) approve(id string) {
	f.t.Helper()
	f.within("approve", func() bool {
		_, err := f.AnswerApprovals(f.t.Context(), rpc.ApprovalAnswers{Answers: []rpc.ApprovalAnswer{{ID: id, Decision: rpc.DecisionAlways}}})
		return err == nil
	})
}

// hears reads messages until one tells of that many pending approvals.
func (f *frozen) hears(pending int) {
	f.t.Helper()
	f.within("tell the driver", func() bool {
		header, err := textproto.NewReader(f.reader).ReadMIMEHeader()
		if err != nil {
			return false
		}
		size, _ := strconv.Atoi(header.Get("Content-Length"))
		body := make([]byte, size)
		if _, err := io.ReadFull(f.reader, body); err != nil {
			return false
		}
		var m struct {
			Method string
			Params rpc.ResourcesResult
		}
		return json.Unmarshal(body, &m) == nil && m.Method == rpc.NotifyApprovals && len(m.Params.Approvals) == pending
	})
}

// A driver that does not read delays neither an answer nor a revocation.
func TestRevocationWithDriverThatDoesNotRead(t *testing.T) {
	f := newFrozen(t)
	opened, err := f.OpenSession(t.Context(), rpc.GatewayOpenParams{Authority: "a", Workspace: "w",
		Resources: json.RawMessage(`[{"name": "x", "host": "x.test", "ports": [1]}, {"name": "y", "host": "y.test", "ports": [1]}]`)})
	if err != nil || len(opened.Approvals) != 2 {
		t.Fatalf("%+v, %v", opened, err)
	}
	for _, a := range opened.Approvals {
		f.approve(a.ID)
	}
	path, err := consent.Path()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "y"} {
		if _, err := consent.Revoke(path, func(e consent.Entry) bool { return e.Resource.Name == name }); err != nil {
			t.Fatal(err)
		}
		f.within("revoke "+name, func() bool {
			s, err := f.Status(t.Context())
			return err == nil && slices.ContainsFunc(s.Resources, func(r rpc.ResourceStatus) bool {
				return r.Name == name && r.State == rpc.ResourcePending
			})
		})
	}
	f.hears(2)
}

// A driver that is being told of a review while another one takes effect hears of the
// newer one too.
func TestDriverHearsOfTheNewestReview(t *testing.T) {
	f := newFrozen(t)
	const x, y, z = `{"name": "x", "host": "x.test", "ports": [1]}`, `{"name": "y", "host": "y.test", "ports": [1]}`, `{"name": "z", "host": "z.test", "ports": [1]}`
	opened, err := f.OpenSession(t.Context(), rpc.GatewayOpenParams{Authority: "a", Workspace: "w", Resources: json.RawMessage(`[` + x + `]`)})
	if err != nil || len(opened.Approvals) != 1 {
		t.Fatalf("%+v, %v", opened, err)
	}
	f.approve(opened.Approvals[0].ID)
	s, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	f.within("begin to tell the driver", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.telling
	})
	if _, err := f.SetResources(t.Context(), rpc.ResourcesParams{Resources: json.RawMessage(`[` + x + `,` + y + `,` + z + `]`)}); err != nil {
		t.Fatal(err)
	}
	f.hears(2)
}
