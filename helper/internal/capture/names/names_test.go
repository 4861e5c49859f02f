//go:build linux

package names

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/held"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/offer"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
	"go.uber.org/goleak"
)

// TestMain runs the tests, or in a child the privileged subcommand.
func TestMain(m *testing.M) {
	if path := os.Getenv("NAMES_TEST_HOSTS"); path != "" {
		if err := hostnet.Serve(os.Stdin, os.Stdout, hostnet.Options{HostsPath: path}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// testUID keeps the addresses of one run of the tests from those of another.
var testUID = os.Getpid()

const original = "127.0.0.1 localhost\n"

// fixture is a Source joined to a gateway that the test answers for.
type fixture struct {
	t       *testing.T
	source  *Source
	gateway *tunnel.Session
	path    string // of the hosts file
	changed chan struct{}
}

func start(t *testing.T, o Options) *fixture {
	t.Helper()
	f := &fixture{t: t, path: filepath.Join(t.TempDir(), "hosts"), changed: make(chan struct{}, 1)}
	if err := os.WriteFile(f.path, []byte(original), 0o644); err != nil {
		t.Fatal(err)
	}
	var capture *tunnel.Session
	capture, f.gateway = tunneltest.Pair(t)
	if o.Gateway == nil {
		o.Gateway = flow.New(flow.Options{Tunnel: capture})
	}
	if o.Check == nil {
		checker := owner.New(os.Geteuid())
		t.Cleanup(func() { _ = checker.Close() })
		o.Check, o.CheckUDP = checker.Check, checker.CheckUDP
	}
	if o.StartHosts == nil {
		o.StartHosts = f.startHosts
	}
	if o.UID == 0 {
		o.UID = testUID
	}
	o.Changed = func() {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
	f.source = New(o)
	t.Cleanup(func() {
		if err := f.source.Close(); err != nil {
			t.Error(err)
		}
		if got := f.hosts(); got != original {
			t.Errorf("left in the hosts file: %q", got)
		}
	})
	return f
}

// apply makes published the whole of what is served.
func (f *fixture) apply(published []peer.Published) {
	f.t.Helper()
	set, err := offer.Parse(published)
	if err != nil {
		f.t.Fatal(err)
	}
	f.source.Apply(set)
}

func (f *fixture) startHosts(ctx context.Context) (Hosts, error) {
	return hostnet.Start(ctx, hostnet.StartOptions{Self: "/proc/self/exe", HostsPath: f.path,
		Env: []string{"NAMES_TEST_HOSTS=" + f.path, "GORACE=atexit_sleep_ms=0"}})
}

func (f *fixture) hosts() string {
	f.t.Helper()
	b, err := os.ReadFile(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

// lookup finds name in the hosts file, as a program would.
func (f *fixture) lookup(name string) string {
	f.t.Helper()
	for line := range strings.Lines(f.hosts()) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == name {
			return fields[0]
		}
	}
	f.t.Fatalf("%s is not in the hosts file: %q", name, f.hosts())
	return ""
}

func (f *fixture) dial(name string, port int) *net.TCPConn {
	f.t.Helper()
	return dial(f.t, fmt.Sprintf("%s:%d", f.lookup(name), port))
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	return c.(*net.TCPConn)
}

func (f *fixture) accept() *tunnel.Stream {
	f.t.Helper()
	late := time.AfterFunc(5*time.Second, func() { _ = f.gateway.Close() })
	defer late.Stop()
	st, err := f.gateway.Accept()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = st.Close() })
	_ = st.SetDeadline(time.Now().Add(5 * time.Second))
	return st
}

func (f *fixture) report(name string) peer.NameReport {
	f.t.Helper()
	for _, r := range f.source.Report().Names {
		if r.Name == name {
			return r
		}
	}
	f.t.Fatalf("no report on %s", name)
	return peer.NameReport{}
}

func tcp(host string, ports ...uint16) peer.Published {
	p := peer.Published{Name: host, Host: host, Protocols: []string{"tcp"}}
	for _, port := range ports {
		p.Ports = append(p.Ports, peer.PublishedPort{First: port, Last: port})
	}
	return p
}

func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q %v, want %q", got, err, want)
	}
}

func expectEOF(t *testing.T, r io.Reader) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d %v, want EOF", n, err)
	}
}

