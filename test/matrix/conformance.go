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

// What programs see, apart from what is the same in every way.
const (
	refusals  = "TCP: the service refuses, is not there or does not answer"
	udpClosed = "UDP: nobody listens on the port"
	six       = "IPv6: the name has an IPv6 address too"
	multipath = "Multipath TCP sockets"
	ownAddr   = "the program's own address is not a loopback address"
	farAddr   = "the address of the name is not a loopback address"
	ownServer = "your own server has, or takes, the same port on all addresses"
	otherUser = "programs of other users, with `causeway.users` at `everyone`"
	forget    = "programs that send and close at once"
	sources   = "2,000 UDP questions from fresh sockets"
	nestedDNS = "DNS in nested containers, which get the nameservers that are not on loopback"
)

// Seen lists it.
func Seen() []string {
	return []string{forget, sources, nestedDNS, refusals, otherUser, udpClosed, six, farAddr, ownServer, multipath, ownAddr}
}

// seen has the probes of helper/internal/capture/run that show each of them.
var seen = map[string][]string{
	refusals:  {"blocking refused", "poll refused", "epoll refused", "refused, then again", "send time-out", "unreachable"},
	udpClosed: {"udp refused"},
	six:       {"blocking6", "poll6", "names6", "udp6", "v6only"},
	multipath: {"multipath"},
	ownAddr:   {"own address"},
	farAddr:   {"far address"},
	ownServer: {"own server", "own server first"},
	otherUser: {"other user"},
	forget:    {"fire and forget"},
	sources:   {"many udp sources"},
	nestedDNS: {"nested dns"},
}

const (
	early      = "Causeway accepts the connection before it knows; the program then sees a reset"
	noError    = "the program gets no error, only no answer"
	onLoopback = "names have an IPv4 loopback address, on whose ports Causeway listens"
	byLoopback = "the supervisor joins program and capture by a loopback connection"
	ownUser    = "`causeway run` serves your own user only"
	noMultiple = "a connect does not end; use a plain TCP socket"
)

// differing says in which ways it is not as directly, and why.
var differing = map[pair]string{
	{refusals, Accepted}:  early,
	{udpClosed, Accepted}: noError, {udpClosed, Run}: noError,
	{six, Held}: onLoopback, {six, Accepted}: onLoopback,
	{otherUser, Run}:  ownUser,
	{multipath, Held}: noMultiple,
	{ownAddr, Held}:   onLoopback, {ownAddr, Accepted}: onLoopback, {ownAddr, Run}: byLoopback,
	{farAddr, Held}: onLoopback, {farAddr, Accepted}: onLoopback,
	{ownServer, Held}: onLoopback, {ownServer, Accepted}: onLoopback,
}

// Probes returns the probes that show a row.
func Probes() (all []string) {
	for _, what := range Seen() {
		all = append(all, seen[what]...)
	}
	return all
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

// Conformance returns the table of what programs see as docs/ways.md shows it.
func Conformance() string {
	p := page{columns: Ways()}
	p.table("as with a direct connection", Seen(), "; ", differing)
	return p.String()
}
