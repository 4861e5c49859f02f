// Package matrix says which program reaches the private network in which way
// (tier), and with which rights on the remote. A sentence gives the reason where it
// does not.
// test/e2e checks every cell in the lab, and docs/ways.md shows the tables.
package matrix

// The rights of the remote's user. "Without NET_ADMIN" is the default of containers,
// which also lack many other capabilities.
const (
	Root        = "root"
	Sudo        = "sudo"
	RootBare    = "root without NET_ADMIN"
	SudoBare    = "sudo without NET_ADMIN"
	RootNone    = "root without any capability"
	Neither     = "neither root nor sudo" // no capability, and no way to get one
	SealedHosts = "sudo, and a hosts file that is read-only"
)

// The tiers.
const (
	Names = "names"
	Proxy = "proxy"
	Tun   = "tun"
	Run   = "run"
)

// The clients.
const (
	Psql   = "psql"
	Curl   = "curl"
	Dig    = "dig"
	DigTCP = "dig +tcp"
	Ping   = "ping"
	Git    = "git over ssh"
	Npm    = "npm"
	Go     = "static Go binary"
	Musl   = "C with musl"
	Python = "Python"
	Java   = "Java"
	Node   = "Node"
	UDP    = "UDP echo"
	NTP    = "NTP query"
)

// Privileges lists the rights, from most to least.
func Privileges() []string {
	return []string{Root, Sudo, RootBare, SudoBare, SealedHosts, RootNone, Neither}
}

// Tiers lists the tiers.
func Tiers() []string { return []string{Names, Proxy, Tun, Run} }

// Clients lists the clients.
func Clients() []string {
	return []string{Psql, Curl, Git, Npm, Python, Java, Node, Go, Musl, Dig, DigTCP, UDP, NTP, Ping}
}

// pair is a tier and either rights or a client.
type pair struct{ of, tier string }

const (
	noFiles = "the user can edit neither the hosts file nor resolv.conf; each port of an exact name gets a port of 127.0.0.1 instead"
	noTun   = "a TUN device needs root or `sudo -n`, and NET_ADMIN"
	noProxy = "the program knows no proxy"
)

// lacking says which tiers do not work with some rights, and why.
var lacking = map[pair]string{
	{Neither, Names}: noFiles,
	{RootBare, Tun}:  noTun,
	{SudoBare, Tun}:  noTun,
	{RootNone, Tun}:  noTun,
	{Neither, Tun}:   noTun,
}

// unable says which clients cannot use a tier with any rights, and why.
var unable = map[pair]string{
	{Psql, Proxy}:   noProxy,
	{Musl, Proxy}:   noProxy,
	{Dig, Proxy}:    noProxy,
	{DigTCP, Proxy}: noProxy,
	{NTP, Proxy}:    noProxy,
	{Ping, Proxy}:   noProxy,
	{Ping, Names}:   "the name leads to a loopback address, which answers pings even if the host is down",
	{Ping, Run}:     "`causeway run` carries TCP and UDP only",
}

// Cell is one client that uses one tier with some rights.
type Cell struct{ Privilege, Tier, Client string }

// Cannot returns the reason why the cell does not work, or "" if it works.
func (c Cell) Cannot() string {
	if why := lacking[pair{c.Privilege, c.Tier}]; why != "" {
		return why
	}
	return unable[pair{c.Client, c.Tier}]
}

// Served reports whether the tier works with these rights.
func Served(privilege, tier string) bool { return lacking[pair{privilege, tier}] == "" }

// All returns every cell.
func All() (cells []Cell) {
	for _, p := range Privileges() {
		for _, t := range Tiers() {
			for _, c := range Clients() {
				cells = append(cells, Cell{p, t, c})
			}
		}
	}
	return cells
}

// Pairwise returns a selection of cells in which every two values of different kinds
// occur together. It cannot be smaller, because every right meets every client.
func Pairwise() (cells []Cell) {
	for i, p := range Privileges() {
		for j, c := range Clients() {
			cells = append(cells, Cell{p, Tiers()[(i+j)%len(Tiers())], c})
		}
	}
	return cells
}
