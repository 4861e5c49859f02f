package consent

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/causeway-dev/causeway/helper/internal/netx"
	"github.com/causeway-dev/causeway/helper/internal/resource"
)

// manyPorts is the number of ports from which on the user is warned.
const manyPorts = 1000

// warnings returns the risks that the user should know before approving r.
func warnings(r resource.Resource) []string {
	var out []string
	warn := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	h := r.Host
	own, _ := netx.Interfaces() // on an error some warnings are missing
	switch h.Kind {
	case nethost.Name:
		if h.IsLocalhost() {
			warn("It reaches programs that listen on this machine for its own use.")
		}
	case nethost.Wildcard:
		if !strings.Contains(h.Name, ".") {
			warn("It covers every name that ends in .%s.", h.Name)
		}
	case nethost.Address:
		a := h.Prefix.Addr()
		if class := nethost.SpecialClass(a, own); class != "" {
			warn("%s is %s.", a, class)
		}
	case nethost.Prefix:
		switch bits, full := h.Prefix.Bits(), h.Prefix.Addr().BitLen(); {
		case bits == 0:
			warn("It covers every address there is, the whole Internet included.")
		case full == 32 && bits < 16:
			warn("It covers %d addresses.", uint64(1)<<(32-bits))
		case full == 128 && bits < 48:
			warn("It covers more than a whole site: every address whose first %d bits agree.", bits)
		}
	}
	for _, p := range r.Addresses {
		if class := nethost.SpecialClass(p.Addr(), own); class != "" && p.IsSingleIP() {
			warn("Its name may lead to %s, %s.", p.Addr(), class)
		}
	}
	if r.Resolve == resource.ByExit {
		warn("Its exit resolves the name, so Causeway judges no address. The proxy decides where the name leads, which may be its own loopback or a cloud's metadata.")
	}
	ports := 0
	for _, p := range r.Ports {
		ports += int(p.Last-p.First) + 1
	}
	switch {
	case ports >= 65535:
		warn("It covers all ports.")
	case ports >= manyPorts:
		warn("It covers %d ports.", ports)
	}
	if slices.Contains(r.Protocols, resource.ICMP) && (h.Kind == nethost.Prefix || h.Kind == nethost.Wildcard) {
		warn("The remote can find out by pings which hosts exist in %s.", h)
	}
	if r.OnLocalhost() {
		warn("%s", opened(r))
	} else if r.As != "" && !isPrivateName(r.As) {
		warn("Programs on the remote that ask for %s will be sent to %s.", r.As, h)
	}
	return out
}

// opened says where each port of the remote's localhost leads.
func opened(r resource.Resource) string {
	ports := make([]string, len(r.Ports))
	for i, p := range r.Ports {
		port, _ := p.Remote()
		ports[i] = fmt.Sprintf("localhost:%d leads to %s", port, net.JoinHostPort(r.Host.String(), strconv.Itoa(int(p.First))))
	}
	of := ""
	if r.Host.IsLocalhost() {
		of = " of this machine"
	}
	return "The remote's " + strings.Join(ports, of+", ") + of + ". Programs there that expect a service of the remote itself reach it too."
}

// isPrivateName reports whether a name lies in a domain that nobody owns on the Internet.
func isPrivateName(name string) bool {
	for _, d := range []string{".internal", ".test", ".local", ".lan", ".home.arpa", ".corp", ".example"} {
		if strings.HasSuffix(name, d) {
			return true
		}
	}
	return false
}