func send(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func TestApplyDiff(t *testing.T) {
	f := start(t, Options{})
	f.apply([]peer.Published{tcp("db.test", 5432), tcp("git.test", 22, 443)})
	db, git := f.lookup("db.test"), f.lookup("git.test")
	if db == git {
		t.Fatal("two names share an address")
	}
	if n := strings.Count(f.hosts(), "git.test"); n != 1 {
		t.Errorf("git.test is %d times in the hosts file", n)
	}
	c := f.dial("db.test", 5432)
	st := f.accept()
	_ = st.Reply(tunnel.Connected, "")
	gone := f.dial("git.test", 443)
	kept := f.accept()
	_ = kept.Reply(tunnel.Connected, "")
	before := f.source.listeners[endpoint{host: "db.test", port: 5432}]

	f.apply([]peer.Published{tcp("db.test", 5432, 5433), tcp("new.test", 80)})
	if f.source.listeners[endpoint{host: "db.test", port: 5432}] != before || f.lookup("db.test") != db {
		t.Error("what stayed the same was touched")
	}
	if strings.Contains(f.hosts(), "git.test") {
		t.Error("git.test is still in the hosts file")
	}
	if _, err := net.Dial("tcp", git+":443"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("git.test: %v", err)
	}
	send(t, c, "x")
	expect(t, st, "x")
	send(t, gone, "y")
	expect(t, kept, "y")
	if f.lookup("new.test") == git {
		t.Error("an address was given to another name")
	}
	f.apply([]peer.Published{tcp("git.test", 22)})
	if f.lookup("git.test") != git {
		t.Error("a name that came back has another address")
	}
	f.apply(nil)
	if got := f.hosts(); got != original {
		t.Errorf("%q", got)
	}
}

func TestCloseResets(t *testing.T) {
	f := start(t, Options{})
	f.apply([]peer.Published{tcp("db.test", 5432)})
	open, waiting := f.dial("db.test", 5432), f.dial("db.test", 5432)
	_ = f.accept().Reply(tunnel.Connected, "")
	f.accept()
	if err := errors.Join(f.source.Close(), f.source.Close()); err != nil {
		t.Error(err)
	}
	for _, c := range []net.Conn{open, waiting} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v, want a reset", err)
		}
	}
	f.apply([]peer.Published{tcp("db.test", 5432)})
	if got := f.hosts(); got != original {
		t.Errorf("%q", got)
	}
}

