//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/causeway-dev/causeway/test/shim"
	"github.com/miekg/dns"
)

const dnsResources = `[
	{"name": "domain", "host": "*.corp.test", "ports": [80, 443]},
	{"name": "apex", "host": "corp.test", "ports": [80]},
	{"name": "echo", "host": "echo.corp.test", "ports": [7], "protocols": ["tcp", "udp"]},
	{"name": "net", "host": "10.77.0.0/24", "ports": [80]},
]`

// dig asks as the developer on a host would and returns the rcode and, in any
// order, what is in the answer and authority sections but for the TTLs.
func dig(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := h.CommandAs(ctx, world.Info().Users[lab.Dev], "dig", append([]string{"+noall", "+comments", "+answer", "+authority", "+tries=1", "+timeout=8"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "dig fails: " + string(out)
	}
	status := regexp.MustCompile(`status: (\w+)`).FindStringSubmatch(string(out))
	if status == nil {
		return "no answer: " + string(out)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 4 && !strings.HasPrefix(line, ";") {
			lines = append(lines, strings.Join(slices.Delete(f, 1, 2), " "))
		}
	}
	slices.Sort(lines)
	return strings.Join(append(status[1:], lines...), "\n")
}

func resolvConf(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(world.Cloud.ResolvConf())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDNSAddressesOnLoopback(t *testing.T) {
	connect(t, dnsResources, "--tun=off")
	checkAddresses(t, `127\.\d+\.\d+\.\d+`, "")
}

// checkAddresses wants names to have addresses of that form, those of IPv6 if
// they have any on laptop; "" means none.
func checkAddresses(t *testing.T, v4, v6 string) {
	t.Helper()
	names := []string{"web.corp.test", "x.apps.corp.test", "echo.corp.test", "six.corp.test"}
	has6 := 0
	for _, name := range names {
		for kind, form := range map[string]string{"A": v4, "AAAA": v6} {
			got := dig(t, world.Cloud, name, kind)
			if kind == "AAAA" && (form == "" || !strings.Contains(dig(t, world.Laptop, name, kind), " IN AAAA ")) {
				if !strings.HasPrefix(got, "NOERROR") || strings.Contains(got, " IN AAAA ") {
					t.Errorf("%s AAAA: %s", name, got)
				}
				continue
			}
			m := regexp.MustCompile(`^NOERROR\n` + regexp.QuoteMeta(name) + `\. IN ` + kind + ` (` + form + `)$`).FindStringSubmatch(got)
			if m == nil {
				t.Errorf("%s: %s", name, got)
				continue
			}
			if kind == "AAAA" {
				has6++
			}
			if got := dig(t, world.Cloud, "-x", m[1]); !strings.HasSuffix(got, " IN PTR "+name+".") {
				t.Errorf("reverse of %s: %s", m[1], got)
			}
		}
		if got, want := dig(t, world.Cloud, name, "ANY"), "NOERROR\n"+name+`. IN HINFO "RFC8482" ""`; got != want {
			t.Errorf("%s ANY: %s", name, got)
		}
	}
	alias := "NOERROR\n" + `web\.corp\.test\. IN A ` + v4 + "\n" + `www\.corp\.test\. IN CNAME web\.corp\.test\.`
	if got := dig(t, world.Cloud, "www.corp.test", "A"); !regexp.MustCompile("^" + alias + "$").MatchString(got) {
		t.Errorf("www.corp.test: %s", got)
	}
	canonical := `python3 -c 'import socket; print(socket.getaddrinfo("www.corp.test", 80, 0, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)[0][3])'`
	if got := mustCloud(t, 20*time.Second, canonical); got != "web.corp.test" {
		t.Errorf("the canonical name of www.corp.test: %s", got)
	}
	if (has6 > 0) != (v6 != "") || has6 == len(names) {
		t.Errorf("%d names have addresses of IPv6", has6)
	}
}

func TestDNSRecords(t *testing.T) {
	connect(t, dnsResources)
	cloud, laptop := world.Cloud, world.Laptop
	for _, q := range []string{
		"corp.test NS", "corp.test SOA", "corp.test MX", "corp.test TXT", "corp.test CAA",
		"www.corp.test CNAME", "_http._tcp.corp.test SRV", "null.corp.test NULL", "long.corp.test TXT",
		"12.0.77.10.in-addr.arpa PTR", "13.0.77.10.in-addr.arpa PTR",
		"web.corp.test MX", "gone.corp.test TXT", "gone.corp.test A", "gone.corp.test AAAA", "a.gone.corp.test HTTPS",
		"orders-db.corp.test AAAA", "corp.test A",
		"servfail.corp.test A", "servfail.corp.test TXT", "refused.corp.test A", "refused.corp.test MX",
	} {
		t.Run(q, func(t *testing.T) {
			want := dig(t, laptop, strings.Fields(q)...)
			for _, more := range [][]string{nil, {"+tcp"}, {"+noedns"}} {
				if got := dig(t, cloud, append(strings.Fields(q), more...)...); got != want {
					t.Errorf("%v cloud gets\n%s\nlaptop gets\n%s", more, got, want)
				}
			}
		})
	}
	t.Run("address hints are taken out", func(t *testing.T) {
		hints := regexp.MustCompile(` ipv[46]hint=\S+`)
		for _, q := range []string{"web.corp.test HTTPS", "_svc.corp.test SVCB"} {
			want := hints.ReplaceAllString(dig(t, laptop, strings.Fields(q)...), "")
			if got := dig(t, cloud, strings.Fields(q)...); got != want {
				t.Errorf("cloud gets\n%s\nwant\n%s", got, want)
			}
		}
	})
	t.Run("addresses", func(t *testing.T) {
		checkAddresses(t, `198\.1[89]\.\d+\.\d+`, `fdc5:7a0e:93d1:[0-9a-f:]+`)
	})
	t.Run("what a resolver must not say", func(t *testing.T) {
		for _, q := range []string{"rebind.corp.test A", "meta.corp.test A", "rebind6.corp.test AAAA", "mapped.corp.test AAAA", "laptop.corp.test A", "zero.corp.test A"} {
			if got := dig(t, cloud, strings.Fields(q)...); got != "REFUSED" {
				t.Errorf("%s: %s", q, got)
			}
		}
	})
	t.Run("silent and malformed", func(t *testing.T) {
		for _, name := range []string{"silent.corp.test", "malformed.corp.test"} {
			for _, kind := range []string{"A", "TXT"} {
				start := time.Now()
				if got := dig(t, cloud, name, kind); got != "SERVFAIL" || time.Since(start) > 5*time.Second {
					t.Errorf("%s %s: %s after %s", name, kind, got, time.Since(start))
				}
			}
		}
	})
	t.Run("the rest is asked where it was", func(t *testing.T) {
		for _, q := range []string{"public.example.test A", "public.example.test AAAA", "nothing.example.test A", "example.test SOA", "elsewhere.test A"} {
			for _, how := range []string{"+notcp", "+tcp"} {
				want := dig(t, cloud, append(strings.Fields(q), how, "@198.51.100.53")...)
				if got := dig(t, cloud, append(strings.Fields(q), how)...); got != want {
					t.Errorf("%s %s: %s, want %s", q, how, got, want)
				}
			}
		}
	})
	t.Run("another user gets what the nameservers say", func(t *testing.T) {
		other := world.Info().Users["other"]
		for q, want := range map[string]string{"web.corp.test": "REFUSED", "public.example.test": "NOERROR"} {
			out, err := world.Cloud.CommandAs(t.Context(), other, "dig", "+noall", "+comments", q).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "status: "+want) {
				t.Errorf("%s: %s %v", q, out, err)
			}
		}
	})
}

// TestDNSAsTheMachineAsks has a name in laptop's hosts file, which is asked first,
// and for addresses alone.
func TestDNSAsTheMachineAsks(t *testing.T) {
	file := world.Laptop.HostsFile()
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(slices.Clone(before), "10.77.0.12 listed.corp.test\n10.77.0.10 www.corp.test\n127.0.0.1 lies.corp.test\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.WriteFile(file, before, 0o644) }()
	connect(t, dnsResources, "--tun=off")
	if out := mustCloud(t, 20*time.Second, "curl -sS -m 10 -o /dev/null -w '%{http_code}' http://listed.corp.test/"); out != "200" {
		t.Errorf("%q", out)
	}
	if out := mustCloud(t, 20*time.Second, "dig +noall +answer listed.corp.test"); !regexp.MustCompile(`^listed\.corp\.test\.\s+([12]?[0-9]|30)\s+IN\s+A\s+127\.\S+$`).MatchString(out) {
		t.Errorf("%q", out)
	}
	for q, want := range map[string]string{
		"listed.corp.test AAAA": "NOERROR", "listed.corp.test TXT": "NOERROR", "listed.corp.test ANY": "NOERROR\nlisted.corp.test. IN HINFO \"RFC8482\" \"\"",
		"www.corp.test CNAME": dig(t, world.Laptop, "www.corp.test", "CNAME"), "web.corp.test MX": dig(t, world.Laptop, "web.corp.test", "MX"),
		"lies.corp.test A": "REFUSED", "12.0.77.10.in-addr.arpa PTR": "NOERROR\n12.0.77.10.in-addr.arpa. IN PTR listed.corp.test.",
	} {
		if got := dig(t, world.Cloud, strings.Fields(q)...); got != want {
			t.Errorf("%s: %s, want %s", q, got, want)
		}
	}
}

// TestDNSWithoutLink has the tunnel stand still, and then be lost: a clear failure
// of private names within the time that programs wait, and of nothing else.
func TestDNSWithoutLink(t *testing.T) {
	d := driveWith(t, shim.Settings{Resources: strings.Replace(dnsResources, "},\n]", "}]", 1)})
	names := 0
	ask := func(t *testing.T, kind, want string) {
		t.Helper()
		names++ // one that nobody has asked for yet
		start := time.Now()
		got := dig(t, world.Cloud, fmt.Sprintf("n%d.apps.corp.test", names), kind)
		if took := time.Since(start); strings.SplitN(got, "\n", 2)[0] != want || took > 5*time.Second {
			t.Errorf("%s: %s after %s, want %s", kind, got, took, want)
		}
	}
	for what, end := range map[string]func() error{
		"still": func() error { d.Cut(); return nil },
		"lost":  func() error { return d.Lose(t.Context(), "the train is in a tunnel") },
	} {
		t.Run(what, func(t *testing.T) {
			ask(t, "A", "NOERROR")
			if err := end(); err != nil {
				t.Fatal(err)
			}
			mustCloud(t, 2*time.Second, "getent hosts public.example.test")
			ask(t, "A", "SERVFAIL")
			ask(t, "TXT", "SERVFAIL")
			out, err := cloud(t, 20*time.Second, "getent hosts "+what+".apps.corp.test")
			if err == nil {
				t.Errorf("%q", out)
			}
			mustCloud(t, 2*time.Second, "getent hosts public.example.test")
			eventually(t, 20*time.Second, "search domains delay no public name", func() bool {
				begin := time.Now()
				mustCloud(t, 20*time.Second, "LOCALDOMAIN='a.apps.corp.test apps.corp.test corp.test' RES_OPTIONS=ndots:5 getent ahosts public.example.test")
				return time.Since(begin) < time.Second
			})
			d.link()
			eventually(t, 20*time.Second, "names are found again", func() bool {
				names++
				return strings.HasPrefix(dig(t, world.Cloud, fmt.Sprintf("n%d.apps.corp.test", names)), "NOERROR")
			})
		})
	}
}

// TestDNSForIPv6Alone has clients of IPv6 and no device that would lead them: names
// have no such address, which is no failure, and mapped ones serve.
func TestDNSForIPv6Alone(t *testing.T) {
	connect(t, dnsResources, "--tun=off")
	for name, want := range map[string]string{
		"web.corp.test": "EAI_NODATA", "six.corp.test": "EAI_NODATA", "x.apps.corp.test": "EAI_NODATA", "gone.corp.test": "EAI_NONAME", "servfail.corp.test": "EAI_AGAIN",
	} {
		got := mustCloud(t, 20*time.Second, `python3 -c '
import socket, sys
try: print(socket.getaddrinfo(sys.argv[1], 80, socket.AF_INET6))
except socket.gaierror as e: print(*[k for k in ("EAI_NODATA", "EAI_NONAME", "EAI_AGAIN") if getattr(socket, k) == e.errno])' `+name)
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for kind, want := range map[string]string{"SOCK_STREAM": "echoed", "SOCK_DGRAM": "echoed"} {
		got := mustCloud(t, 20*time.Second, `python3 -c '
import socket, sys
kind = getattr(socket, sys.argv[1])
a = socket.getaddrinfo("echo.corp.test", 7, socket.AF_INET6, kind, 0, socket.AI_V4MAPPED)[0][4]
s = socket.socket(socket.AF_INET6, kind); s.settimeout(8); s.connect(a); s.send(b"echoed"); print(s.recv(100).decode())' `+kind)
		if got != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

func TestDNSClients(t *testing.T) {
	connect(t, dnsResources)
	t.Run("curl of a name below a domain", func(t *testing.T) {
		for _, name := range []string{"anything.apps.corp.test", "other.apps.corp.test", "web.corp.test", "six.corp.test"} {
			mustCloud(t, 20*time.Second, "curl -sSf -m 10 -o /dev/null http://"+name+"/")
		}
		if strings.Contains(hostsFile(t), "anything") {
			t.Error("a name below a domain is in the hosts file")
		}
		out, err := cloud(t, 20*time.Second, "curl -sS -m 10 http://gone.corp.test/ 2>&1")
		if err == nil || !strings.Contains(out, "Could not resolve host") {
			t.Errorf("%v %q", err, out)
		}
	})
	t.Run("UDP", func(t *testing.T) {
		out := mustCloud(t, 10*time.Second, "python3 - <<'PY'\n"+udpProbe+"\nPY")
		if out != "ok" {
			t.Error(out)
		}
	})
	t.Run("the public internet", func(t *testing.T) {
		mustCloud(t, 10*time.Second, "curl -sSf -o /dev/null "+world.Info().Public.URL)
	})
}

// TestDNSWithoutLowPorts is a remote whose users may not listen below 1024, but
// use sudo: the privileged subcommand opens what they may not.
func TestDNSWithoutLowPorts(t *testing.T) {
	limit := func(port string) {
		t.Helper()
		cmd := world.Cloud.Command(context.WithoutCancel(t.Context()), "sh", "-c", "echo "+port+" > /proc/sys/net/ipv4/ip_unprivileged_port_start")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	limit("1024")
	defer limit("0")
	before := resolvConf(t)
	s := connect(t, dnsResources)
	mustCloud(t, 20*time.Second, "curl -sSf -m 10 -o /dev/null http://anything.apps.corp.test/")
	if out := mustCloud(t, 10*time.Second, "python3 - <<'PY'\n"+udpProbe+"\nPY"); out != "ok" {
		t.Error(out)
	}
	if out := mustCloud(t, 20*time.Second, helper+" doctor capture"); !strings.Contains(out, "stub resolver: names of domains") || !strings.Contains(out, "can be listened on") {
		t.Error(out)
	}
	s.freeze()
	for _, pid := range running("capture") {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	eventually(t, 2*time.Second, "resolv.conf is as before", func() bool { return resolvConf(t) == before })
	s.stop()
}

// TestDNSLeavesWhatOthersKeep is a remote whose resolv.conf belongs to another
// program: exact names are served all the same, and doctor says what is not.
func TestDNSLeavesWhatOthersKeep(t *testing.T) {
	const running = "/run/connman" // the hosts of the lab share /run
	if err := os.Mkdir(running, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(running)
	before := resolvConf(t)
	kept := "# Generated by Connection Manager\n" + before
	if err := os.WriteFile(world.Cloud.ResolvConf(), []byte(kept), 0o644); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.WriteFile(world.Cloud.ResolvConf(), []byte(before), 0o644) }()
	s := connect(t, resources)
	mustCloud(t, 20*time.Second, "curl -sSf -m 10 -o /dev/null http://web.corp.test/")
	mustCloud(t, 10*time.Second, "curl -sSf -o /dev/null "+world.Info().Public.URL)
	if out, err := cloud(t, 20*time.Second, "getent hosts anything.apps.corp.test"); err == nil {
		t.Errorf("without a stub resolver: %q", out)
	}
	if resolvConf(t) != kept {
		t.Error("resolv.conf was edited")
	}
	if !strings.Contains(s.log.String(), "another program manages it: ConnMan") {
		t.Error("nobody is told")
	}
	if out := mustCloud(t, 20*time.Second, helper+" doctor capture"); !strings.Contains(out, "is not changed: another program manages it: ConnMan") {
		t.Error(out)
	}
}

// udpProbe sends datagrams of many sizes from two sockets, which must come back
// one for one.
const udpProbe = `
import socket
socks = []
for i in range(2):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
    s.connect(("echo.corp.test", 7)); socks.append(s)
for size in (1, 100, 1400, 9000, 60000):
    for i, s in enumerate(socks):
        d = bytes([65 + i]) * size
        s.send(d)
        assert s.recv(65535) == d, size
print("ok")
`

func TestDNSIsPutBack(t *testing.T) {
	before := resolvConf(t)
	same := func() bool { return resolvConf(t) == before }
	public := func(t *testing.T) {
		t.Helper()
		mustCloud(t, 2*time.Second, "getent hosts public.example.test")
	}
	for _, way := range []string{"disconnect", "kill capture", "kill gateway", "kill all of it"} {
		t.Run(way, func(t *testing.T) {
			s := connect(t, dnsResources)
			if same() {
				t.Fatal("resolv.conf is not ours while connected")
			}
			switch way {
			case "disconnect":
				s.stop()
			case "kill capture":
				s.freeze()
				for _, pid := range running("capture") {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			case "kill gateway":
				_ = s.cmd.Process.Kill()
			case "kill all of it": // as a crash of the machine: the next start cleans up
				s.freeze()
				for _, pid := range append(running("privileged"), running("capture")...) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				eventually(t, 5*time.Second, "they have ended", func() bool { return len(running("privileged"))+len(running("capture")) == 0 })
				public(t) // by the nameservers from before, which stand behind the stub
				connect(t, dnsResources).stop()
			}
			eventually(t, 2*time.Second, "resolv.conf is as before", same)
			public(t)
		})
	}
	t.Run("rewritten meanwhile", func(t *testing.T) {
		s := connect(t, dnsResources)
		after := "# rewritten\n" + before
		if err := os.WriteFile(world.Cloud.ResolvConf(), []byte(after), 0o644); err != nil {
			t.Fatal(err)
		}
		eventually(t, 3*time.Second, "names are found again", func() bool {
			return strings.HasPrefix(dig(t, world.Cloud, "web.corp.test"), "NOERROR\nweb.corp.test. IN A 198.1")
		})
		public(t)
		s.stop()
		if got := resolvConf(t); got != after {
			t.Errorf("%q, want %q", got, after)
		}
		if err := os.WriteFile(world.Cloud.ResolvConf(), []byte(before), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("two windows", func(t *testing.T) {
		first := connect(t, dnsResources)
		second := connect(t, `[{"name": "domain", "host": "*.apps.corp.test", "ports": [8080]}]`)
		mustCloud(t, 10*time.Second, "curl -sSf -m 5 -o /dev/null http://web.corp.test/")
		first.stop()
		if got := dig(t, world.Cloud, "x.apps.corp.test"); !strings.HasPrefix(got, "NOERROR\nx.apps.corp.test. IN A 198.1") {
			t.Error(got)
		}
		second.stop()
		eventually(t, 2*time.Second, "resolv.conf is as before", same)
	})
}

// TestDNSUnderLoad asks a thousand questions a second, of names that are cached
// and of names that are not, and loses none.
func TestDNSUnderLoad(t *testing.T) {
	length := 5 * time.Second
	if os.Getenv("CAUSEWAY_SOAK") != "" {
		length = 30 * time.Second
	}
	connect(t, dnsResources)
	at := regexp.MustCompile(`(?m)^nameserver (127\S+)`).FindStringSubmatch(resolvConf(t))
	if at == nil {
		t.Fatal(resolvConf(t))
	}
	c, err := world.Cloud.Dial(t.Context(), "udp", at[1]+":53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const each = time.Millisecond
	total := int(length / each)
	sent := make([]time.Time, total)
	done := make(chan []time.Duration, 1)
	go func() { done <- receiveAll(t, c, sent) }()
	pace := time.NewTicker(each)
	defer pace.Stop()
	for i := range total {
		name, kind := "web.corp.test.", dns.TypeA
		switch i % 4 {
		case 1:
			kind = dns.TypeTXT
		case 2:
			name = fmt.Sprintf("n%d.apps.corp.test.", i/4%200)
		case 3:
			name = "public.example.test."
		}
		m := new(dns.Msg).SetQuestion(name, kind)
		m.Id = uint16(i)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		sent[i] = time.Now()
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		<-pace.C
	}
	took := <-done
	slices.Sort(took)
	if len(took) != total {
		t.Errorf("%d of %d questions were answered", len(took), total)
	}
	if len(took) > 0 {
		t.Logf("%d answers: half within %s, 99%% within %s, all within %s", len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
		if half := took[len(took)/2]; half > 10*time.Millisecond {
			t.Errorf("half of the answers took more than %s", half)
		}
	}
}

// receiveAll returns how long each good answer took, until all have come or
// none has for two seconds.
func receiveAll(t *testing.T, c net.Conn, sent []time.Time) (took []time.Duration) {
	buf := make([]byte, 4096)
	for len(took) < len(sent) {
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, err := c.Read(buf)
		if err != nil {
			t.Logf("after %d answers: %v", len(took), err)
			return took
		}
		var m dns.Msg
		if err := m.Unpack(buf[:n]); err != nil || m.Rcode != dns.RcodeSuccess {
			t.Errorf("answer %v %v", m.MsgHdr, err)
			continue
		}
		took = append(took, time.Since(sent[m.Id]))
	}
	return took
}
