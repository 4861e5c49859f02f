// Package rpc is the control plane between a helper and the program that
// drives it: JSON-RPC 2.0 over stdio or a WebSocket, with link frames between
// the messages on the same pipe. It carries calls and enforces bounds. The gateway
// and the capture decide what the calls mean.
package rpc

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/resource"
)

// Versions of this protocol. A helper speaks Current and the one before it,
// since the two extensions and their helpers are updated separately.
const (
	Current = 1
	Oldest  = 1
)

// Methods that a driver calls. Those of both roles come first.
const (
	MethodInitialize   = "initialize"      // InitializeParams -> InitializeResult, before anything else
	MethodSetLogLevel  = "log/setLevel"    // LogLevelParams -> null
	MethodSessionClose = "session/close"   // null -> null: ends the session, not the helper
	MethodLinkOpen     = "link/open"       // LinkParams -> null: frames after the request and after the reply belong to the new link
	MethodLinkClose    = "link/close"      // LinkClosed -> null
	MethodLinkListen   = "link/listen"     // capture: null -> DirectLink: listen for direct links at this port of the host's loopback
	MethodLinkDial     = "link/dial"       // gateway: DirectLink -> null: keep direct links through this loopback port of the helper's machine
	MethodCancel       = "$/cancelRequest" // CancelParams, a notification, both ways

	MethodSessionOpen   = "session/open"      // gateway: GatewayOpenParams -> GatewayOpenResult; capture: CaptureOpenParams -> null
	MethodResourcesSet  = "resources/set"     // gateway: ResourcesParams -> ResourcesResult
	MethodApprovalsSet  = "approvals/answer"  // gateway: ApprovalAnswers -> ResourcesResult; refused over a WebSocket
	MethodResourceTest  = "resource/test"     // gateway: TestParams -> TestResult
	MethodHealthCheck   = "health/check"      // gateway: null -> GatewayStatus: tests the approved resources that have one host, gently
	MethodClientArgs    = "client/arguments"  // gateway: ClientParams -> ClientArguments
	MethodSessionStatus = "session/status"    // null -> GatewayStatus or CaptureStatus
	MethodFlowsWatch    = "flows/subscribe"   // gateway: null -> null: NotifyFlows from here on; a helper that does not have it answers "method not found"
	MethodFlowsIgnore   = "flows/unsubscribe" // gateway: null -> null

	// NotifyExit is a driver's last message: the end of the conversation also ends
	// the session. Without it the session waits for its driver to come back.
	NotifyExit = "exit"
)

// Notifications that a helper sends.
const (
	NotifyStatus     = "session/statusChanged" // GatewayStatus or CaptureStatus, at most four per second
	NotifyApprovals  = "approvals/changed"     // ResourcesResult
	NotifyFlows      = "flows/changed"         // FlowsDelta, to a driver that has subscribed: at most four per second, at least one
	NotifyLinkClosed = "link/closed"           // LinkClosed
	NotifyLog        = "log/message"           // LogMessage; on a WebSocket only: on stdio the log is stderr
)

// Error codes besides those of JSON-RPC 2.0 and LSP.
const (
	CodeVersion        = -32001 // no common protocol version; the message says which side to update
	CodeNotInitialized = -32002
	CodeUnauthorized   = -32003 // wrong or missing pairing token
	CodeNoSession      = -32004 // there is none, or none that could be resumed
	CodeBusy           = -32005 // too many calls at once, or a session is open already
	CodeNotAllowed     = -32006 // not over this transport
	CodeCancelled      = -32800
)

// Range is an inclusive range of protocol versions.
type Range struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// InitializeParams opens the conversation.
type InitializeParams struct {
	Protocol Range      `json:"protocol"`
	Client   ClientInfo `json:"client"`
	Token    string     `json:"token,omitempty"` // the pairing token; WebSocket only
}

