// Package nss looks up names as the C library of Linux does, by getent: with the name
// service switch, which knows mDNS and directories, and with the search domains of
// resolv.conf. Go's resolver knows neither without cgo. Elsewhere Go asks the system's
// own resolver, and this package finds nothing.
package nss

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	maxPrograms = 16 // at a time
	limit       = 5 * time.Second
	maxAddrs    = 64
)

// slots has one slot for each program that runs.
var slots = make(chan struct{}, maxPrograms)

// Lookup returns the addresses of a name, none if the system does not know it. The
// name is a host name in normal form. Search domains apply only to a single label.
func Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if runtime.GOOS != "linux" || strings.HasPrefix(name, "-") {
		return nil, nil
	}
	if strings.Contains(name, ".") && !strings.HasSuffix(name, ".local") {
		name += "." // no search domain applies
	}
	return lookUp(ctx, "getent", name)
}

func lookUp(ctx context.Context, program, name string) ([]netip.Addr, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, nil // musl and small images have none
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	out, err := exec.CommandContext(ctx, path, "ahosts", name).Output()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("run %s: %w", program, context.Cause(ctx))
	case err != nil:
		return nil, nil // it exits with 2 if there is no such name
	}
	return parse(out), nil
}

// parse reads lines of an address, a socket type, and sometimes a name.
func parse(out []byte) []netip.Addr {
	var addrs []netip.Addr
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan() && len(addrs) < maxAddrs; {
		field, _, _ := strings.Cut(lines.Text(), " ")
		if a, err := netip.ParseAddr(field); err == nil && !slices.Contains(addrs, a.Unmap()) {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs
}
