//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/shim"
	"github.com/miekg/dns"
)

// The office is a network that only a WireGuard peer reaches. Its only host is
// the peer itself.
const (
	officeAddr = "10.99.0.1"
	memberAddr = "10.99.0.2"
	officeSix  = "fd99::1"
	memberSix  = "fd99::2"
	officePort = 51820
)

const officeResources = `[
	{"name": "inside", "host": "inside.office.test", "ports": [80, 81], "exit": "office"},
	{"name": "echo", "host": "echo.office.test", "ports": [7], "protocols": ["udp"], "exit": "office"},
	{"name": "nowhere", "host": "nowhere.office.test", "ports": [80], "exit": "office"},
	{"name": "address", "host": "10.99.0.1", "ports": [80], "protocols": ["tcp", "icmp"], "exit": "office"},
	{"name": "inside six", "host": "six.office.test", "ports": [80, 81], "exit": "office"},
	{"name": "echo six", "host": "six.office.test", "ports": [7], "protocols": ["udp"], "exit": "office"},
	{"name": "address six", "host": "fd99::1", "ports": [7, 80], "protocols": ["tcp", "udp", "icmp"], "exit": "office"},
	{"name": "nobody", "host": "10.99.0.9", "protocols": ["icmp"], "exit": "office"},
	{"name": "lies", "host": "*.lies.office.test", "ports": [80], "exit": "office"},
	{"name": "web", "host": "web.corp.test", "ports": [80]}
]`

// keyPair returns a private and a public key, of WireGuard's own making.
func keyPair(t *testing.T) (private, public string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "wg", "genkey").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "wg", "pubkey")
	cmd.Stdin = strings.NewReader(string(out))
	pub, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), strings.TrimSpace(string(pub))
}

// raiseOffice starts the office on host with Debian's WireGuard, and what it
// serves. It returns its public key and its process. member is the key of its
// only other peer.
func raiseOffice(t *testing.T, host *lab.Host, member string) (key string, peer *os.Process) {
	t.Helper()
	private, public := keyPair(t)
	file := filepath.Join(t.TempDir(), "key")
	mustWrite(t, file, private+"\n")
	// The socket by which wg(8) configures it is in a folder of all namespaces.
	device := fmt.Sprintf("cw%d", os.Getpid())
	run := func(argv ...string) error {
		out, err := host.Command(t.Context(), argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
		}
		return nil
	}
	cmd := exec.Command("ip", "netns", "exec", host.NS, "wireguard-go", "--foreground", device)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	set := []string{"wg", "set", device, "listen-port", fmt.Sprint(officePort), "private-key", file, "peer", member, "allowed-ips", memberAddr + "/32," + memberSix + "/128"}
	err := run(set...)
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); err = run(set...) {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"ip addr add " + officeAddr + "/24 dev " + device, "ip addr add " + officeSix + "/64 nodad dev " + device, "ip link set " + device + " up mtu 1420"} {
		if err := run(strings.Fields(line)...); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range []string{officeAddr, officeSix} {
		serveOffice(t, host, a)
	}
	serveOfficeNames(t, host)
	return public, cmd.Process
}

// serveOffice serves HTTP and an echo by UDP at an address of the office.
func serveOffice(t *testing.T, host *lab.Host, address string) {
	t.Helper()
	web, err := host.Listen("tcp", net.JoinHostPort(address, "80"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.Copy(w, r.Body)
			return
		}
		_, _ = io.WriteString(w, "inside")
	})}
	go func() { _ = server.Serve(web) }()
	t.Cleanup(func() { _ = server.Close() })

	echo, err := host.ListenPacket("udp", net.JoinHostPort(address, "7"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = echo.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := echo.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(b[:n], from)
		}
	}()
}