// ClientInfo names the program that drives the helper.
type ClientInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// InitializeResult describes the helper, and says which version both speak from here on.
type InitializeResult struct {
	Protocol int        `json:"protocol"`
	Helper   HelperInfo `json:"helper"`
}

// HelperInfo describes the running helper.
type HelperInfo struct {
	Version string `json:"version"`
	Role    string `json:"role"` // "gateway" or "capture"
	OS      string `json:"os"`   // runtime.GOOS
	Arch    string `json:"arch"` // runtime.GOARCH
	PID     int    `json:"pid"`
}

// LogLevelParams sets the level: trace, debug, info, warn, error.
type LogLevelParams struct {
	Level string `json:"level"`
}

// LinkParams names the kind of the link that the driver offers: "command" or "exec".
type LinkParams struct {
	Kind string `json:"kind"`
}

// DirectLink is the port for direct links, on the loopback of the helper's machine.
type DirectLink struct {
	Port int `json:"port"`
}

// LinkClosed says why a link ended.
type LinkClosed struct {
	Reason string `json:"reason"`
}

// CancelParams names the request to cancel.
type CancelParams struct {
	ID json.RawMessage `json:"id"`
}

// GatewayOpenParams opens a session at the gateway. Lists and exits are the text of
// the settings, unchecked: the gateway validates them.
type GatewayOpenParams struct {
	Authority          string          `json:"authority"` // the remote, such as "ssh-remote+host" or "codespaces+name"
	Workspace          string          `json:"workspace"` // the URI of the workspace or first folder, may be empty
	Resources          json.RawMessage `json:"resources,omitempty"`
	WorkspaceResources json.RawMessage `json:"workspaceResources,omitempty"`
	Exits              json.RawMessage `json:"exits,omitempty"`
	Credentials        json.RawMessage `json:"credentials,omitempty"` // of proxies: an object from their URLs to {"user", "password"}; never logged, kept while the session lasts
	StrictProxy        bool            `json:"strictProxy,omitempty"` // the remote's proxy refuses targets that are not resources

	// The gateway resumes a session of the same authority and workspace that waits for
	// a driver.
	Fresh      bool `json:"fresh,omitempty"`      // opens another session instead
	ResumeOnly bool `json:"resumeOnly,omitempty"` // fails with CodeNoSession if there is none
	// ResumeSeconds is how long the session waits without a link or without a
	// driver. 0 means ten minutes; the limit is three hours.
	ResumeSeconds int `json:"resumeSeconds,omitempty"`
}

// GatewayOpenResult carries what the capture needs to join the session.
type GatewayOpenResult struct {
	Session string `json:"session"` // public identifier, hex
	Secret  string `json:"secret"`  // shared with the capture only, hex of 32 bytes
	Resumed bool   `json:"resumed,omitempty"`
	ResourcesResult
}

// ResourcesParams replaces both lists of an open session, the exits that they
// name, and the credentials for those.
type ResourcesParams struct {
	Resources          json.RawMessage `json:"resources,omitempty"`
	WorkspaceResources json.RawMessage `json:"workspaceResources,omitempty"`
	Exits              json.RawMessage `json:"exits,omitempty"`
	Credentials        json.RawMessage `json:"credentials,omitempty"` // as in GatewayOpenParams; absent: none
}

// ResourcesResult has the mistakes in the lists, and what waits for the user.
type ResourcesResult struct {
	Problems  []resource.Problem `json:"problems"`
	Approvals []Approval         `json:"approvals"`
}

// Approval is one resource that waits for the user's decision.
type Approval struct {
	ID          string       `json:"id"`   // digest of everything shown; an answer is valid for exactly this
	From        string       `json:"from"` // "user" or "workspace"
	Name        string       `json:"name"`
	Host        string       `json:"host"`
	Ports       []string     `json:"ports"`
	Protocols   []string     `json:"protocols"`
	Addresses   []string     `json:"addresses,omitempty"`
	As          string       `json:"as,omitempty"`
	Exit        string       `json:"exit,omitempty"` // its name and where it leads
	Programs    []string     `json:"programs,omitempty"`
	Description string       `json:"description,omitempty"`
	Change      string       `json:"change"` // "new" or "changed"
	Differences []Difference `json:"differences,omitempty"`
	Warnings    []string     `json:"warnings,omitempty"` // whole sentences
}

