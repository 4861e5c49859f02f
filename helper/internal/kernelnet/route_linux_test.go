package kernelnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// TestRoutes changes routes and addresses in a network namespace of its own.
func TestRoutes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("a network namespace takes root")
	}
	done := make(chan struct{})
	go func() { // its thread, which is in another namespace, ends with it
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		changeRoutes(t)
	}()
	<-done
}

func changeRoutes(t *testing.T) {
	if err := raiseLoopback(); err != nil {
		t.Error(err)
		return
	}
	find := func(p string) (found []Route) {
		all, err := Routes()
		if err != nil {
			t.Error(err)
		}
		for _, r := range all {
			if r.Prefix.String() == p {
				found = append(found, r)
			}
		}
		return found
	}
	for _, c := range []Route{
		{Prefix: netip.MustParsePrefix("10.77.0.0/16"), Device: LoopbackIndex, Protocol: 'c'},
		{Prefix: netip.MustParsePrefix("fd77::/64"), Device: LoopbackIndex, Protocol: 'c'},
		{Prefix: netip.MustParsePrefix("198.19.16.0/20"), Device: LoopbackIndex, Protocol: 'c', Local: true},
	} {
		if err := AddRoute(c); err != nil {
			t.Errorf("add %s: %v", c.Prefix, err)
		}
		if got := find(c.Prefix.String()); len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(c) {
			t.Errorf("added %+v, listed %+v", c, got)
		}
		if err := AddRoute(c); !errors.Is(err, unix.EEXIST) {
			t.Errorf("add %s again: %v", c.Prefix, err)
		}
		if err := RemoveRoute(c); err != nil || len(find(c.Prefix.String())) != 0 {
			t.Errorf("remove %s: %v", c.Prefix, err)
		}
		if err := RemoveRoute(c); !errors.Is(err, unix.ESRCH) {
			t.Errorf("remove %s again: %v", c.Prefix, err)
		}
	}
	for _, a := range []string{"198.18.7.1", "fd77::1"} {
		if err := AddAddress(LoopbackIndex, netip.MustParseAddr(a)); err != nil {
			t.Errorf("add %s: %v", a, err)
		}
		if err := AddAddress(LoopbackIndex, netip.MustParseAddr(a)); !errors.Is(err, unix.EEXIST) {
			t.Errorf("add %s again: %v", a, err)
		}
	}
	local := func(r Route) bool { return r.Local }
	if got := find("198.18.7.1/32"); !slices.ContainsFunc(got, local) {
		t.Errorf("the address's own route is %+v", got)
	}
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// A device that is removed is noticed at once, one that stays within the time.
func TestWaitGone(t *testing.T) {
	if gone, err := WaitGone(1<<30, time.Minute); err != nil || !gone {
		t.Errorf("of no device: %v %v", gone, err)
	}
	if os.Getuid() != 0 {
		t.Fatal("a network namespace takes root")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		ifr, _ := unix.NewIfreq("gone0")
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			t.Error(err)
			return
		}
		device, err := net.InterfaceByName("gone0")
		if err != nil {
			t.Error(err)
			return
		}
		if gone, err := WaitGone(device.Index, 20*time.Millisecond); err != nil || gone {
			t.Errorf("of one that stays: %v %v", gone, err)
		}
		late := time.AfterFunc(20*time.Millisecond, func() { _ = unix.Close(fd) })
		defer late.Stop()
		start := time.Now()
		if gone, err := WaitGone(device.Index, time.Minute); err != nil || !gone || time.Since(start) > 30*time.Second {
			t.Errorf("of one that goes: %v %v after %v", gone, err, time.Since(start))
		}
	}()
	<-done
}

// ways is the attribute of a route by several ways.
func ways(hops ...netip.Addr) (b []byte) {
	for _, h := range hops {
		var attrs []byte
		if h.IsValid() {
			attrs, _ = netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.RTA_GATEWAY, Data: h.AsSlice()}})
		}
		b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtNexthop+len(attrs)))
		b = append(append(b, make([]byte, unix.SizeofRtNexthop-2)...), attrs...)
	}
	return b
}

func TestHopsOf(t *testing.T) {
	four, six := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{ways(four, netip.MustParseAddr("10.0.0.2")), "[10.0.0.1 10.0.0.2]"},
		{ways(six, netip.Addr{}, six.Next()), "[fd00::1 fd00::2]"}, // one without next hop
		{nil, "[]"},
		{ways(four)[:10], "[]"},
	} {
		if got := fmt.Sprint(hopsOf(c.b)); got != c.want {
			t.Errorf("%x: %s, want %s", c.b, got, c.want)
		}
	}
}

func FuzzHopsOf(f *testing.F) {
	f.Add(ways(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")))
	f.Add([]byte{8, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(hopsOf(b)); n > len(b) {
			t.Errorf("%d hops in %d bytes", n, len(b))
		}
	})
}

func FuzzParseRoute(f *testing.F) {
	f.Add(make([]byte, unix.SizeofRtMsg))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := parseRoute(b); ok && !r.Prefix.IsValid() {
			t.Errorf("%+v", r)
		}
	})
}
