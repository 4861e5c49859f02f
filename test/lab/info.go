//go:build linux

package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// InfoFile is the name of the file in the lab's directory that says where
// everything is.
const InfoFile = "lab.json"

// Info is the content of lab.json. A part that was not raised is nil.
type Info struct {
	ID  string `json:"id"`
	Dir string `json:"dir"`
	PID int    `json:"pid"`
	// Loopback tells that all hosts are this machine: a service is at its Address,
	// which is 127.0.0.1, and no name resolves.
	Loopback bool                `json:"loopback"`
	Hosts    map[string]HostInfo `json:"hosts"`
	Users    map[string]User     `json:"users"`
	// Wrappers has, by "HOST-BASENAME", the scripts asked for by Options.Wrap.
	Wrappers map[string]string `json:"wrappers,omitempty"`
	CAFile   string            `json:"caFile"` // signs every certificate in corp

	DNS      *DNSInfo      `json:"dns"`
	Public   *PublicInfo   `json:"public"`
	Postgres *PostgresInfo `json:"postgres,omitempty"`
	NPM      *NPMInfo      `json:"npm,omitempty"`
	Web      *WebInfo      `json:"web,omitempty"`
	Git      *GitInfo      `json:"git,omitempty"`
	Echo     *EchoInfo     `json:"echo,omitempty"`
	NTP      *NTPInfo      `json:"ntp,omitempty"`
	SSH      *SSHInfo      `json:"ssh,omitempty"`
	Editor   *EditorInfo   `json:"editor,omitempty"`
}

// HostInfo describes one host.
type HostInfo struct {
	Namespace  string `json:"namespace"`
	Address    string `json:"address"`
	Exec       string `json:"exec"` // script: runs its arguments on the host as root
	HostsFile  string `json:"hostsFile"`
	ResolvConf string `json:"resolvConf"`
}

// DNSInfo describes corp's name server.
type DNSInfo struct {
	Address string `json:"address"` // IP address and port
	Zone    string `json:"zone"`
}

// PublicInfo describes a web server that is no resource: cloud reaches it by
// itself, laptop does not.
type PublicInfo struct {
	URL     string `json:"url"`
	Host    string `json:"host"`
	Address string `json:"address"`
}

// PostgresInfo describes the database; the table is orders.
type PostgresInfo struct {
	Host     string `json:"host"`
	Address  string `json:"address"`
	Port     int    `json:"port"`
	Database string `json:"database"`
	User     string `json:"user"`
	Password string `json:"password"`
}

// NPMInfo describes the registry and the package that only it has.
type NPMInfo struct {
	URL     string `json:"url"`
	Host    string `json:"host"`
	Address string `json:"address"`
	Port    int    `json:"port"`
	Package string `json:"package"`
	Version string `json:"version"`
	Node    string `json:"node"` // Node 24, which runs the registry
}

// WebInfo describes the web server; its paths are listed in web.go.
type WebInfo struct {
	Host      string `json:"host"`
	Address   string `json:"address"`
	HTTPPort  int    `json:"httpPort"`
	HTTPSPort int    `json:"httpsPort"`
}

// GitInfo describes the repository. SSHConfig is for ssh -F.
type GitInfo struct {
	URL       string `json:"url"`
	Host      string `json:"host"`
	Port      int    `json:"port"`
	SSHConfig string `json:"sshConfig"`
	KeyFile   string `json:"keyFile"` // belongs to the user dev; root can use it too
	Head      string `json:"head"`    // commit of the main branch
}

// EchoInfo describes the servers of echo.go, whose ports it has by name.
type EchoInfo struct {
	Host    string         `json:"host"`
	Address string         `json:"address"`
	Ports   map[string]int `json:"ports"`
}

// NTPInfo describes the time server, which has the machine's own time.
type NTPInfo struct {
	Host    string `json:"host"`
	Address string `json:"address"`
}

// SSHInfo describes sshd in cloud.
type SSHInfo struct {
	User      string `json:"user"`
	Address   string `json:"address"`
	Port      int    `json:"port"`
	SSHConfig string `json:"sshConfig"`
	KeyFile   string `json:"keyFile"`
}

// EditorInfo describes VS Code in cloud and the way to it from laptop.
type EditorInfo struct {
	URL           string `json:"url"` // for a browser in laptop
	Upstream      string `json:"upstream"`
	UserDataDir   string `json:"userDataDir"`
	ExtensionsDir string `json:"extensionsDir"`
	Workspace     string `json:"workspace"`
	User          string `json:"user"`          // who the extension host runs as
	RelaySocket   string `json:"relaySocket"`   // HTTP; see Relay
	ForwardSocket string `json:"forwardSocket"` // HTTP; see Forwarder
	Chromium      string `json:"chromium"`      // script: the browser, on laptop
}

func (l *Lab) writeInfo() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	text, err := json.MarshalIndent(l.info, "", "  ")
	if err != nil {
		return err
	}
	// A reader that polls for the file never sees half of it.
	path := filepath.Join(l.dir, InfoFile)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// ReadInfo reads the lab.json of a lab that is up.
func ReadInfo(dir string) (Info, error) {
	var i Info
	text, err := os.ReadFile(filepath.Join(dir, InfoFile))
	if err != nil {
		return i, err
	}
	return i, json.Unmarshal(text, &i)
}
