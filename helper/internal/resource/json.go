package resource

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// entry is the normal spelling of a settings entry.
type entry struct {
	Name        string   `json:"name"`
	Host        string   `json:"host"`
	Ports       []any    `json:"ports,omitempty"` // numbers, or strings for ranges and maps
	Protocols   []string `json:"protocols"`
	Addresses   []string `json:"addresses,omitempty"`
	As          string   `json:"as,omitempty"`
	Exit        string   `json:"exit,omitempty"`
	Resolve     string   `json:"resolve,omitempty"`
	Programs    []string `json:"programs,omitempty"`
	Description string   `json:"description,omitempty"`
}

// MarshalJSON returns the normal spelling of the settings entry.
func (r Resource) MarshalJSON() ([]byte, error) {
	e := entry{
		Name: r.Name, Host: r.Host.String(), Ports: make([]any, len(r.Ports)), Protocols: r.ProtocolStrings(),
		Addresses: r.AddressStrings(), As: r.As, Exit: r.Exit, Resolve: r.Resolve, Programs: r.Programs, Description: r.Description,
	}
	for i, p := range r.Ports {
		if p.Listen == 0 && p.First == p.Last {
			e.Ports[i] = p.First
		} else {
			e.Ports[i] = p.String()
		}
	}
	return json.Marshal(e)
}

// UnmarshalJSON reads a settings entry as Parse does. The error names every mistake.
func (r *Resource) UnmarshalJSON(b []byte) error {
	list, problems := Parse("", slices.Concat([]byte("["), b, []byte("]")))
	if len(problems) > 0 {
		texts := make([]string, len(problems))
		for i, p := range problems {
			texts[i] = strings.TrimPrefix(strings.TrimPrefix(p.Path, "[0]"), ".") + ": " + p.Message
		}
		return errors.New("resource: " + strings.Join(texts, "; "))
	}
	if len(list) != 1 {
		return errors.New("resource: want one object")
	}
	*r = list[0]
	return nil
}