// officeZone is what the office's name server knows, and what it lies about.
var officeZone = strings.NewReplacer("@6", officeSix, "@", officeAddr).Replace(`
inside.office.test.        5 IN A     @
inside.office.test.        5 IN TXT   "the office"
inside.office.test.        5 IN MX    10 inside.office.test.
inside.office.test.        5 IN CAA   0 issue "ca.office.test"
inside.office.test.        5 IN HTTPS 1 . alpn="h2"
echo.office.test.          5 IN A     @
six.office.test.           5 IN AAAA  @6
1.0.99.10.in-addr.arpa.    5 IN PTR   inside.office.test.
here.lies.office.test.     5 IN A     127.0.0.1
metadata.lies.office.test. 5 IN A     169.254.169.254
`)

func serveOfficeNames(t *testing.T, host *lab.Host) {
	t.Helper()
	pc, err := host.ListenPacket("udp", officeAddr+":53")
	if err != nil {
		t.Fatal(err)
	}
	var zone []dns.RR
	p := dns.NewZoneParser(strings.NewReader(officeZone), ".", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		zone = append(zone, rr)
	}
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	names := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetRcode(q, dns.RcodeNameError)
		for _, rr := range zone {
			if !strings.EqualFold(rr.Header().Name, q.Question[0].Name) {
				continue
			}
			m.Rcode = dns.RcodeSuccess
			if rr.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = names.ActivateAndServe() }()
	t.Cleanup(func() { _ = names.Shutdown() })
}

