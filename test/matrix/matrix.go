// Package matrix says which program reaches the private network by which tier,
// and with which rights on the remote; where it cannot, one sentence says why.
// test/e2e holds every cell against the lab, and README.md shows the tables.
package matrix

import (
	"fmt"
	"slices"
	"strings"
)

// The rights that a remote may give. Without NET_ADMIN means as containers are by
// default: a good part of the other capabilities is missing as well.
const (
	Root        = "root"
	Sudo        = "sudo"
	RootBare    = "root without NET_ADMIN"
	SudoBare    = "sudo without NET_ADMIN"
	RootNone    = "root without any capability"
	Neither     = "neither root nor sudo" // nor a capability, nor a way to one
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

// Privileges lists the rights, the most of them first.
func Privileges() []string {
	return []string{Root, Sudo, RootBare, SudoBare, SealedHosts, RootNone, Neither}
}

// Tiers lists the tiers.
func Tiers() []string { return []string{Names, Proxy, Tun, Run} }

// Clients lists the clients.
func Clients() []string {
	return []string{Psql, Curl, Git, Npm, Python, Java, Node, Go, Musl, Dig, DigTCP, UDP, NTP, Ping}
}

// pair is a tier with rights or a client.
type pair struct{ of, tier string }

const (
	noFiles = "neither the hosts file nor resolv.conf may be edited"
	noTun   = "a TUN device takes root or `sudo -n`, and NET_ADMIN"
	noProxy = "the program speaks no proxy protocol"
)

// lacking has what a tier does not get by some rights.
var lacking = map[pair]string{
	{Neither, Names}: noFiles,
	{RootBare, Tun}:  noTun,
	{SudoBare, Tun}:  noTun,
	{RootNone, Tun}:  noTun,
	{Neither, Tun}:   noTun,
}

// unable has what a client cannot do by a tier, whatever the rights.
var unable = map[pair]string{
	{Psql, Proxy}:   noProxy,
	{Musl, Proxy}:   noProxy,
	{Dig, Proxy}:    noProxy,
	{DigTCP, Proxy}: noProxy,
	{NTP, Proxy}:    noProxy,
	{Ping, Proxy}:   noProxy,
	{Ping, Names}:   "the name's loopback address answers by itself, whether the host does or not",
	{Ping, Run}:     "only TCP and UDP are carried",
}

// Cell is one client by one tier under some rights.
type Cell struct{ Privilege, Tier, Client string }

// Cannot says in a sentence why the cell does not work, or "" if it does.
func (c Cell) Cannot() string {
	if why := lacking[pair{c.Privilege, c.Tier}]; why != "" {
		return why
	}
	return unable[pair{c.Client, c.Tier}]
}

// Served tells whether the tier is to be had under these rights.
func Served(privilege, tier string) bool { return lacking[pair{privilege, tier}] == "" }

// All is the whole matrix.
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

// Pairwise is a selection in which each two values of different kinds meet. As
// each right meets each client there, it cannot be smaller.
func Pairwise() (cells []Cell) {
	for i, p := range Privileges() {
		for j, c := range Clients() {
			cells = append(cells, Cell{p, Tiers()[(i+j)%len(Tiers())], c})
		}
	}
	return cells
}

// Markdown is the matrix as README.md shows it: which rights give a tier, which
// programs get through by it, and why not. What is alike shares a row.
func Markdown() string {
	var b strings.Builder
	var sentences []string
	mark := func(why string) string {
		if why == "" {
			return "✓"
		}
		if !slices.Contains(sentences, why) {
			sentences = append(sentences, why)
		}
		return "– " + string([]rune("¹²³⁴⁵⁶⁷⁸⁹")[slices.Index(sentences, why)])
	}
	table := func(title string, rows []string, separator string, cannot map[pair]string) {
		fmt.Fprintf(&b, "| %s | %s |\n|---%s|\n", title, strings.Join(Tiers(), " | "), strings.Repeat("|:-:", len(Tiers())))
		var kinds []string
		alike := map[string][]string{}
		for _, row := range rows {
			var each []string
			for _, t := range Tiers() {
				each = append(each, mark(cannot[pair{row, t}]))
			}
			marks := strings.Join(each, " | ")
			if alike[marks] == nil {
				kinds = append(kinds, marks)
			}
			alike[marks] = append(alike[marks], row)
		}
		for _, marks := range kinds {
			fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(alike[marks], separator), marks)
		}
		b.WriteString("\n")
	}
	table("the remote's user has", Privileges(), "; ", lacking)
	table("program", Clients(), ", ", unable)
	for i, s := range sentences {
		fmt.Fprintf(&b, "%d. %s.\n", i+1, strings.ToUpper(s[:1])+s[1:])
	}
	return b.String()
}
