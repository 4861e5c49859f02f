package hostnet

import (
	"net/netip"

	"github.com/causeway-dev/causeway/helper/internal/kernelnet"
)

// routeProtocol marks our routes in the kernel's table.
const routeProtocol = 'c'

// ownRoutes lists the routes of this host, except those to the device at index.
func ownRoutes(index int) ([]ownRoute, error) {
	routes, err := kernelnet.Routes()
	if err != nil {
		return nil, err
	}
	var all []ownRoute
	for _, r := range routes {
		if r.Device != index {
			all = append(all, ownRoute{prefix: r.Prefix, via: r.Via, local: r.Local, twin: r.Protocol == routeProtocol})
		}
	}
	return all, nil
}

// changeRoute adds or removes the route to p by d.
func changeRoute(d *Device, add bool, p netip.Prefix) error {
	r := kernelnet.Route{Prefix: p, Device: d.Index, Protocol: routeProtocol}
	if add {
		return kernelnet.AddRoute(r)
	}
	return kernelnet.RemoveRoute(r)
}