// exitsFile writes a profile and the exits that name it.
func exitsFile(t *testing.T, private, public, endpoint string) string {
	t.Helper()
	dir := t.TempDir()
	profile := fmt.Sprintf("[Interface]\nPrivateKey = %s\nAddress = %s/24, %s/64\nDNS = %s\n\n[Peer]\nPublicKey = %s\nEndpoint = %s\nAllowedIPs = 10.99.0.0/24, fd99::/64\nPersistentKeepalive = 5\n",
		private, memberAddr, memberSix, officeAddr, public, endpoint)
	if err := os.WriteFile(filepath.Join(dir, "office.conf"), []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "exits.json")
	if err := os.WriteFile(file, []byte(`{"office": {"type": "wireguard", "file": "office.conf"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWireGuardExit(t *testing.T) {
	private, member := keyPair(t)
	public, office := raiseOffice(t, world.Corp, member)
	peer := fmt.Sprintf("10.77.0.1:%d", officePort)
	for _, a := range []string{officeAddr, officeSix} {
		if c, err := world.Laptop.Dial(t.Context(), "tcp", net.JoinHostPort(a, "80")); err == nil {
			_ = c.Close()
			t.Fatal("laptop reaches the office by itself")
		}
	}
	t.Run("reaches what only the peer reaches", func(t *testing.T) {
		s := connect(t, officeResources, "--exits", exitsFile(t, private, public, peer))
		for _, c := range []struct{ what, script, want string }{
			{"TCP by name", "curl -sS -m 10 http://inside.office.test/", "inside"},
			{"an address", "curl -sS -m 10 -x http://" + s.Proxy + " http://10.99.0.1/", "inside"},
			{"ping", "ping -c 3 -i 0.2 -W 10 10.99.0.1 | grep -o '3 received'", "3 received"},
			{"large pings", "for i in 1 2 3 4; do ping -c 1 -s 20000 -p a5 -W 10 10.99.0.1 | grep -o '20008 bytes from 10.99.0.1' & done; wait",
				strings.TrimSpace(strings.Repeat("20008 bytes from 10.99.0.1\n", 4))},
			{"ping of nobody", "ping -c 1 -W 3 10.99.0.9 | grep -oE '^.* from .*$|[0-9] received'", "0 received"},
			{"another exit", "curl -sS -m 10 -o /dev/null -w '%{http_code}' http://web.corp.test/", "200"},
			{"refused", "curl -sS -m 10 -o /dev/null -w '%{http_code}' -x http://" + s.Proxy + " http://inside.office.test:81/", "502"},
			{"no such name", "curl -sS -m 10 -x http://" + s.Proxy + " http://nowhere.office.test/ | grep -c 'no address'", "1"},
			{"UDP", `python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)
s.sendto(b"hello", ("echo.office.test", 7)); print(s.recv(100).decode())'`, "hello"},
			{"IPv6 by name", "curl -sS -m 10 http://six.office.test/", "inside"},
			{"IPv6 by the proxy", "curl -sS -m 10 -x http://" + s.Proxy + " 'http://[fd99::1]/'", "inside"},
			{"IPv6 refused", "curl -sS -m 10 -o /dev/null -w '%{http_code}' -x http://" + s.Proxy + " http://six.office.test:81/", "502"},
			{"IPv6 from end to end", "curl -sS -m 10 'http://[fd99::1]/'", "inside"},
			{"UDP to an IPv6 name", "python3 -c '" + udpEcho + "' six.office.test", "echoed"},
			{"UDP over IPv6", "python3 -c '" + strings.Replace(udpEcho, "AF_INET,", "AF_INET6,", 1) + "' fd99::1", "echoed"},
			{"ping over IPv6", "ping -c 3 -i 0.2 -W 10 fd99::1 | grep -o '3 received'", "3 received"},
			{"16 MiB each way", `head -c 16777216 /dev/urandom > /tmp/sent.$$
curl -sS -m 50 --data-binary @/tmp/sent.$$ http://inside.office.test/ | cmp - /tmp/sent.$$ && echo same; rm /tmp/sent.$$`, "same"},
		} {
			t.Run(c.what, func(t *testing.T) {
				if out, err := cloud(t, time.Minute, c.script); out != c.want {
					t.Errorf("%q (%v), want %q", out, err, c.want)
				}
			})
		}
	})
	t.Run("goes on when the laptop's address changes", func(t *testing.T) {
		connect(t, officeResources, "--exits", exitsFile(t, private, public, peer))
		done := make(chan string, 1)
		begun := filepath.Join(world.Info().Users[lab.Dev].Home, "begun")
		go func() {
			out, err := cloud(t, 40*time.Second, `exec python3 - <<'PY'
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
s.connect(("echo.office.test", 7))
def said(n):
    for i in range(20):
        s.send(b"%d" % n)
        try:
            if s.recv(100) == b"%d" % n: return
        except TimeoutError: pass
    raise SystemExit("silence after %d" % n)
said(1)
open("`+begun+`", "w").close()
for n in range(2, 40): said(n); time.sleep(0.05)
print("goes on")
PY`)
			done <- fmt.Sprint(out, " ", err)
		}()
		defer os.Remove(begun)
		eventually(t, 15*time.Second, "the exchange begins", func() bool { _, err := os.Stat(begun); return err == nil })
		move := func(from, to string) {
			t.Helper()
			// With an address go its routes.
			script := "ip addr del " + from + "/24 dev corp && ip addr add " + to + "/24 dev corp && ip route add 10.77.8.0/24 via 10.77.0.1 && ip route add 10.77.9.0/24 via 10.77.0.1"
			if out, err := world.Laptop.Command(context.WithoutCancel(t.Context()), "sh", "-c", script).CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
		}
		move("10.77.0.2", "10.77.0.222")
		defer move("10.77.0.222", "10.77.0.2")
		if out := <-done; out != "goes on <nil>" {
			t.Error(out)
		}
	})
	t.Run("its own records", func(t *testing.T) {
		connect(t, officeResources, "--exits", exitsFile(t, private, public, peer))
		for q, want := range map[string]string{
			"inside.office.test TXT":      `NOERROR|inside.office.test. IN TXT "the office"`,
			"inside.office.test MX":       "NOERROR|inside.office.test. IN MX 10 inside.office.test.",
			"inside.office.test CAA":      `NOERROR|inside.office.test. IN CAA 0 issue "ca.office.test"`,
			"inside.office.test HTTPS":    `NOERROR|inside.office.test. IN HTTPS 1 . alpn="h2"`,
			"inside.office.test SRV":      "NOERROR",
			"inside.office.test AAAA":     "NOERROR",
			"inside.office.test ANY":      `NOERROR|inside.office.test. IN HINFO "RFC8482" ""`,
			"nowhere.office.test TXT":     "NXDOMAIN",
			"1.0.99.10.in-addr.arpa PTR":  "NOERROR|1.0.99.10.in-addr.arpa. IN PTR inside.office.test.",
			"here.lies.office.test A":     "REFUSED",
			"metadata.lies.office.test A": "REFUSED",
			"gone.lies.office.test A":     "NXDOMAIN",
		} {
			if got := strings.ReplaceAll(dig(t, world.Cloud, strings.Fields(q)...), "\n", "|"); got != want {
				t.Errorf("%s: %s, want %s", q, got, want)
			}
		}
	})
	t.Run("from the editor's settings", func(t *testing.T) {
		profile := filepath.Join(filepath.Dir(exitsFile(t, private, public, peer)), "office.conf")
		driveWith(t, shim.Settings{Resources: officeResources, Exits: fmt.Sprintf(`{"office": {"type": "wireguard", "file": %q}}`, profile)})
		if out := mustCloud(t, 20*time.Second, "curl -sS -m 10 http://inside.office.test/"); out != "inside" {
			t.Errorf("%q", out)
		}
	})
	stranger, _ := keyPair(t)
	for what, file := range map[string]string{
		"a wrong key":   exitsFile(t, stranger, public, peer),
		"a silent peer": exitsFile(t, private, public, "10.77.9.1:51820"),
	} {
		t.Run(what, func(t *testing.T) {
			s := connect(t, officeResources, "--exits", file)
			start := time.Now()
			out, _ := cloud(t, 20*time.Second, "curl -sS -m 15 -w ' %{http_code}' -x http://"+s.Proxy+" http://10.99.0.1/")
			if took := time.Since(start); took > 10*time.Second || !strings.Contains(out, "no WireGuard peer answers") || !strings.HasSuffix(out, " 504") {
				t.Errorf("after %s: %q", took, out)
			}
			for _, kind := range []string{"A", "TXT"} {
				if got := dig(t, world.Cloud, "inside.office.test", kind); got != "SERVFAIL" {
					t.Errorf("%s: %s", kind, got)
				}
			}
			// Longer than the handshake is waited for.
			if what == "a wrong key" {
				return // silent too
			}
			if out, _ := cloud(t, 20*time.Second, "ping -c 1 -W 11 10.99.0.1 | grep -oiE '^.*from .*$|[0-9] received'"); out != "0 received" {
				t.Errorf("a ping: %q", out)
			}
		})
	}
	t.Run("a peer that falls silent", func(t *testing.T) {
		s := connect(t, officeResources, "--exits", exitsFile(t, private, public, peer))
		if out := mustCloud(t, 20*time.Second, "curl -sS -m 10 http://inside.office.test/"); out != "inside" {
			t.Fatalf("%q", out)
		}
		// By another way, as the proxy keeps a connection for who asks again.
		curl := "curl -sS -m 15 -w ' %{http_code}' -x http://" + s.Proxy + " http://10.99.0.1/"
		_ = office.Signal(syscall.SIGSTOP)
		defer func() { _ = office.Signal(syscall.SIGCONT) }()
		start := time.Now()
		out, _ := cloud(t, 20*time.Second, curl)
		if took := time.Since(start); took > 10*time.Second || !strings.Contains(out, "the WireGuard peer does not answer any more") || !strings.HasSuffix(out, " 504") {
			t.Errorf("after %s: %q", took, out)
		}
		_ = office.Signal(syscall.SIGCONT)
		eventually(t, 20*time.Second, "it goes on", func() bool {
			out, _ := cloud(t, 20*time.Second, curl)
			return out == "inside 200"
		})
	})
}