func TestConflict(t *testing.T) {
	f := start(t, Options{Retry: 10 * time.Millisecond})
	at := netip.AddrPortFrom(newAddresses(testUID).of("db.test"), 5439)
	taken, err := net.Listen("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f.apply([]peer.Published{tcp("db.test", 5439, 5440)})
	r := f.report("db.test")
	// The user of the tests is not the one whose addresses these are.
	want := fmt.Sprintf(`port 5439: taken by "names.test" (pid %d, user "root"); map another to it, as in "15439:5439"`, os.Getpid())
	if r.Trouble != want || len(r.Served) != 1 || r.Served[0] != "db.test:5440" {
		t.Errorf("%+v", r)
	}
	_ = taken.Close()
	for r.Trouble != "" {
		select {
		case <-f.changed:
			r = f.report("db.test")
		case <-time.After(5 * time.Second):
			t.Fatalf("not taken over: %+v", r)
		}
	}
	if len(r.Served) != 1 || r.Served[0] != "db.test:5439-5440" {
		t.Errorf("%+v", r)
	}
}

// The port of UDP has another owner than that of TCP, if any.
func TestConflictOfUDP(t *testing.T) {
	f := start(t, Options{})
	taken, err := net.ListenPacket("udp4", netip.AddrPortFrom(newAddresses(testUID).of("ntp.test"), 12300).String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f.apply([]peer.Published{udp("ntp.test", 12300)})
	want := fmt.Sprintf(`port 12300: taken by "names.test" (pid %d, user "root"); map another to it, as in "22300:12300"`, os.Getpid())
	if os.Geteuid() != 0 {
		want = "port 12300: "
	}
	if r := f.report("ntp.test"); !strings.HasPrefix(r.Trouble, want) {
		t.Errorf("%+v", r)
	}
}

// A second window takes over what the first one served.
func TestTakeover(t *testing.T) {
	first := start(t, Options{})
	second := start(t, Options{Retry: 10 * time.Millisecond})
	first.apply([]peer.Published{tcp("db.test", 5432)})
	second.source.o.UID = os.Geteuid() // whose program holds the port; the addresses stay
	second.apply([]peer.Published{tcp("db.test", 5432)})
	if r, want := second.report("db.test"), fmt.Sprintf("port 5432: served by another window (pid %d)", os.Getpid()); r.Trouble != want || len(r.Served) != 0 {
		t.Errorf("%+v", r)
	}
	if second.hosts() != original {
		t.Error("a name without a listener is in the hosts file")
	}
	if err := first.source.Close(); err != nil {
		t.Fatal(err)
	}
	for r := second.report("db.test"); r.Trouble != ""; r = second.report("db.test") {
		select {
		case <-second.changed:
		case <-time.After(5 * time.Second):
			t.Fatalf("not taken over: %+v", r)
		}
	}
	second.dial("db.test", 5432)
	second.accept()
}

func TestWithoutHostsFile(t *testing.T) {
	f := start(t, Options{StartHosts: func(context.Context) (Hosts, error) { return nil, errors.New("cannot edit /etc/hosts: no way") }})
	f.apply([]peer.Published{tcp("db.test", 5432)})
	r := f.report("db.test")
	want := netip.AddrPortFrom(localhost, localPort(testUID, endpoint{host: "db.test", port: 5432}, 0)).String()
	if r.Address != "127.0.0.1" || len(r.Served) != 1 || r.Served[0] != want {
		t.Errorf("%+v, want %s", r, want)
	}
	if notes := f.source.Report().Notes; len(notes) != 1 || !strings.HasPrefix(notes[0], "cannot edit /etc/hosts: no way") {
		t.Errorf("%q", notes)
	}
	dial(t, r.Served[0])
	if got := f.accept().Request().Target.String(); got != "tcp db.test:5432" {
		t.Error(got)
	}
}

// fakeHosts dies when told.
type fakeHosts struct {
	done chan struct{}
	once sync.Once
	set  error
}

func (h *fakeHosts) SetHosts(context.Context, []hostnet.Entry) error { return h.set }
func (h *fakeHosts) ListenTCP(context.Context, netip.AddrPort) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}
func (h *fakeHosts) ListenUDP(context.Context, netip.AddrPort) (net.PacketConn, error) {
	return nil, errors.ErrUnsupported
}
func (h *fakeHosts) Watch(context.Context) (*os.File, error)    { return nil, errors.ErrUnsupported }
func (h *fakeHosts) Refuse(context.Context, held.Refusal) error { return errors.ErrUnsupported }
func (h *fakeHosts) Done() <-chan struct{}                      { return h.done }
func (h *fakeHosts) Err() error                                 { return errors.New("killed") }
func (h *fakeHosts) Close() error                               { h.once.Do(func() { close(h.done) }); return nil }

// The editor of the hosts file is started again once; then names move to
// 127.0.0.1, with a word about it.
func TestHostsDie(t *testing.T) {
	started := make(chan *fakeHosts, 4)
	f := start(t, Options{Retry: 10 * time.Millisecond, StartHosts: func(context.Context) (Hosts, error) {
		h := &fakeHosts{done: make(chan struct{})}
		started <- h
		return h, nil
	}})
	f.apply([]peer.Published{tcp("db.test", 5432)})
	(<-started).Close()
	second := <-started
	if r := f.report("db.test"); r.Address == "127.0.0.1" {
		t.Errorf("%+v", r)
	}
	<-f.changed // by Apply
	second.Close()
	<-f.changed
	r := f.report("db.test")
	if notes := f.source.Report().Notes; r.Address != "127.0.0.1" || len(notes) != 1 || !strings.Contains(notes[0], "killed") {
		t.Errorf("%+v %q", r, notes)
	}
	dial(t, r.Served[0])
	f.accept()
	if len(started) != 0 {
		t.Error("started a third time")
	}
}

// An editor that refuses is given up, and no listener is left behind.
func TestHostsRefuse(t *testing.T) {
	f := start(t, Options{Retry: time.Hour, StartHosts: func(context.Context) (Hosts, error) {
		return &fakeHosts{done: make(chan struct{}), set: errors.New("refused")}, nil
	}})
	f.apply([]peer.Published{tcp("db.test", 5432)})
	if r := f.report("db.test"); r.Address != "127.0.0.1" || len(f.source.listeners) != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := net.Dial("tcp", netip.AddrPortFrom(f.source.addrs.of("db.test"), 5432).String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the old address: %v", err)
	}
}

// Where more ports are published than can have a listener, a wide range leaves
// the other names theirs.
func TestManyPorts(t *testing.T) {
	f := start(t, Options{})
	p := tcp("many.test")
	p.Ports = []peer.PublishedPort{{First: 3000, Last: 3000 + MaxListeners + 9}}
	more := tcp("late.test", 80)
	more.Name, more.Ports = "more", []peer.PublishedPort{{First: 80, Last: 82}}
	f.apply([]peer.Published{p, tcp("late.test", 80), more})
	r := f.report("many.test")
	if want := fmt.Sprintf("many.test:3000-%d", 3000+MaxListeners-4); len(r.Served) != 1 || r.Served[0] != want {
		t.Errorf("%q", r.Served)
	}
	if want := "the proxy alone serves 13 of its ports: at most 1024 ports have a listener"; r.Trouble != want {
		t.Errorf("%q", r.Trouble)
	}
	for name, want := range map[string]string{"late.test": "late.test:80", "more": "late.test:80-82"} {
		if r := f.report(name); len(r.Served) != 1 || r.Served[0] != want || r.Trouble != "" {
			t.Errorf("%+v", r)
		}
	}
	f.dial("many.test", 3000+MaxListeners-4)
	f.accept()
	f.dial("late.test", 82)
	f.accept()
}

func TestNotServedHere(t *testing.T) {
	f := start(t, Options{})
	f.apply([]peer.Published{tcp("*.corp.test", 80), tcp("10.0.0.1", 80), tcp("10.0.0.0/8", 80)})
	if got := f.hosts(); got != original {
		t.Errorf("%q", got)
	}
	for _, r := range f.source.Report().Names {
		if r.Trouble == "" || len(r.Served) != 0 {
			t.Errorf("%+v", r)
		}
		if strings.HasPrefix(r.Name, "10.") && !strings.Contains(r.Trouble, `"causeway run"`) {
			t.Errorf("%s: the hint leaves out run: %s", r.Name, r.Trouble)
		}
	}
}
