package rpc

import "time"

// FlowsDelta is what has changed since the one before it. A driver keeps what it was told:
// rows by their ids, and of questions and refusals the newest. Strings of the remote are
// escaped and cut.
type FlowsDelta struct {
	Time      time.Time   `json:"time"`            // by the helper's clock
	Reset     bool        `json:"reset,omitempty"` // forget everything that was told before
	Link      *LinkStatus `json:"link,omitempty"`  // nil without a link
	BytesUp   uint64      `json:"bytesUp"`         // of the session, from the remote
	BytesDown uint64      `json:"bytesDown"`
	Flows     []Flow      `json:"flows,omitempty"`     // new ones, and those that changed in more than their counts; at most 1000
	Counts    [][3]uint64 `json:"counts,omitempty"`    // id, bytesUp and bytesDown of the others that have moved bytes
	Gone      []uint64    `json:"gone,omitempty"`      // ids of flows that the helper has forgotten; it keeps the last 500 that ended
	Questions []Question  `json:"questions,omitempty"` // the helper keeps the last 500
	Refusals  []Refused   `json:"refusals,omitempty"`  // new ones, and those that have happened again; the helper keeps the last 200
}

// States of a Flow.
const (
	FlowOpening = "opening" // looking up, being judged, dialling
	FlowOpen    = "open"
	FlowClosed  = "closed"
	FlowFailed  = "failed" // Code and Reason say why
)

// Flow is one connection, UDP exchange or ping. The times are in ms since Began; 0 stands
// for a step that it has not reached.
type Flow struct {
	ID        uint64    `json:"id"`
	Began     time.Time `json:"began"`
	Network   string    `json:"network"` // "tcp", "udp" or "icmp"
	Host      string    `json:"host"`    // as the program spelled it
	Port      uint16    `json:"port,omitempty"`
	Address   string    `json:"address,omitempty"` // dialled
	Resource  string    `json:"resource"`
	Way       string    `json:"way"` // of the remote: "names", "tun", "socks", "http", "run", "bridge"
	User      string    `json:"user,omitempty"`
	PID       uint32    `json:"pid,omitempty"`
	Program   string    `json:"program,omitempty"`
	State     string    `json:"state"`
	Code      string    `json:"code,omitempty"`
	Reason    string    `json:"reason,omitempty"` // why it ended, if not in order
	BytesUp   uint64    `json:"bytesUp"`
	BytesDown uint64    `json:"bytesDown"`
	LookedUp  float64   `json:"lookedUp,omitempty"`
	Judged    float64   `json:"judged,omitempty"`
	Dialled   float64   `json:"dialled,omitempty"`
	FirstByte float64   `json:"firstByte,omitempty"` // from the target
	Ended     float64   `json:"ended,omitempty"`
}

// Question is one question for a name that has reached the gateway.
type Question struct {
	ID       uint64    `json:"id"`
	Time     time.Time `json:"time"`
	Name     string    `json:"name"`
	Type     string    `json:"type"` // of the record, or "address"
	Answer   string    `json:"answer"`
	OK       bool      `json:"ok"` // Answer has records; otherwise it says why there are none
	Resource string    `json:"resource,omitempty"`
	From     string    `json:"from,omitempty"` // "cache" or an exit; absent: the resolver of the gateway's machine
	Way      string    `json:"way"`
	User     string    `json:"user,omitempty"`
	PID      uint32    `json:"pid,omitempty"`
	Program  string    `json:"program,omitempty"`
	Millis   float64   `json:"millis"`
}

// Refused is a flow or question that the gateway or the target refused, and how often.
type Refused struct {
	ID       uint64    `json:"id"`
	Time     time.Time `json:"time"` // of the last one
	Count    int       `json:"count"`
	Network  string    `json:"network"` // also "lookup" and "dns"
	Host     string    `json:"host"`
	Port     uint16    `json:"port,omitempty"` // of a "dns" one the type of the record
	Resource string    `json:"resource,omitempty"`
	Way      string    `json:"way"`
	User     string    `json:"user,omitempty"`
	PID      uint32    `json:"pid,omitempty"`
	Program  string    `json:"program,omitempty"`
	Code     string    `json:"code"` // as tunnel.Code.String
	Reason   string    `json:"reason"`
	Waiting  string    `json:"waiting,omitempty"` // a resource that would cover it, and is not approved
}