// TestWireGuardWithoutPrivilege has a user without rights for its gateway, which
// makes no interface.
func TestWireGuardWithoutPrivilege(t *testing.T) {
	private, member := keyPair(t)
	public, _ := raiseOffice(t, world.Corp, member)
	dir := filepath.Dir(exitsFile(t, private, public, fmt.Sprintf("10.77.0.1:%d", officePort)))
	mustWrite(t, filepath.Join(dir, "resources.json"), officeResources)
	dev, home := handOver(t, dir)
	interfaces := func() string {
		t.Helper()
		out, err := world.Laptop.Command(t.Context(), "ip", "-o", "addr").CombinedOutput()
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
		return string(out)
	}
	before := interfaces()
	begin(t, world.Laptop.CommandAs(context.Background(), dev, helper, append([]string{"connect", "--events=json",
		"--resources", filepath.Join(home, "resources.json"), "--exits", filepath.Join(home, "exits.json"), "--"}, sshLink()...)...))
	if out := mustCloud(t, 20*time.Second, "curl -sS -m 10 http://inside.office.test/"); out != "inside" {
		t.Errorf("%q", out)
	}
	if now := interfaces(); now != before {
		t.Errorf("laptop has\n%s\nwhere it had\n%s", now, before)
	}
}

// handOver gives the developer's user a copy of dir.
func handOver(t *testing.T, dir string) (dev lab.User, home string) {
	t.Helper()
	dev = world.Info().Users[lab.Dev]
	home = filepath.Join(dev.Home, "given")
	err := os.CopyFS(home, os.DirFS(dir))
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	err = errors.Join(err, filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, dev.UID, dev.GID))
	}))
	if err != nil {
		t.Fatal(err)
	}
	return dev, home
}

