package capture

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/causeway-dev/causeway/helper/internal/capture/tun"
	"github.com/causeway-dev/causeway/helper/internal/offer"
	"github.com/causeway-dev/causeway/helper/internal/peer"
)

func (c *capture) compose() (peer.Report, Status) {
	offered := c.offered.Load().All
	r := peer.Report{Notes: slices.Clone(c.notes), Names: []peer.NameReport{}, Asks: true}
	c.mu.Lock()
	refused := strings.Join(c.refused, ", ")
	c.mu.Unlock()
	if refused != "" {
		r.Notes = append(r.Notes, "Connections of other users of the remote were refused: "+refused+
			". To serve them, set \"causeway.users\" (connect --users) to their names or to \"everyone\".")
	}
	if c.proxy != nil {
		r.Proxy = c.proxy.Addr().String()
	}
	status := Status{Proxy: r.Proxy}
	n := c.names.Report()
	r.Names = append(r.Names, n.Names...)
	r.Notes = append(r.Notes, n.Notes...)
	if c.o.Sources.Names == On && n.Hosts != nil {
		c.missing(r.Names, offered, "names", isExact, n.Hosts.Error())
	}
	if c.dns != nil {
		if note := c.dns.Note(); note != "" {
			r.Notes = append(r.Notes, note)
			if c.o.Sources.DNS == On {
				c.missing(r.Names, offered, "dns", isName, note)
			}
		}
	}
	if c.tun != nil {
		if note := addRoutes(r.Names, c.tun.Report(), c.o.Sources.Tun == On); c.o.Sources.Tun == On && note != "" {
			r.Notes = append(r.Notes, note)
		}
	}
	if c.o.Sources.Proxy == On && c.proxyErr != nil {
		c.missing(r.Names, offered, "proxy", func(*offer.Resource) bool { return true }, c.proxyErr.Error())
	}
	for i := range r.Names {
		n := &r.Names[i]
		if n.Address != "" && i < len(offered) {
			status.Names = append(status.Names, offered[i].Text)
		}
		if c.proxy != nil && (i >= len(offered) || !offered[i].Local) {
			n.Served = append(slices.Clip(n.Served), "proxy")
		}
		if len(n.Served) == 0 && n.Trouble == "" {
			n.Trouble = "what would serve it is off; \"causeway run\" carries addresses"
		}
	}
	for i, b := range c.bridges {
		said := b.Report()
		if said.Note != "" {
			r.Notes = append(r.Notes, said.Note)
		}
		for n := range said.Names[:min(len(said.Names), len(r.Names))] {
			if why := said.Names[n].Trouble; why != "" {
				addTrouble(&r.Names[n], "on "+c.o.Bridges[i]+": "+why)
			}
		}
	}
	fit(&r)
	status.Notes = r.Notes
	return r, status
}

// fit shortens a report that is too long for one message. Only a gateway whose
// resources list very many ports gets one.
func fit(r *peer.Report) {
	fits := func() bool {
		b, err := json.Marshal(r)
		return err == nil && len(b) < peer.MaxMessage
	}
	if fits() {
		return
	}
	for _, keep := range []int{32, 4, 1} { // entries, and as many times 32 bytes of text
		for i := range r.Names {
			n := &r.Names[i]
			n.Served = n.Served[:min(len(n.Served), keep)]
			n.Trouble = strings.ToValidUTF8(n.Trouble[:min(len(n.Trouble), 32*keep)], "")
		}
		if fits() {
			break
		}
	}
	if !fits() {
		r.Names = []peer.NameReport{}
	}
	r.Notes = append(r.Notes, "The resources list too many ports for one report: it is shortened")
}

// lacking follows the name of a source whose mode is On. The view looks for it.
const lacking = " is on, and cannot be had: "

// missing reports, at each resource that a source would serve, that its mode is On
// and that it is not available.
func (c *capture) missing(names []peer.NameReport, offered []*offer.Resource, source string, serves func(*offer.Resource) bool, why string) {
	for i := range names[:min(len(names), len(offered))] {
		if serves(offered[i]) {
			addTrouble(&names[i], source+lacking+why)
		}
	}
}

func addTrouble(n *peer.NameReport, trouble string) {
	if n.Trouble != "" {
		trouble += "; " + n.Trouble
	}
	n.Trouble = trouble
}

// isName tells whether a resource is a name or a wildcard.
func isName(r *offer.Resource) bool {
	_, wildcard := r.Domain()
	return wildcard || isExact(r)
}

func isExact(r *offer.Resource) bool {
	_, exact := r.Exact()
	return exact
}

// addRoutes adds what the TUN device serves to the report. For a moment the report
// may be about other resources. If the device should serve a resource and does not,
// addRoutes returns a sentence for the user.
func addRoutes(names []peer.NameReport, routes []tun.Route, must bool) (note string) {
	for i, r := range routes[:min(len(routes), len(names))] {
		if !r.Address {
			continue
		}
		names[i].Trouble = r.Trouble
		if r.Served {
			names[i].Served = append(slices.Clip(names[i].Served), "tun")
			continue
		}
		names[i].Trouble += "; use \"causeway run\" or the proxy"
		if must {
			names[i].Trouble = "tun" + lacking + names[i].Trouble
		}
		note = "Addresses are served under \"causeway run\" and by the proxy alone: " + r.Trouble
	}
	return note
}
