package hostnet

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	tunPath = "/dev/net/tun"
	// tunMTU is as large as wireguard/tun's buffers and a whole word allow: the
	// packets of a local device cost by their number.
	tunMTU = 65520
	// inContainers is what to do.
	inContainers = `a container needs "runArgs": ["--cap-add=NET_ADMIN", "--device=/dev/net/tun"] in devcontainer.json`
)

// tunMissing says why no TUN device can be had, before anything is started.
func tunMissing() error {
	if _, err := os.Stat(tunPath); err != nil {
		return fmt.Errorf("%w; %s", err, inContainers)
	}
	return nil
}

// openDevice makes a TUN device that is up and has an address. It goes with its
// last descriptor, of which the caller gets the only one.
func openDevice() (_ *os.File, _ *Device, err error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: tunPath, Err: err}
	}
	file := os.NewFile(uintptr(fd), tunPath)
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	ifr, err := unix.NewIfreq("causeway%d") // the kernel puts in the first free number
	if err != nil {
		return nil, nil, err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return nil, nil, fmt.Errorf("make the device: %w; %s", err, inContainers)
	}
	d := &Device{Name: ifr.Name(), MTU: tunMTU}
	if err := d.raise(); err != nil {
		return nil, nil, fmt.Errorf("set up %s: %w", d.Name, err)
	}
	return file, d, nil
}

func (d *Device) raise() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	ask := func(request uint, set func(*unix.Ifreq)) (*unix.Ifreq, error) {
		ifr, err := unix.NewIfreq(d.Name)
		if err != nil {
			return nil, err
		}
		set(ifr)
		return ifr, unix.IoctlIfreq(fd, request, ifr)
	}
	ifr, err := ask(unix.SIOCGIFINDEX, func(*unix.Ifreq) {})
	if err != nil {
		return fmt.Errorf("get index: %w", err)
	}
	d.Index = int(ifr.Uint32())
	if _, err := ask(unix.SIOCSIFMTU, func(r *unix.Ifreq) { r.SetUint32(tunMTU) }); err != nil {
		return fmt.Errorf("set MTU: %w", err)
	}
	// No link-local address, and so no neighbour discovery; where /proc/sys cannot
	// be written, its packets are dropped by the reader.
	_ = os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", d.Name, "addr_gen_mode"), []byte("1"), 0)
	if _, err := ask(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(unix.IFF_UP) }); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return d.address()
}

// address gives the device an address of each family: sources of packets, to
// which nobody connects.
func (d *Device) address() error {
	own, err := ownRoutes(d.Index)
	if err != nil {
		return err
	}
	v4, err := pick(own)
	if err != nil {
		return err
	}
	if err := addAddress(d.Index, v4); err != nil {
		return fmt.Errorf("add address %s: %w", v4, err)
	}
	d.Addresses = []netip.Addr{v4}
	v6 := [16]byte{0: 0xfd}
	_, _ = rand.Read(v6[1:])
	if a := netip.AddrFrom16(v6); addAddress(d.Index, a) == nil {
		d.Addresses = append(d.Addresses, a)
	}
	return nil
}

// pick finds an address of 198.18.0.0/15, which is for measurements and so in
// nobody's network, that no route of this host has.
func pick(own []ownRoute) (netip.Addr, error) {
	s := surroundings{routes: own}
	for range 64 {
		var b [3]byte
		_, _ = rand.Read(b[:])
		a := netip.AddrFrom4([4]byte{198, 18 + b[0]&1, b[1], b[2]})
		if s.best(a) == 0 {
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("this machine has networks of its own in all of 198.18.0.0/15")
}

// survey looks at what routes to d must respect.
func survey(d *Device) (surroundings, error) {
	own, err := ownRoutes(d.Index)
	if err != nil {
		return surroundings{}, err
	}
	s := surroundings{routes: own}
	s.guarded = s.hops()
	for _, a := range metadata {
		s.guarded = append(s.guarded, guarded{a, "at which clouds serve their machines"})
	}
	if content, err := os.ReadFile(DefaultResolvPath); err == nil {
		_, servers := Nameservers(content, netip.Addr{})
		for _, a := range servers {
			s.guarded = append(s.guarded, guarded{a.WithZone("").Unmap(), "a nameserver of this machine"})
		}
	}
	peers, err := inbound()
	if err != nil {
		return surroundings{}, err
	}
	for _, p := range peers {
		s.guarded = append(s.guarded, guarded{p, "from which a connection to this machine comes, such as the editor's"})
	}
	return s, nil
}
