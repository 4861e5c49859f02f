package kernelnet

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tables returns one for each way to look sockets up.
func tables(t *testing.T) map[string]*Table {
	all := map[string]*Table{"diag": {}, "proc": {ProcOnly: true}}
	for _, table := range all {
		t.Cleanup(func() { _ = table.Close() })
	}
	return all
}

// connect returns both ends of a TCP connection.
func connect(t *testing.T, network, from, at string) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	if client, err = d.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

func addrOf(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		return Unmap(a.AddrPort())
	case *net.UDPAddr:
		return Unmap(a.AddrPort())
	}
	return netip.AddrPort{}
}

func TestTCP(t *testing.T) {
	client, server := connect(t, "tcp4", "127.0.0.1", "127.0.0.1:0")
	client6, server6 := connect(t, "tcp6", "::1", "[::1]:0")
	listening, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	nowhere := netip.MustParseAddrPort("127.0.0.1:9")
	for name, table := range tables(t) {
		for _, c := range []net.Conn{client, client6} {
			s, err := table.TCP(addrOf(c.LocalAddr()), addrOf(c.RemoteAddr()), LoopbackIndex, false)
			if err != nil || s.UID != uint32(os.Geteuid()) || s.Inode == 0 || s.State != Established {
				t.Errorf("%s, %s: %+v %v", name, c.LocalAddr(), s, err)
			}
		}
		for _, c := range []net.Conn{server, server6} {
			if s, err := table.Peer(c); err != nil || s.Local != addrOf(c.RemoteAddr()) {
				t.Errorf("%s, peer of %s: %+v %v", name, c.LocalAddr(), s, err)
			}
		}
		// The kernel finds a listener on the port for any remote end.
		for _, local := range []netip.AddrPort{addrOf(client.LocalAddr()), addrOf(listening.Addr()), nowhere} {
			if s, err := table.TCP(local, nowhere, LoopbackIndex, true); !errors.Is(err, ErrGone) {
				t.Errorf("%s, connected to nowhere: %+v %v", name, s, err)
			}
		}
		if table.FellBack() != table.ProcOnly {
			t.Errorf("%s: fell back: %v", name, table.FellBack())
		}
	}
	if uid, err := PeerUID(server); err != nil || uid != os.Geteuid() {
		t.Errorf("%d %v", uid, err)
	}
	_ = client.Close()
	_, _ = io.ReadAll(server)
	if uid, err := PeerUID(server); !errors.Is(err, ErrGone) {
		t.Errorf("of an end that is closed: %d %v", uid, err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if uid, err := PeerUID(a); err == nil {
		t.Errorf("of a pipe: %d", uid)
	}
}

// The exact look-up finds the socket that takes the answer, however it is bound.
func TestUDP(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:9")
	for _, c := range []struct {
		name, network, bind string
		want                error
	}{
		{"at all addresses", "udp4", "0.0.0.0:0", nil},
		{"at all of both families", "udp", "[::]:0", nil},
		{"at the address", "udp4", "127.0.0.1:0", nil},
		{"elsewhere", "udp4", "127.0.0.2:0", ErrGone},
	} {
		pc, err := net.ListenPacket(c.network, c.bind)
		if err != nil {
			t.Fatal(err)
		}
		own := netip.AddrPortFrom(at.Addr(), addrOf(pc.LocalAddr()).Port())
		all := tables(t)
		s, err := all["diag"].UDP(own, at)
		if !errors.Is(err, c.want) || err == nil && (s.UID != uint32(os.Geteuid()) || s.Inode == 0 || s.Local.Port() != own.Port()) {
			t.Errorf("%s: %+v %v", c.name, s, err)
		}
		if _, err := all["proc"].UDP(own, at); !errors.Is(err, ErrGone) {
			t.Errorf("%s, from /proc: %v", c.name, err)
		}
		for name, table := range all {
			if list, err := table.UDPPort(own.Port()); err != nil || len(list) != 1 || c.want == nil && name == "diag" && list[0].Inode != s.Inode {
				t.Errorf("%s, %s: %+v %v", c.name, name, list, err)
			}
		}
		_ = pc.Close()
		if _, err := all["diag"].UDP(own, at); !errors.Is(err, ErrGone) {
			t.Errorf("%s, closed: %v", c.name, err)
		}
	}
	// One that is connected takes what comes from its peer alone.
	c, err := net.Dial("udp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	table := tables(t)["diag"]
	if s, err := table.UDP(addrOf(c.LocalAddr()), at); err != nil || s.Remote != at {
		t.Errorf("connected: %+v %v", s, err)
	}
	if s, err := table.UDP(addrOf(c.LocalAddr()), netip.MustParseAddrPort("127.0.0.1:10")); !errors.Is(err, ErrGone) {
		t.Errorf("connected, from elsewhere: %+v %v", s, err)
	}
}

// A look-up does not wait for the answer to another one.
func TestLookUpsAreApart(t *testing.T) {
	_, server := connect(t, "tcp4", "127.0.0.1", "127.0.0.1:0")
	table := tables(t)["diag"]
	asked, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(release)
	wg.Go(func() {
		m := question{family: unix.AF_INET, protocol: unix.IPPROTO_TCP, states: anyState}.message(byFamily, 0x300)
		_ = table.diag.ask(m, func([]byte) error {
			select {
			case asked <- struct{}{}:
			case <-release:
			}
			<-release
			return errors.New("enough")
		})
	})
	select {
	case <-asked:
	case <-time.After(10 * time.Second):
		t.Fatal("sock_diag does not answer")
	}
	done := make(chan error, 1)
	go func() { _, err := table.Peer(server); done <- err }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits")
	}
}

// However many ask at once, few sockets stay open.
func TestIdleSocketsAreBounded(t *testing.T) {
	_, server := connect(t, "tcp4", "127.0.0.1", "127.0.0.1:0")
	table := tables(t)["diag"]
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 20 {
				if _, err := table.Peer(server); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(table.diag.idle); n < 1 || n > maxIdle {
		t.Errorf("%d sockets wait", n)
	}
	if err := table.Close(); err != nil || len(table.diag.idle) != 0 {
		t.Errorf("%d sockets after Close, %v", len(table.diag.idle), err)
	}
	if _, err := table.Peer(server); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

// Where netlink does not know sock_diag, the table reads /proc.
func TestFallBack(t *testing.T) {
	_, server := connect(t, "tcp4", "127.0.0.1", "127.0.0.1:0")
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	table := &Table{diag: service{route: true}}
	defer table.Close()
	if s, err := table.Peer(server); err != nil || s.Inode == 0 {
		t.Errorf("%+v %v", s, err)
	}
	if !table.FellBack() {
		t.Error("it goes on to ask sock_diag")
	}
	table = &Table{diag: service{route: true}}
	defer table.Close()
	if all, err := table.UDPPort(addrOf(pc.LocalAddr()).Port()); err != nil || len(all) != 1 {
		t.Errorf("%+v %v", all, err)
	}
}

// TestResetFrom ends what comes from an address, of either family, and nothing else.
func TestResetFrom(t *testing.T) {
	own4, own6 := netip.MustParseAddr("127.81.7.3"), netip.MustParseAddr("::1")
	ours, _ := connect(t, "tcp4", own4.String(), "127.0.0.1:0")
	other, far := connect(t, "tcp4", "127.0.0.1", "127.0.0.1:0")
	s := &service{}
	defer s.close()
	ids4, err4 := connectionsFrom(s, unix.AF_INET, []netip.Addr{own4})
	ids6, err6 := connectionsFrom(s, unix.AF_INET6, []netip.Addr{own4})
	if err := errors.Join(err4, err6); err != nil || len(ids4) != 1 || len(ids6) != 0 {
		t.Fatalf("%d and %d connections, %v", len(ids4), len(ids6), err)
	}
	connect(t, "tcp6", own6.String(), "[::1]:0")
	if ids, err := connectionsFrom(s, unix.AF_INET6, []netip.Addr{own6}); err != nil || len(ids) < 1 {
		t.Errorf("%d connections by IPv6, %v", len(ids), err)
	}
	if os.Getuid() != 0 {
		return // only root may end them
	}
	if err := ResetFrom([]netip.Addr{own4}); err != nil {
		t.Fatal(err)
	}
	_ = ours.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("a connection from the address: %v", err)
	}
	_, _ = io.WriteString(far, "x")
	_ = other.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := other.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("another connection: %v", err)
	}
}

func TestScan(t *testing.T) {
	const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 02004E0A:0016 01004E0A:C350 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 02004E0A:0016 03004E0A:C350 06 00000000:00000000 00:00000000 00000000     0        0 0 1
   3: 0000000000000000FFFF00000100007F:1538 00000000000000000000000001000000:C350 01 0:0 0:0 0 1000 0 7 1
   4: nonsense
`
	all, err := scan(strings.NewReader(text), func(s Socket) bool { return s.State != 6 })
	at := netip.MustParseAddrPort
	want := []Socket{
		{Local: at("0.0.0.0:22"), Remote: at("0.0.0.0:0"), State: Listen, Inode: 1},
		{Local: at("10.78.0.2:22"), Remote: at("10.78.0.1:50000"), State: Established, Inode: 2},
		{Local: at("127.0.0.1:5432"), Remote: at("[::1]:50000"), State: Established, UID: 1000, Inode: 7},
	}
	if err != nil || !slices.Equal(all, want) {
		t.Errorf("%+v %v", all, err)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add("   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   999        0 12345 1 0")
	f.Add("   1: 0000000000000000FFFF00000100007F:1538 0000000000000000FFFF00000100007F:C350 01 0:0 0:0 0 0 0 7 1")
	f.Fuzz(func(t *testing.T, line string) {
		if s, ok := parseLine(line); ok && (!s.Local.IsValid() || !s.Remote.IsValid()) {
			t.Errorf("%+v", s)
		}
	})
}

func FuzzParseSocket(f *testing.F) {
	f.Add(make([]byte, messageLen))
	f.Add(append([]byte{unix.AF_INET6}, make([]byte, messageLen)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseSocket(b); err == nil && (!s.Local.IsValid() || !s.Remote.IsValid()) {
			t.Errorf("%+v", s)
		}
	})
}