// TestCaptureAlone has no developer's machine: the profile is used on cloud.
func TestCaptureAlone(t *testing.T) {
	private, member := keyPair(t)
	public, _ := raiseOffice(t, world.Internet, member)
	// The peer's own name is one of the office's, which only the peer leads to.
	exits := exitsFile(t, private, public, fmt.Sprintf("%s:%d", lab.PublicName, officePort))
	dir := filepath.Dir(exits)
	list := `[{"name": "inside", "host": "*.office.test", "ports": [80, 81]}, {"host": "echo.office.test", "ports": [7], "protocols": ["udp"]},
		{"host": "*.example.test", "ports": [443]}, {"host": "` + lab.PublicName + `", "ports": [443]}]`
	if err := os.WriteFile(filepath.Join(dir, "resources.json"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	dev, home := handOver(t, dir)
	hosts := hostsFile(t)
	s := begin(t, world.Cloud.CommandAs(context.Background(), dev, helper, "capture", "--events=json",
		"--exit", filepath.Join(home, "office.conf"), "--resources", filepath.Join(home, "resources.json")))
	if out := mustCloud(t, 20*time.Second, "curl -sS -m 10 http://inside.office.test/"); out != "inside" {
		t.Errorf("%q", out)
	}
	if out := mustCloud(t, 20*time.Second, "python3 -c '"+udpEcho+"' echo.office.test"); out != "echoed" {
		t.Errorf("%q", out)
	}
	for q, want := range map[string]string{
		"inside.office.test TXT":      `NOERROR|inside.office.test. IN TXT "the office"`,
		"gone.office.test A":          "NXDOMAIN",
		"here.lies.office.test A":     "REFUSED",
		"metadata.lies.office.test A": "REFUSED",
	} {
		if got := strings.ReplaceAll(dig(t, world.Cloud, strings.Fields(q)...), "\n", "|"); got != want {
			t.Errorf("%s: %s, want %s", q, got, want)
		}
	}
	if out, err := cloud(t, 20*time.Second, "curl -sS -m 10 http://inside.office.test:81/ 2>&1"); err == nil {
		t.Errorf("port 81: %q", out)
	}
	mustCloud(t, 10*time.Second, "curl -sSf -o /dev/null http://198.51.100.10/")
	s.stop()
	if now := hostsFile(t); now != hosts {
		t.Errorf("hosts afterwards:\n%s", now)
	}
}