// Difference is one field that changed since the last approval.
type Difference struct {
	Field string `json:"field"`
	Was   string `json:"was"`
	Is    string `json:"is"`
}

// Decisions of an ApprovalAnswer.
const (
	DecisionAlways = "always" // for this authority and workspace, until it changes
	DecisionOnce   = "once"   // for this session
	DecisionNo     = "no"     // for this session
)

// ApprovalAnswers carries the user's decisions.
type ApprovalAnswers struct {
	Answers []ApprovalAnswer `json:"answers"`
}

// ApprovalAnswer is the decision on one approval.
type ApprovalAnswer struct {
	ID       string `json:"id"`
	Decision string `json:"decision"`
}

// States of a session, in the order in which it passes through them.
const (
	StateWaiting      = "waiting" // for a link and the capture
	StateConnected    = "connected"
	StateReconnecting = "reconnecting" // the link is lost, flows wait; Reason and Since say why and since when
	StateClosed       = "closed"       // Reason says why
)

// GatewayStatus is the whole state of a session, as the gateway knows it.
// Strings of the remote are already escaped and cut.
type GatewayStatus struct {
	State     string           `json:"state"`
	Reason    string           `json:"reason,omitempty"`
	Since     *time.Time       `json:"since,omitempty"` // when the link was lost
	Link      *LinkStatus      `json:"link,omitempty"`
	Flows     int              `json:"flows"`
	BytesUp   uint64           `json:"bytesUp"`   // from the remote to the private network
	BytesDown uint64           `json:"bytesDown"` // to the remote
	Proxy     string           `json:"proxy,omitempty"`
	Resources []ResourceStatus `json:"resources"`
	Notes     []string         `json:"notes,omitempty"`   // of the capture, such as "hosts file not writable: …"
	Trouble   []string         `json:"trouble,omitempty"` // what several resources have in common that do not work: whole sentences
}

// LinkStatus describes the link in use.
type LinkStatus struct {
	Kind   string  `json:"kind"`
	Links  int     `json:"links,omitempty"` // side by side; 0 means 1
	Millis float64 `json:"rttMillis"`
}

// States of a resource.
const (
	ResourcePending = "pending" // waits for approval
	ResourceDenied  = "denied"
	ResourceReady   = "ready"
	ResourceTrouble = "trouble" // Note says what
)

// ResourceStatus is one line of the view.
type ResourceStatus struct {
	Name      string   `json:"name"`
	Host      string   `json:"host"`
	Ports     []string `json:"ports"`
	As        string   `json:"as,omitempty"`
	Programs  []string `json:"programs,omitempty"` // the only programs whose connections it takes
	From      string   `json:"from"`
	State     string   `json:"state"`
	Served    []string `json:"served"`            // how the remote reaches it: "orders-db.corp.test:5432", "proxy"
	Address   string   `json:"address,omitempty"` // its address on the remote
	Note      string   `json:"note,omitempty"`    // what stands in the way, or what is not captured yet
	Flows     int      `json:"flows"`
	BytesUp   uint64   `json:"bytesUp"`
	BytesDown uint64   `json:"bytesDown"`
	LastError *Refusal `json:"lastError,omitempty"`
	Health    *Health  `json:"health,omitempty"`  // absent: it is not approved
	Clients   []Client `json:"clients,omitempty"` // programs that have the flows: those with the most flows first, at most 16
}

// Client is a program on the remote that has flows, as the remote says.
type Client struct {
	User    string `json:"user"`
	PID     uint32 `json:"pid,omitempty"`
	Program string `json:"program,omitempty"`
	Flows   int    `json:"flows"`
}

