//go:build linux

package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// InfoFile is the name of the file in the lab's directory that describes the lab.
const InfoFile = "lab.json"

// Info is the content of lab.json. A service that was not started is nil.
type Info struct {
	ID  string `json:"id"`
	Dir string `json:"dir"`
	PID int    `json:"pid"`
	// Loopback says that all hosts are this machine: each service is at its Address,
	// which is 127.0.0.1, and no name resolves.
	Loopback bool                `json:"loopback"`
	Hosts    map[string]HostInfo `json:"hosts"`
	Users    map[string]User     `json:"users"`
	// Wrappers has the scripts of Options.Wrap by "HOST-BASENAME".
	Wrappers map[string]string `json:"wrappers,omitempty"`
	CAFile   string            `json:"caFile"` // certificate of the authority that signs corp's certificates

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

// DNSInfo describes corp's nameserver.
type DNSInfo struct {
	Address string `json:"address"` // IP address and port
	Zone    string `json:"zone"`
}

// PublicInfo describes a web server that is no resource. Cloud reaches it directly;
// laptop cannot reach it.
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

// NPMInfo describes the registry and a package that no other registry has.
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

// EchoInfo describes the servers of echo.go and has their ports by name.
type EchoInfo struct {
	Host    string         `json:"host"`
	Address string         `json:"address"`
	Ports   map[string]int `json:"ports"`
}

// NTPInfo describes the time server, which serves this machine's time.
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
	User          string `json:"user"`          // the user of the extension host
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
	// A reader that polls for the file must never see a part of it.
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
