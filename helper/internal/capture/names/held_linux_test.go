package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/peer"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
)

// startHeld starts a source that holds its ports. It takes CAP_NET_RAW.
func startHeld(t *testing.T) *fixture {
	t.Helper()
	checker := owner.New(os.Geteuid())
	t.Cleanup(func() { _ = checker.Close() })
	f := start(t, Options{Check: checker.Check, CheckUDP: checker.CheckUDP, CheckConnecting: checker.CheckConnecting})
	f.apply([]peer.Published{tcp("db.test", 5450)})
	return f
}

// dialing is a connection that a program asks for.
type dialing struct {
	c   net.Conn
	err error
}

func (f *fixture) dialing(name string, port int) <-chan dialing {
	f.t.Helper()
	at := net.JoinHostPort(f.lookup(name), strconv.Itoa(port))
	result := make(chan dialing, 1)
	go func() {
		c, err := net.DialTimeout("tcp", at, 10*time.Second)
		result <- dialing{c, err}
	}()
	return result
}

// TestHeldNames has a program's connection wait for the gateway's answer.
func TestHeldNames(t *testing.T) {
	f := startHeld(t)
	asked := f.dialing("db.test", 5450)
	st := f.accept()
	if got := st.Request().Target.String(); got != "tcp db.test:5450" {
		t.Errorf("asked for %s", got)
	}
	select {
	case d := <-asked:
		t.Fatalf("the program is answered before the gateway has connected: %v", d.err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := st.Reply(tunnel.Connected, ""); err != nil {
		t.Fatal(err)
	}
	d := <-asked
	if d.err != nil {
		t.Fatal(d.err)
	}
	defer d.c.Close()
	_ = d.c.SetDeadline(time.Now().Add(5 * time.Second))
	send(t, d.c.(*net.TCPConn), "to the target")
	expect(t, st, "to the target")
	if _, err := st.Write([]byte("to the program")); err != nil {
		t.Fatal(err)
	}
	expect(t, d.c, "to the program")
}

func TestHeldNamesFail(t *testing.T) {
	f := startHeld(t)
	for code, want := range map[tunnel.Code]error{
		tunnel.Refused: syscall.ECONNREFUSED, tunnel.HostUnreachable: syscall.EHOSTUNREACH, tunnel.NetUnreachable: syscall.ENETUNREACH,
		tunnel.Denied: syscall.EHOSTUNREACH, tunnel.NoSuchName: syscall.EHOSTUNREACH,
	} {
		asked := f.dialing("db.test", 5450)
		_ = f.accept().Reply(code, "")
		if d := <-asked; !errors.Is(d.err, want) {
			t.Errorf("%v: %v, want %v", code, d.err, want)
		}
	}
}

// TestHeldNamesOutliveTheChild kills the privileged child, twice: the next one goes
// on, and without one programs are accepted at 127.0.0.1 as on other systems.
func TestHeldNamesOutliveTheChild(t *testing.T) {
	checker := owner.New(os.Geteuid())
	t.Cleanup(func() { _ = checker.Close() })
	children := make(chan Hosts, 4)
	var f *fixture
	f = start(t, Options{Retry: 10 * time.Millisecond, Check: checker.Check, CheckUDP: checker.CheckUDP, CheckConnecting: checker.CheckConnecting,
		StartHosts: func(ctx context.Context) (Hosts, error) {
			h, err := f.startHosts(ctx)
			children <- h
			return h, err
		}})
	f.apply([]peer.Published{tcp("db.test", 5450)})
	for range 2 {
		asked := f.dialing("db.test", 5450)
		_ = f.accept().Reply(tunnel.Refused, "")
		if d := <-asked; !errors.Is(d.err, syscall.ECONNREFUSED) {
			t.Errorf("%v", d.err)
		}
		_ = (<-children).Close()
		<-f.changed
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			f.source.mu.Lock()
			settled := f.source.hosts.editor == nil || !f.source.hosts.died()
			f.source.mu.Unlock()
			if settled {
				break
			}
			if time.Now().After(end) {
				t.Fatal("nothing takes the place of the child that ended")
			}
		}
	}
	r := f.report("db.test")
	if r.Address != "127.0.0.1" {
		t.Fatalf("%+v", r)
	}
	dial(t, r.Served[0])
	f.accept()
}

// TestEarlyAnswersAreNoted has a privileged child that may not watch loopback.
func TestEarlyAnswersAreNoted(t *testing.T) {
	checker := owner.New(os.Geteuid())
	t.Cleanup(func() { _ = checker.Close() })
	f := start(t, Options{Check: checker.Check, CheckUDP: checker.CheckUDP, CheckConnecting: checker.CheckConnecting,
		StartHosts: func(context.Context) (Hosts, error) { return &fakeHosts{done: make(chan struct{})}, nil }})
	f.apply([]peer.Published{tcp("db.test", 5450)})
	if notes := f.source.Report().Notes; len(notes) != 1 || notes[0] != earlyNote {
		t.Errorf("%q", notes)
	}
	f.source.Lead(ranges)
	f.apply(nil)
	if notes := f.source.Report().Notes; len(notes) != 0 {
		t.Errorf("by the device: %q", notes)
	}
	held := startHeld(t)
	if notes := held.source.Report().Notes; len(notes) != 0 {
		t.Errorf("held: %q", notes)
	}
}

// TestHeldNamesRefuseStrangers has the check refuse the program's user.
func TestHeldNamesRefuseStrangers(t *testing.T) {
	checker := owner.New(os.Geteuid())
	defer func() { _ = checker.Close() }()
	f := start(t, Options{Check: checker.Check, CheckUDP: checker.CheckUDP, CheckConnecting: strangers})
	f.apply([]peer.Published{tcp("db.test", 5450)})
	if d := <-f.dialing("db.test", 5450); !errors.Is(d.err, syscall.ECONNREFUSED) {
		t.Errorf("%v", d.err)
	}
}

func strangers(netip.AddrPort, netip.AddrPort, int) (owner.Owner, error) {
	return owner.Owner{}, owner.ErrStranger
}
