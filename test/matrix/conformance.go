package matrix

import "slices"

// The ways that TestConformance of test/e2e compares with a direct connection: names
// that lead to the device, names on loopback with and without NET_RAW, and addresses
// by Tun and by Run.
const (
	ByDevice = "names, TUN device"
	Held     = "names, NET_RAW"
	Accepted = "names, neither"
)

// Ways lists them.
func Ways() []string { return []string{ByDevice, Held, Accepted, Tun, Run} }

// The differences that programs can see.
const (
	refusals  = "TCP: the service refuses, is not there or does not answer"
	udpClosed = "UDP: nobody listens on the port"
	six       = "IPv6: the name has an IPv6 address too"
	multipath = "Multipath TCP sockets"
	ownAddr   = "the program's own address is not a loopback address"
	farAddr   = "the address of the name is not a loopback address"
	ownServer = "your own server can listen on the same port of all addresses"
)

// Differences lists them.
func Differences() []string {
	return []string{refusals, udpClosed, six, multipath, ownAddr, farAddr, ownServer}
}

// seen has the probes of helper/internal/capture/run that show each difference.
var seen = map[string][]string{
	refusals:  {"blocking refused", "poll refused", "epoll refused", "refused, then again", "send time-out", "unreachable"},
	udpClosed: {"udp refused"},
	six:       {"blocking6", "poll6", "names6", "udp6", "v6only"},
	multipath: {"multipath"},
	ownAddr:   {"own address"},
	farAddr:   {"far address"},
	ownServer: {"own server"},
}

const (
	early      = "Causeway accepts the connection before it knows; the program then sees a reset"
	noError    = "the program gets no error, only no answer"
	onLoopback = "names have an IPv4 loopback address, on whose ports Causeway listens"
	byLoopback = "the supervisor joins program and capture by a loopback connection"
	noMultiple = "a connect does not end; use a plain TCP socket"
)

// differing says in which ways each difference occurs, and why.
var differing = map[pair]string{
	{refusals, Accepted}:  early,
	{udpClosed, ByDevice}: noError, {udpClosed, Held}: noError, {udpClosed, Accepted}: noError, {udpClosed, Tun}: noError, {udpClosed, Run}: noError,
	{six, Held}: onLoopback, {six, Accepted}: onLoopback,
	{multipath, Held}: noMultiple,
	{ownAddr, Held}:   onLoopback, {ownAddr, Accepted}: onLoopback, {ownAddr, Run}: byLoopback,
	{farAddr, Held}: onLoopback, {farAddr, Accepted}: onLoopback,
	{ownServer, Held}: onLoopback, {ownServer, Accepted}: onLoopback,
}

// Differs reports whether a probe is listed to see another result in a way than it
// sees directly.
func Differs(probe, way string) bool {
	for what, probes := range seen {
		if slices.Contains(probes, probe) && differing[pair{what, way}] != "" {
			return true
		}
	}
	return false
}

// Conformance returns the table of the differences as docs/ways.md shows it.
func Conformance() string {
	p := page{columns: Ways()}
	p.table("as with a direct connection", Differences(), "; ", differing)
	return p.String()
}
