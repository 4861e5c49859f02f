package held

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// snapshot is how many bytes of a packet are read: the largest IP header and a
// TCP header.
const snapshot = 60 + tcpHeader

// filter lets the SYNs through that arrive for ports that can be held, and
// nothing else: whoever has the socket sees no other packet of the machine.
var filter = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_HOST, SkipTrue: 14}, // lo shows each packet twice
	bpf.LoadAbsolute{Off: 0, Size: 1},
	bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 4 << 4, SkipTrue: 11},
	bpf.LoadAbsolute{Off: 9, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolTCP, SkipTrue: 9},
	bpf.LoadAbsolute{Off: 6, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 7}, // a later fragment
	bpf.LoadAbsolute{Off: 16, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpLessThan, Val: 127<<8 | 1, SkipTrue: 5},
	bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: 127<<8 | 255, SkipTrue: 4},
	bpf.LoadMemShift{Off: 0},
	bpf.LoadIndirect{Off: 13, Size: 1},
	bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: flagsSetup},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: flagSYN, SkipTrue: 1},
	bpf.RetConstant{Val: 0},
	bpf.RetConstant{Val: snapshot},
}

// OpenWatch opens the packet socket of a Watcher. It takes CAP_NET_RAW. The
// socket shows nothing but SYNs to ports that can be held, whoever has it: its
// filter is locked.
func OpenWatch() (*os.File, error) {
	// Without a protocol it receives nothing until it is bound, so nothing that
	// the filter has not seen.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	if err := watchSYNs(fd); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch lo: %w", err)
	}
	return os.NewFile(uintptr(fd), "lo"), nil
}

func watchSYNs(fd int) error {
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return err
	}
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1); err != nil {
		return err
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	var protocol [2]byte
	binary.BigEndian.PutUint16(protocol[:], unix.ETH_P_IP)
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(protocol[:]), Ifindex: lo.Index})
}

// Relay shows the SYNs of a packet socket to a process that must not have that
// socket itself: its holder could send packets of any kind.
type Relay struct {
	watch, to *os.File
	done      chan struct{}
}

// OpenRelay opens the packet socket, which takes CAP_NET_RAW, and returns with the
// Relay the file for NewWatcher. The file is the caller's, and only shows SYNs.
func OpenRelay() (*Relay, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	r := &Relay{to: os.NewFile(uintptr(pair[0]), "watcher"), done: make(chan struct{})}
	shown := os.NewFile(uintptr(pair[1]), "SYNs")
	if r.watch, err = OpenWatch(); err != nil {
		_, _ = r.to.Close(), shown.Close()
		return nil, nil, err
	}
	go r.run()
	return r, shown, nil
}

// run passes SYNs on until the Relay or the Watcher's file is closed. A SYN for
// which there is no room is dropped, and the program repeats it.
func (r *Relay) run() {
	defer close(r.done)
	to, err := r.to.SyscallConn()
	if err != nil {
		return
	}
	b := make([]byte, snapshot)
	for {
		n, err := r.watch.Read(b)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // such as ENOBUFS, which passes
			continue
		}
		cerr := to.Control(func(fd uintptr) {
			err = unix.Send(int(fd), b[:n], unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		})
		if cerr != nil || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
			return
		}
	}
}

// Close closes the packet socket and waits until nothing more is shown.
func (r *Relay) Close() error {
	err := r.watch.Close()
	<-r.done
	return errors.Join(err, r.to.Close())
}

// Refuser refuses connections by packets of its own.
type Refuser struct{ fd int }

// OpenRefuser opens a raw socket. It takes CAP_NET_RAW.
func OpenRefuser() (*Refuser, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("open raw socket: %w", err)
	}
	return &Refuser{fd}, nil
}

// Refuse tells a client that its SYN or datagram is refused. It sends nothing that
// Refusal.Check does not let pass.
func (r *Refuser) Refuse(f Refusal) error {
	if err := f.Check(); err != nil {
		return err
	}
	to := &unix.SockaddrInet4{Addr: f.Client.Addr().As4()}
	if err := unix.Sendto(r.fd, f.packet(), unix.MSG_DONTWAIT, to); err != nil {
		return fmt.Errorf("refuse %s: %w", f.Client, err)
	}
	return nil
}

// Close closes the raw socket.
func (r *Refuser) Close() error { return unix.Close(r.fd) }
