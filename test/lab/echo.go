//go:build linux

package lab

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// Ports of echo.corp.test. All except EchoPort and the last are TCP only; other ports
// refuse connections.
const (
	EchoPort      = 7  // TCP and UDP: sends all bytes back, closes after the client's FIN
	HangUpPort    = 8  // sends "bye\n" and FIN at once, then goes on reading; see HalfClosed
	SinkPort      = 9  // accepts and never reads
	CountPort     = 10 // reads until the client's FIN, then sends "BYTES SHA256\n"
	ResetPort     = 11 // resets after the client's first byte
	ResetNowPort  = 12 // resets at once
	ChattyPort    = 13 // sends for ever and never reads
	GreetPort     = 14 // sends "hello\n" first, then echoes
	SilentUDPPort = 15 // UDP: takes datagrams and never answers
)

const echoName = "echo." + Zone

// tcpServers has the server of each TCP port.
func (l *Lab) tcpServers() map[int]func(*net.TCPConn) {
	return map[int]func(*net.TCPConn){
		EchoPort:   func(c *net.TCPConn) { _, _ = io.Copy(c, c) },
		HangUpPort: l.hangUp,
		SinkPort:   func(*net.TCPConn) { <-l.ctx.Done() },
		CountPort: func(c *net.TCPConn) {
			h := sha256.New()
			n, err := io.Copy(h, c)
			if err == nil {
				fmt.Fprintf(c, "%d %x\n", n, h.Sum(nil))
			}
		},
		ResetPort: func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			_ = c.SetLinger(0)
		},
		ResetNowPort: func(c *net.TCPConn) { _ = c.SetLinger(0) },
		ChattyPort: func(c *net.TCPConn) {
			_, _ = io.Copy(c, Bytes(0))
		},
		GreetPort: func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "hello\n")
			_, _ = io.Copy(c, c)
		},
	}
}

// halfClosed has the sums of the bytes that clients sent after the server's FIN.
type halfClosed struct {
	mu   sync.Mutex
	sums map[string]string
}

// hangUp closes its direction first. The client's first line is a token. The web
// server's /halfclosed answers that token with "BYTES SHA256" of all later bytes.
func (l *Lab) hangUp(c *net.TCPConn) {
	_, _ = io.WriteString(c, "bye\n")
	_ = c.CloseWrite()
	r := bufio.NewReader(c)
	token, err := r.ReadString('\n')
	if err != nil {
		return
	}
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return
	}
	l.halfClosed.mu.Lock()
	defer l.halfClosed.mu.Unlock()
	l.halfClosed.sums[token[:len(token)-1]] = fmt.Sprintf("%d %x\n", n, h.Sum(nil))
}

func (l *Lab) startEcho(context.Context) error {
	ports := map[string]int{
		"echo": EchoPort, "hangUp": HangUpPort, "sink": SinkPort, "count": CountPort, "reset": ResetPort,
		"resetNow": ResetNowPort, "chatty": ChattyPort, "greet": GreetPort, "silentUDP": SilentUDPPort,
	}
	handlers := l.tcpServers()
	var addr string
	for name, usual := range ports {
		var err error
		if addr, ports[name], err = l.place(echoAddr, usual); err != nil {
			return err
		}
		at := net.JoinHostPort(addr, strconv.Itoa(ports[name]))
		if handle := handlers[usual]; handle != nil {
			ln, err := l.Corp.Listen("tcp", at)
			if err != nil {
				return err
			}
			l.serve(ln, func(c net.Conn) { handle(c.(*net.TCPConn)) })
		}
		if usual == EchoPort || usual == SilentUDPPort {
			pc, err := l.Corp.ListenPacket("udp", at)
			if err != nil {
				return err
			}
			l.serveUDP(pc, usual == EchoPort)
		}
	}
	l.setInfo(func(i *Info) { i.Echo = &EchoInfo{Host: echoName, Address: addr, Ports: ports} })
	return nil
}

// serve passes each connection of ln to handle, and closes it afterwards.
// Close closes all connections and waits for their servers.
func (l *Lab) serve(ln net.Listener, handle func(net.Conn)) {
	var all sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				if l.ctx.Err() != nil {
					return
				}
				time.Sleep(10 * time.Millisecond) // for example, no descriptor is left
				continue
			}
			mu.Lock()
			if open == nil {
				mu.Unlock()
				c.Close()
				return
			}
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				handle(c)
				mu.Lock()
				delete(open, c)
				mu.Unlock()
				c.Close()
			})
		}
	})
	l.onClose(func() error {
		err := ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		open = nil
		mu.Unlock()
		all.Wait()
		return err
	})
}

func (l *Lab) serveUDP(pc net.PacketConn, answer bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := pc.ReadFrom(buf)
			if l.ctx.Err() != nil {
				return
			}
			if err == nil && answer {
				_, _ = pc.WriteTo(buf[:n], from)
			}
		}
	}()
	l.onClose(func() error {
		err := pc.Close()
		<-done
		return err
	})
}