// ClientParams names a program that has flows to a resource.
type ClientParams struct {
	Resource string `json:"resource"`
	PID      uint32 `json:"pid"`
}

// ClientArguments is the command line of such a program, escaped; "" if the
// remote cannot tell. The driver shows it and must not keep it.
type ClientArguments struct {
	Arguments string `json:"arguments"`
}

// Refusal is the last failure of a flow to a resource.
type Refusal struct {
	Time   time.Time `json:"time"`
	Code   string    `json:"code"` // as tunnel.Code.String
	Reason string    `json:"reason"`
}

// TestParams names an approved resource by its name, and one of its ports
// (0: its first).
type TestParams struct {
	Resource string `json:"resource"`
	Port     int    `json:"port,omitempty"`
}

// TestResult reports each step, in order, up to the first that failed.
type TestResult struct {
	OK    bool       `json:"ok"`
	Steps []TestStep `json:"steps"`
}

// TestStep is one step of a test: "approval", "resolve", "judge", "connect", "tls".
type TestStep struct {
	Step   string  `json:"step"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail"`
	Hint   string  `json:"hint,omitempty"` // what to do next
	Millis float64 `json:"millis"`
}

// CaptureOpenParams joins the capture to a session.
type CaptureOpenParams struct {
	Session string `json:"session"`
	Secret  string `json:"secret"`
	// Resumed asks for a session that is here already; CodeNoSession if it is not.
	Resumed       bool `json:"resumed,omitempty"`
	ResumeSeconds int  `json:"resumeSeconds,omitempty"` // as in GatewayOpenParams
	// Window identifies the editor's window. When a window opens a session, its older
	// sessions that wait for a driver end: their gateway is gone.
	Window  string   `json:"window,omitempty"`
	Sources Sources  `json:"sources,omitzero"`
	Bridges []string `json:"bridges,omitempty"` // bridges of the remote whose containers are served too; at most MaxBridges
	// Users says who on the remote is served: "auto", "mine" or "everyone", or names
	// of users. None stands for "auto".
	Users []string `json:"users,omitempty"`
}

// MaxBridges bounds CaptureOpenParams.Bridges.
const MaxBridges = 8

// Sources says for each way of capturing connections whether the capture uses it.
// "" means SourceAuto.
type Sources struct {
	Names string `json:"names,omitempty"` // loopback addresses, found by the hosts file
	DNS   string `json:"dns,omitempty"`   // loopback addresses, found by a stub resolver in resolv.conf
	Tun   string `json:"tun,omitempty"`   // a TUN device
	Proxy string `json:"proxy,omitempty"` // SOCKS5 and HTTP
}

// Values of Sources.
const (
	SourceAuto = "auto" // if the remote permits it
	SourceOn   = "on"   // if the remote does not permit it, its resources are in trouble
	SourceOff  = "off"  // not used
)

// Check returns an error for the first value that is not valid.
func (s Sources) Check() error {
	for _, of := range []struct{ name, value string }{{"names", s.Names}, {"dns", s.DNS}, {"tun", s.Tun}, {"proxy", s.Proxy}} {
		switch of.value {
		case "", SourceAuto, SourceOn, SourceOff:
		default:
			return fmt.Errorf("%s must be auto, on or off, not %q", of.name, of.value)
		}
	}
	return nil
}

// CaptureStatus is the state of a session, as the capture knows it.
type CaptureStatus struct {
	State   string   `json:"state"`
	Reason  string   `json:"reason,omitempty"`
	Proxy   string   `json:"proxy,omitempty"`   // host:port of the SOCKS5 and HTTP proxy
	NoProxy []string `json:"noProxy,omitempty"` // names that must not go through the proxy, since they have an address of their own
	Notes   []string `json:"notes,omitempty"`
}

// LogMessage is one line of the helper's log.
type LogMessage struct {
	Level   string          `json:"level"`
	Message string          `json:"message"`
	Fields  json.RawMessage `json:"fields,omitempty"` // an object
}
