//go:build linux && (amd64 || arm64)

package run

import "golang.org/x/sys/unix"

// probes behave alike in a direct run and in a carried one.
var probes = []probe{
	{"blocking", func(e *probeEnv) string { return e.blocking(unix.AF_INET) }},
	{"blocking6", func(e *probeEnv) string { return e.blocking(unix.AF_INET6) }},
	{"blocking mapped", func(e *probeEnv) string { return e.blocking(mappedFamily) }},
	{"blocking refused", func(e *probeEnv) string {
		fd := e.socket(unix.AF_INET, unix.SOCK_STREAM)
		defer unix.Close(fd)
		return text(unix.Connect(fd, e.addr(unix.AF_INET, e.closed))) + " " + soError(fd) + " " +
			text(unix.Connect(fd, e.addr(unix.AF_INET, e.tcp))) + " " + echo(fd)
	}},
	{"poll", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET, e.tcp, pollOut) }},
	{"epoll", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET, e.tcp, epollOut) }},
	{"select", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET, e.tcp, selectOut) }},
	{"poll6", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET6, e.tcp, pollOut) }},
	{"poll mapped", func(e *probeEnv) string { return e.nonBlocking(mappedFamily, e.tcp, pollOut) }},
	{"poll refused", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET, e.closed, pollOut) }},
	{"epoll refused", func(e *probeEnv) string { return e.nonBlocking(unix.AF_INET, e.closed, epollOut) }},
	{"refused, then again", (*probeEnv).refusedThenAgain},
	{"half-close", (*probeEnv).halfClose},
	{"dup", (*probeEnv).dup},
	{"bound", (*probeEnv).bound},
	{"v6only", func(e *probeEnv) string { return e.v6only(1) + " " + e.v6only(0) }},
	{"inherit", (*probeEnv).inherit},
	{"threads", (*probeEnv).threads},
	{"listens", (*probeEnv).listens},
	{"fast open", func(e *probeEnv) string { return e.fastOpen(0) }},
	{"udp", func(e *probeEnv) string { return e.udpUnconnected(unix.AF_INET) }},
	{"udp6", func(e *probeEnv) string { return e.udpUnconnected(unix.AF_INET6) }},
	{"udp mapped", func(e *probeEnv) string { return e.udpUnconnected(mappedFamily) }},
	{"udp connected", (*probeEnv).udpConnected},
	{"udp refused", (*probeEnv).udpRefused},
	{"sendmmsg", (*probeEnv).sendMany},
}
