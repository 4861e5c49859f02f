//go:build linux

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/test/bench/internal/load"
	"github.com/causeway-dev/causeway/test/wan"
	"golang.org/x/sys/unix"
)

// roles are the parts that this program plays on the hosts of the lab. Each is a
// process of its own, so that no two share a Go scheduler.
var roles = map[string]func(ctx context.Context, args []string) error{
	"serve": func(_ context.Context, args []string) error {
		ln, err := net.Listen("tcp", args[0])
		if err != nil {
			return err
		}
		return load.Serve(ln)
	},
	"relay":  relayRole,
	"client": clientRole,
	"pipe":   func(ctx context.Context, args []string) error { return pipeRole(ctx, args[0]) },
	"answer": func(_ context.Context, args []string) error { return answerRole(args[0], args[1:]) },
	"carry":  func(_ context.Context, args []string) error { return carryRole(args[0], args[1]) },
}

// relayRole serves each argument "KIND,LISTEN,TO", where KIND is tcp, tcp+handshake
// or udp.
func relayRole(ctx context.Context, args []string) error {
	var p wan.Path
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	flags.DurationVar(&p.Delay, "delay", 0, "")
	flags.Int64Var(&p.Rate, "rate", 0, "")
	flags.IntVar(&p.InFlight, "inflight", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r := wan.New(p)
	failed := make(chan error)
	for _, way := range flags.Args() {
		f := strings.Split(way, ",")
		kind, at, to := f[0], f[1], f[2]
		if kind == "udp" {
			a, err := net.ResolveUDPAddr("udp", at)
			if err != nil {
				return err
			}
			pc, err := net.ListenUDP("udp", a)
			if err != nil {
				return err
			}
			go func() { failed <- r.ServeUDP(pc, to) }()
			continue
		}
		ln, err := r.Listen(ctx, at)
		if err != nil {
			return err
		}
		go func() { failed <- r.ServeTCP(ln, to, kind == "tcp+handshake") }()
	}
	fmt.Fprintln(os.Stderr, "listening")
	return <-failed
}

// job tells a client what to measure.
type job struct {
	Target load.Target   `json:"target"`
	What   string        `json:"what"` // probe, down, up, echo, setup, burst, hold
	Warm   time.Duration `json:"warm"`
	Span   time.Duration `json:"span"`
	Count  int           `json:"count"`
	Under  []string      `json:"-"` // the command line that runs the client
}

// result has the client's measurements.
type result struct {
	load.Bulk
	Took   []time.Duration `json:"took"`
	Failed int             `json:"failed"`
}

func clientRole(ctx context.Context, args []string) error {
	var j job
	if err := json.Unmarshal([]byte(args[0]), &j); err != nil {
		return err
	}
	var r result
	target, err := j.Target.Resolved(ctx)
	if err != nil {
		return err
	}
	switch j.What {
	case "probe":
		end := time.Now().Add(j.Span)
		for {
			if _, err = load.Setup(ctx, target, 1); err == nil || time.Now().After(end) {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	case "down":
		r.Bulk, err = load.Down(ctx, target, j.Warm, j.Span)
	case "up":
		r.Bulk, err = load.Up(ctx, target, j.Warm, j.Span)
	case "echo":
		r.Took, err = load.Echo(ctx, target, j.Warm, j.Span)
	case "setup":
		r.Took, err = load.Setup(ctx, target, j.Count)
	case "burst":
		r.Took, r.Failed = load.Burst(ctx, target, j.Count, j.Span)
	case "hold":
		ctx, cancel := signal.NotifyContext(ctx, os.Interrupt)
		defer cancel()
		err = load.Hold(ctx, target, j.Count, func() { fmt.Println("held") })
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// pipeRole joins its standard streams to a connection by splice(2).
func pipeRole(ctx context.Context, addr string) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	f, err := link(c)
	if err != nil {
		return err
	}
	fd := int(f.Fd())
	if err := unix.SetNonblock(fd, false); err != nil {
		return err
	}
	for _, pipe := range []uintptr{0, 1} {
		// Best effort: it spares wake-ups.
		_, _ = unix.FcntlInt(pipe, unix.F_SETPIPE_SZ, 256<<10)
	}
	ended := make(chan error, 2)
	go func() {
		err := splice(fd, 0)
		_ = unix.Shutdown(fd, unix.SHUT_WR)
		ended <- err
	}()
	go func() {
		err := splice(1, fd)
		os.Stdout.Close()
		ended <- err
	}()
	if err := <-ended; err != nil {
		return err
	}
	return <-ended
}

// link takes c's socket for a link of Causeway, with the options that the helper sets
// on its own links. The options keep the queue in the kernel short, so that other
// flows can overtake a bulk flow.
func link(c net.Conn) (*os.File, error) {
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	c.Close()
	return f, unix.SetsockoptInt(int(f.Fd()), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 128<<10)
}

// splice never waits inside the system call, since the call holds the lock of the
// pipe, which the other end needs.
func splice(dst, src int) error {
	const flags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK
	wait := func(fd int, events int16) error {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, -1)
		return err
	}
	for {
		err := wait(src, unix.POLLIN)
		if err == nil {
			var n int64
			if n, err = unix.Splice(src, nil, dst, nil, 1<<20, flags); n == 0 && err == nil {
				return nil
			}
		}
		if err == unix.EAGAIN {
			err = wait(dst, unix.POLLOUT)
		}
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("splice: %w", err)
		}
	}
}

// answerRole runs a command for each connection, with the connection as its
// standard streams.
func answerRole(addr string, argv []string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "listening")
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		f, err := link(c)
		if err != nil {
			return err
		}
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		f.Close()
		go func() { _ = cmd.Wait() }()
	}
}

// carryRole is one end of the bare link. It only moves bytes, through its own memory,
// as a program that frames them must.
func carryRole(at, to string) error {
	ln, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			s, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer s.Close()
			done := make(chan bool, 2)
			move := func(dst, src net.Conn) {
				buf := make([]byte, 256<<10)
				// The wrappers hide the methods that copy inside the kernel.
				_, _ = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf)
				done <- true
			}
			go move(s, c)
			go move(c, s)
			<-done
		}()
	}
}
