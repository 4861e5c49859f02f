package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// part is our text in one file.
type part struct {
	path   string
	edit   func(old []byte) []byte // puts in what we have now, or takes it out
	inUse  func() bool             // whether we have anything to put in
	forbid func() error            // why the file must not be edited now; nil: it may always
	seen   os.FileInfo             // of the file when our part was last known to be in it
}

func (p *part) write() error {
	if p.forbid != nil {
		if err := p.forbid(); err != nil {
			return fmt.Errorf("%s: %w", p.path, err)
		}
	}
	info, err := update(p.path, p.edit)
	if err == nil {
		p.seen = info
	}
	return err
}

// restore puts our part back if the file changed. If it fails, seen does not change,
// so the next call tries again.
func (p *part) restore() {
	if !p.inUse() {
		return
	}
	now, err := os.Stat(p.path)
	if err == nil && p.seen != nil && os.SameFile(now, p.seen) &&
		now.ModTime().Equal(p.seen.ModTime()) && now.Size() == p.seen.Size() {
		return
	}
	_ = p.write()
}

// remove takes our part out of the file. inUse must be false by then.
func (p *part) remove() error {
	var err error
	for range 5 {
		if err = p.write(); err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrManaged) {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("clean up %s: %w", p.path, err)
}

// changes are the changes of one process to this host.
type changes struct {
	entries     []Entry    // in the hosts file
	stub        netip.Addr // in resolv.conf
	hosts       part
	resolv      part
	hostsError  error // why the hosts file could not be cleaned at the start
	resolvError error // the same of resolv.conf
	tun         tunnel
	bridge      served
	refuser     refuser
}

func newChanges(o Options, id string) *changes {
	c := &changes{}
	c.hosts = part{
		path:  o.HostsPath,
		edit:  func(old []byte) []byte { return Edit(old, c.entries, id) },
		inUse: func() bool { return len(c.entries) > 0 },
	}
	c.resolv = part{
		path:   o.ResolvPath,
		edit:   func(old []byte) []byte { return EditResolv(old, id, c.stub, asksAllAtOnce("/")) },
		inUse:  func() bool { return c.stub.IsValid() },
		forbid: func() error { return CheckResolv(o.ResolvPath, o.RunDir) },
	}
	return c
}

func (c *changes) restore() {
	c.hosts.restore()
	c.resolv.restore()
}

func (c *changes) undo() error {
	// Before the hosts block, since the stub resolver serves the same names.
	err := c.bridge.end()
	if c.resolv.inUse() {
		c.stub = netip.Addr{}
		err = errors.Join(err, c.resolv.remove())
	}
	if c.hostsError == nil { // else nothing was ever put in
		c.entries = nil
		err = errors.Join(err, c.hosts.remove())
	}
	if c.tun.device != nil {
		err = errors.Join(err, c.tun.device.resetConnections())
	}
	return errors.Join(err, c.refuser.close())
}
