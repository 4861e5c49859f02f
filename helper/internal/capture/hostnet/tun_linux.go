package hostnet

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
	"golang.org/x/sys/unix"
)

const (
	tunPath = "/dev/net/tun"
	// tunMTU is the largest multiple of 8 that fits into wireguard/tun's buffers: on
	// a local device the cost depends on the number of packets, not on their size.
	tunMTU = 65520
	// tunQueue is how many packets wait for the reader of the device at most.
	tunQueue = 2000
	// inContainers is the advice for containers.
	inContainers = `a container needs "runArgs": ["--cap-add=NET_ADMIN", "--device=/dev/net/tun"] in devcontainer.json`
)

// tunMissing returns an error if there can be no TUN device: its node is missing, and
// no process here has the right to make it. It is checked before the subcommand
// starts.
func tunMissing() error {
	if _, err := os.Stat(tunPath); err != nil && !mayMakeNodes() {
		return fmt.Errorf("%w; %s", err, inContainers)
	}
	return nil
}

// mayMakeNodes tells whether root may make device nodes here.
func mayMakeNodes() bool {
	may, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_MKNOD, 0, 0, 0)
	return err == nil && may == 1
}

// openNode opens the node at path. If it is missing, openNode makes one in dir for as
// long as it takes to open it: containers may use the device without having its node.
func openNode(path, dir string) (int, error) {
	const flags = unix.O_RDWR | unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, err := unix.Open(path, flags, 0)
	if err == nil {
		return fd, nil
	}
	err = &os.PathError{Op: "open", Path: path, Err: err}
	if !errors.Is(err, os.ErrNotExist) {
		return -1, err
	}
	node := filepath.Join(dir, ".causeway-tun-"+strconv.Itoa(os.Getpid()))
	if merr := unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200))); merr != nil {
		return -1, fmt.Errorf("%w, and make it: %w; %s", err, merr, inContainers)
	}
	defer func() { _ = os.Remove(node) }()
	fd, oerr := unix.Open(node, flags|unix.O_NOFOLLOW, 0)
	if oerr != nil {
		return -1, fmt.Errorf("%w, and open a new one: %w; %s", err, oerr, inContainers)
	}
	return fd, nil
}

// openDevice makes a TUN device that is up and has an address. The caller gets its
// only descriptor; the device disappears when that is closed.
func openDevice() (_ *os.File, _ *Device, err error) {
	fd, err := openNode(tunPath, "/dev")
	if err != nil {
		return nil, nil, err
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
	// The kernel's 500 packets are a second of steady questions, and a busy machine may
	// not run this process for that long. If the queue cannot be longer, so be it.
	_, _ = ask(unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) { r.SetUint32(tunQueue) })
	// Without a link-local address there is no neighbour discovery. If /proc/sys is
	// read-only, the reader of the device drops its packets.
	_ = os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", d.Name, "addr_gen_mode"), []byte("1"), 0)
	if _, err := ask(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(unix.IFF_UP) }); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return d.address()
}

// address gives the device ranges of addresses that stand for names, and one address
// of each family of its own, which is only the source of packets.
func (d *Device) address() error {
	s, err := survey(d)
	if err != nil {
		return err
	}
	if names, ok := s.freeRanges(func(p netip.Prefix) bool { return changeRoute(d, true, p) == nil }); ok {
		// The range is ours now: a second route to it cannot be added.
		if err := kernelnet.AddAddress(d.Index, names.V4.Addr().Next()); err != nil {
			return fmt.Errorf("add address %s: %w", names.V4.Addr().Next(), err)
		}
		d.Addresses = []netip.Addr{names.V4.Addr().Next()}
		own6 := names.V6.Addr().Next()
		switch {
		case kernelnet.AddAddress(d.Index, own6) != nil:
			names.V6 = netip.Prefix{}
		case changeRoute(d, true, names.V6) != nil:
			names.V6 = netip.Prefix{}
			fallthrough
		default:
			d.Addresses = append(d.Addresses, own6)
		}
		d.Names = names
		return nil
	}
	return d.addressAlone(s.routes)
}

// addressAlone gives the device its own addresses only, since no range for names is
// free.
func (d *Device) addressAlone(own []ownRoute) error {
	v4, err := pick(own)
	if err != nil {
		return err
	}
	if err := kernelnet.AddAddress(d.Index, v4); err != nil {
		return fmt.Errorf("add address %s: %w", v4, err)
	}
	d.Addresses = []netip.Addr{v4}
	v6 := devices6.Addr().As16()
	_, _ = rand.Read(v6[devices6.Bits()/8:])
	if a := netip.AddrFrom16(v6); kernelnet.AddAddress(d.Index, a) == nil {
		d.Addresses = append(d.Addresses, a)
	}
	return nil
}

// pick finds an address of devices4 that no route of this host covers.
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
	return netip.Addr{}, errors.New("this machine's own networks use all of " + devices4.String())
}

// survey collects the facts about this host on which routes to d depend.
func survey(d *Device) (surroundings, error) {
	own, err := ownRoutes(d.Index)
	if err != nil {
		return surroundings{}, err
	}
	s := surroundings{routes: own}
	s.guarded = s.hops()
	for _, a := range metadata {
		s.guarded = append(s.guarded, guarded{a, "the metadata service of a cloud"})
	}
	if content, err := os.ReadFile(DefaultResolvPath); err == nil {
		_, servers := Nameservers(content, netip.Addr{})
		for _, a := range servers {
			s.guarded = append(s.guarded, guarded{a.WithZone("").Unmap(), "a nameserver of this machine"})
		}
	}
	peers, err := connections()
	if err != nil {
		return surroundings{}, err
	}
	for _, p := range peers.inbound() {
		s.guarded = append(s.guarded, guarded{p, "from which a connection to this machine comes, such as the editor's"})
	}
	for _, p := range peers.outbound(caller()) {
		s.guarded = append(s.guarded, guarded{p, "to which this machine has a connection, such as the editor's"})
	}
	return s, nil
}

// caller is the uid of the user for whom this process works.
func caller() int {
	if uid, err := strconv.Atoi(os.Getenv("SUDO_UID")); err == nil && os.Getuid() == 0 {
		return uid
	}
	return os.Getuid()
}
