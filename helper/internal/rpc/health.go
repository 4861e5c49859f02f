package rpc

import "time"

// States of Health.
const (
	HealthUnknown = "unknown" // neither used nor tested yet, or a test cannot tell
	HealthWorks   = "works"
	HealthFails   = "fails"
)

// Health says whether a resource works, as its last connection or test has shown.
type Health struct {
	State   string     `json:"state"`
	Step    string     `json:"step,omitempty"`   // the last step: "resolve", "judge", "connect"
	Detail  string     `json:"detail,omitempty"` // what that step found
	Hint    string     `json:"hint,omitempty"`   // what to do next
	Millis  float64    `json:"millis,omitempty"` // how long all steps took
	Since   time.Time  `json:"since"`            // of the state
	Checked *time.Time `json:"checked,omitempty"`
	Common  bool       `json:"common,omitempty"` // GatewayStatus.Trouble says why
}
