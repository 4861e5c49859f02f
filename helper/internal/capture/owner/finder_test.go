//go:build linux

package owner

import (
	"net"
	"os"
	"testing"
	"time"
)

// A process that connects again is known at once, and what would take too long
// to find is not looked for.
func TestFinderIsBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k := New(os.Geteuid())
	defer k.Close()
	o, err := k.Check(s)
	if err != nil {
		t.Fatal(err)
	}
	if p := k.Process(o, true); p.PID != os.Getpid() { // however many descriptors others have
		t.Fatalf("%+v", p)
	}
	k.finder.looks = 100 - looksASec // none to spare, but for the one that is known
	k.finder.at = time.Now().Add(-time.Second)
	if p := k.Process(o, false); p.PID != os.Getpid() {
		t.Errorf("known, and not found: %+v", p)
	}
	inode := o.Inode
	o.Inode = 1
	if p := k.Process(o, false); p.PID != 0 {
		t.Errorf("nobody's socket is %+v's", p)
	}
	k.finder = finder{looks: -maxLooks, at: time.Now().Add(time.Hour)}
	o.Inode = inode
	if p := k.Process(o, false); p.PID != 0 {
		t.Errorf("looked for with nothing to spare: %+v", p)
	}
	if p := k.Process(o, true); p.PID != os.Getpid() {
		t.Errorf("it has to be found, and is not: %+v", p)
	}
	k.finder = finder{}
	for range 20 { // each looks at what there is, until there is nothing to spare
		_ = k.Process(o, false)
	}
	if k.finder.looks < -maxLooks {
		t.Errorf("%f looks left", k.finder.looks)
	}
	f := finder{at: time.Now()}
	if f.find(1, os.Geteuid(), false); f.looks < 0 {
		t.Errorf("with nothing to spare %f looks were taken: the processes were listed", -f.looks)
	}
}
