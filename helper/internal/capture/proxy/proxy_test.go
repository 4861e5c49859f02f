package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/tunnel"
	"github.com/causeway-dev/causeway/helper/internal/tunnel/tunneltest"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/net/http/httpproxy"
	xproxy "golang.org/x/net/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a proxy whose resources are all hosts below corp.test.
type fixture struct {
	*testing.T
	proxy   *Proxy
	gateway *tunnel.Session
	strict  atomic.Bool
}

func start(t *testing.T, o Options) *fixture {
	t.Helper()
	capture, gateway := tunneltest.Pair(t)
	f := &fixture{T: t, gateway: gateway}
	o.Log, o.Gateway, o.Port, o.Strict = zerolog.Nop(), flow.New(flow.Options{Tunnel: capture, Origin: originOf}), freePort(t), f.strict.Load
	if o.Match == nil {
		o.Match = func(_, host string, _ uint16) bool { return strings.HasSuffix(host, "corp.test") }
	}
	if o.Check == nil {
		o.Check = func(net.Conn) (owner.Owner, error) { return owner.Owner{User: "dev"}, nil }
	}
	if o.CheckUDP == nil {
		o.CheckUDP = func(_, _ netip.AddrPort) (owner.Owner, error) { return owner.Owner{User: "dev"}, nil }
	}
	if o.Environment == nil {
		o.Environment = &httpproxy.Config{}
	}
	var err error
	if f.proxy, err = Listen(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.proxy.Close() })
	return f
}

// originOf tells two programs apart by their sockets.
func originOf(source string, _ tunnel.Target, who owner.Owner) tunnel.Origin {
	return tunnel.Origin{Source: source, User: who.User, PID: who.Inode}
}

// freePort returns a port that is free now, outside the range that the kernel
// gives to others meanwhile.
func freePort(t *testing.T) int {
	for port := 19000; port < 19500; port++ {
		if ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
			_ = ln.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func (f *fixture) accept() *tunnel.Stream {
	f.Helper()
	st, err := f.gateway.Accept()
	if err != nil {
		f.Fatal(err)
	}
	return st
}

func (f *fixture) dial() *net.TCPConn {
	f.Helper()
	c, err := net.Dial("tcp", f.proxy.Addr().String())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// say writes what the client says at once.
func (f *fixture) say(c io.Writer, s string) {
	f.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		f.Fatal(err)
	}
}

// hear reads exactly want.
func (f *fixture) hear(c io.Reader, want string) {
	f.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != want {
		f.Fatalf("heard %q (%v), want %q", b[:n], err, want)
	}
}

func socksRequest(cmd byte, host string, port uint16) string {
	return "\x05\x01\x00" + string(appendAddress([]byte{socksVersion, cmd, 0}, host, port))
}

func socksReply(code byte) string {
	return "\x05\x00" + string([]byte{socksVersion, code, 0, atypIPv4, 0, 0, 0, 0, 0, 0})
}

func TestConnect(t *testing.T) {
	for name, hello := range map[string][2]string{
		"socks": {socksRequest(cmdConnect, "db.corp.test", 5432), socksReply(repOK)},
		"http": {"CONNECT db.corp.test:5432 HTTP/1.1\r\nHost: db.corp.test:5432\r\n\r\n",
			"HTTP/1.1 200 Connection established\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, Options{})
			c := f.dial()
			f.say(c, hello[0]+"early")
			st := f.accept()
			want := tunnel.Request{Target: tunnel.Target{Network: tunnel.TCP, Host: "db.corp.test", Port: 5432},
				Origin: tunnel.Origin{Source: name, User: "dev"}}
			if st.Request() != want {
				t.Errorf("%+v", st.Request())
			}
			_ = st.Reply(tunnel.Connected, "")
			f.hear(c, hello[1])
			f.hear(st, "early")
			f.say(st, "answer")
			f.hear(c, "answer")
			_ = c.CloseWrite()
			if _, err := st.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("half-close became %v", err)
			}
			f.say(st, "after")
			f.hear(c, "after")
			st.Reset("the target is gone")
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a reset became %v", err)
			}
		})
	}
}

// Every outcome of the gateway's has the reply that the protocol gives it.
func TestOutcomes(t *testing.T) {
	f := start(t, Options{})
	for _, tc := range []struct {
		code  tunnel.Code
		socks byte
		http  string
	}{
		{tunnel.Denied, repDenied, "403"}, {tunnel.Refused, repRefused, "502"},
		{tunnel.NetUnreachable, repNetUnreachable, "502"}, {tunnel.HostUnreachable, repUnreachable, "502"},
		{tunnel.NoSuchName, repUnreachable, "502"}, {tunnel.TimedOut, repTimedOut, "504"},
		{tunnel.Overloaded, repFailure, "503"}, {tunnel.Failed, repFailure, "502"},
	} {
		answer := func() {
			st := f.accept()
			_ = st.Reply(tc.code, "said so")
			_ = st.Close()
		}
		c := f.dial()
		f.say(c, socksRequest(cmdConnect, "x.corp.test", 1))
		answer()
		f.hear(c, socksReply(tc.socks))
		for _, request := range []string{"CONNECT x.corp.test:1", "GET http://x.corp.test:1/"} {
			c = f.dial()
			f.say(c, request+" HTTP/1.1\r\nHost: x.corp.test:1\r\nConnection: close\r\n\r\n")
			answer()
			all, _ := io.ReadAll(c)
			if s := string(all); !strings.HasPrefix(s, "HTTP/1.1 "+tc.http) || !strings.Contains(s, "x.corp.test:1: ") {
				t.Errorf("%s answered with %d: %q", request, tc.code, s)
			}
		}
	}
}

// A client that leaves ends the attempt at the gateway, so does Close, which
// leaves nothing running.
func TestLeaving(t *testing.T) {
	for name, hello := range map[string]string{
		"socks":    socksRequest(cmdConnect, "db.corp.test", 1),
		"resolve":  socksRequest(cmdResolve, "db.corp.test", 0),
		"connect":  "CONNECT db.corp.test:1 HTTP/1.1\r\nHost: db.corp.test:1\r\n\r\n",
		"absolute": "GET http://db.corp.test:1/ HTTP/1.1\r\nHost: db.corp.test:1\r\n\r\n",
	} {
		for _, who := range []string{"client", "proxy"} {
			if name == "absolute" && who == "client" {
				continue // kept for a later request to the same target
			}
			t.Run(name+" "+who, func(t *testing.T) {
				f := start(t, Options{})
				c := f.dial()
				f.say(c, hello)
				st := f.accept()
				if who == "client" {
					_ = c.Close()
				} else if err := f.proxy.Close(); err != nil {
					t.Error(err)
				}
				_ = st.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := st.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
					t.Errorf("the flow goes on: %v", err)
				}
			})
		}
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// More connections than there may be: the next client waits for its turn.
func TestTooManyClientsWait(t *testing.T) {
	f := start(t, Options{})
	for range maxConns {
		f.proxy.slots <- struct{}{}
	}
	c := f.dial()
	f.say(c, "\x05\x01\x00")
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var waits net.Error
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &waits) || !waits.Timeout() {
		t.Errorf("while all places are taken: %v", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	<-f.proxy.slots
	f.hear(c, "\x05\x00")
	_ = c.Close()
	for range maxConns - 1 {
		<-f.proxy.slots
	}
}

func TestStrangerIsReset(t *testing.T) {
	f := start(t, Options{Check: func(net.Conn) (owner.Owner, error) { return owner.Owner{}, errors.New("another user") }})
	c, err := net.Dial("tcp", f.proxy.Addr().String())
	if err == nil {
		_, err = c.Read(make([]byte, 1))
		_ = c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a stranger reads %v", err)
	}
}

// serve runs an HTTP server that answers with text and the host it was asked for.
func serve(t *testing.T, text string, h http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if h == nil {
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, text+" "+r.Host) })
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	return ln.Addr().String()
}

// client returns an HTTP client that goes by the proxy at via.
func client(t *testing.T, via string) *http.Client {
	u, err := url.Parse(via)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{Proxy: http.ProxyURL(u)}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func get(t *testing.T, c *http.Client, target string) (status int, body string) {
	t.Helper()
	resp, err := c.Get(target)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// What no resource has goes where it went before, unless the proxy is strict.
func TestElsewhere(t *testing.T) {
	public := serve(t, "public", nil)
	f := start(t, Options{})
	for _, scheme := range []string{"http://", "socks5://"} {
		c := client(t, scheme+f.proxy.Addr().String())
		if status, body := get(t, c, "http://"+public+"/"); status != 200 || body != "public "+public {
			t.Errorf("%s: %d %q", scheme, status, body)
		}
		c.CloseIdleConnections()
		f.strict.Store(true)
		if status, body := get(t, c, "http://"+public+"/"); status == 200 {
			t.Errorf("%s, strict: %d %q", scheme, status, body)
		}
		f.strict.Store(false)
	}
}

// The addresses of localhost stand for it at the ports that a resource has, for a strict
// proxy too.
func TestAddressesOfLocalhost(t *testing.T) {
	f := start(t, Options{Match: func(_, host string, port uint16) bool {
		return host == "localhost" && port == 80 || host == "127.0.0.1" && port == 81
	}})
	f.strict.Store(true)
	for _, c := range []struct{ scheme, asked, want string }{
		{"http://", "127.0.0.1:80", "localhost:80"},
		{"http://", "[::1]:80", "localhost:80"},
		{"socks5://", "127.0.0.1:80", "localhost:80"},
		{"socks5h://", "[::1]:80", "localhost:80"},
		{"http://", "127.0.0.1:81", "127.0.0.1:81"},
	} {
		go func() {
			st := f.accept()
			text := fmt.Sprintf("%s:%d", st.Request().Target.Host, st.Request().Target.Port)
			_ = st.Reply(tunnel.Connected, "")
			_, _ = http.ReadRequest(bufio.NewReader(st))
			_, _ = fmt.Fprintf(st, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
			_ = st.CloseWrite()
			_, _ = io.Copy(io.Discard, st)
			_ = st.Close()
		}()
		h := client(t, c.scheme+f.proxy.Addr().String())
		if status, body := get(t, h, "http://"+c.asked+"/"); status != 200 || body != c.want {
			t.Errorf("%s %s: %d %q, want %s", c.scheme, c.asked, status, body, c.want)
		}
		h.CloseIdleConnections()
	}
}

// Each request on a connection that is kept is judged anew.
func TestEachRequestIsJudged(t *testing.T) {
	public := serve(t, "public", nil)
	f := start(t, Options{})
	c := client(t, "http://"+f.proxy.Addr().String())
	for _, want := range []int{200, 403, 200} {
		f.strict.Store(want == 403)
		if status, body := get(t, c, "http://"+public+"/"); status != want {
			t.Errorf("%d %q, want %d", status, body, want)
		}
	}
}

// A connection to a resource serves whoever it was opened for, and no other
// client: the gateway has judged it by that program.
func TestClientsShareNoConnection(t *testing.T) {
	var inode atomic.Uint32
	f := start(t, Options{
		Check: func(net.Conn) (owner.Owner, error) { return owner.Owner{User: "dev", Inode: inode.Add(1)}, nil },
	})
	const request, response = "GET http://web.corp.test/ HTTP/1.1\r\nHost: web.corp.test\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"
	var c *net.TCPConn
	var st *tunnel.Stream
	for i, pid := range []uint32{1, 1, 2} { // the first asks twice, by the same connection
		if i != 1 {
			c = f.dial()
		}
		f.say(c, request)
		if i != 1 {
			st = f.accept()
			_ = st.Reply(tunnel.Connected, "")
		}
		if got := st.Request().Origin.PID; got != pid {
			t.Errorf("a flow of %d, want %d", got, pid)
		}
		if _, err := http.ReadRequest(bufio.NewReader(oneByte{st})); err != nil {
			t.Fatal(err)
		}
		f.say(st, response)
		resp, err := http.ReadResponse(bufio.NewReader(oneByte{c}), nil)
		if err != nil || resp.StatusCode != http.StatusNoContent {
			t.Fatalf("%v %v", resp, err)
		}
		_ = resp.Body.Close()
	}
	_ = c.Close()
	if _, err := st.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlives its client")
	}
}

// oneByte reads no further than it is asked to.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(1, len(b))]) }

// Set-ups that had a proxy before go on through that.
func TestUpstream(t *testing.T) {
	passed := make(chan string, 16)
	saw := func(want string) {
		t.Helper()
		select {
		case got := <-passed:
			if got != want {
				t.Errorf("upstream saw %q, want %q", got, want)
			}
		default:
			t.Errorf("upstream saw nothing, want %q", want)
		}
	}
	upstream := serve(t, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed <- r.Method + " " + r.RequestURI + " " + r.Header.Get("Proxy-Authorization")
		if r.Method != http.MethodConnect {
			_, _ = io.WriteString(w, "by the proxy")
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 200 OK\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(c, "echo "+line)
	}))
	via := "http://user:pass@" + upstream
	f := start(t, Options{Environment: &httpproxy.Config{HTTPProxy: via, HTTPSProxy: via}})
	if status, body := get(t, client(t, "http://"+f.proxy.Addr().String()), "http://elsewhere.test/"); status != 200 || body != "by the proxy" {
		t.Errorf("%d %q", status, body)
	}
	saw("GET http://elsewhere.test/ Basic dXNlcjpwYXNz")
	raw := f.dial()
	f.say(raw, "GET http://elsewhere.test/a|b?c|d HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n")
	f.hear(raw, "HTTP/1.1 200 OK\r\n")
	saw("GET http://elsewhere.test/a|b?c|d Basic dXNlcjpwYXNz")
	d, err := xproxy.SOCKS5("tcp", f.proxy.Addr().String(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial("tcp", "elsewhere.test:99")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f.say(c, "line\n")
	if got, _ := bufio.NewReader(c).ReadString('\n'); got != "echo line\n" {
		t.Errorf("%q", got)
	}
	saw("CONNECT elsewhere.test:99 Basic dXNlcjpwYXNz")
}

// An upstream that answers CONNECT with no end, or not at all, is given up.
func TestHostileUpstream(t *testing.T) {
	for name, answer := range map[string]string{
		"endless": "HTTP/1.1 200 OK\r\n" + strings.Repeat("x: "+strings.Repeat("y", 1000)+"\r\n", 100),
		"refuses": "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
		"silent":  "",
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				if c, err := ln.Accept(); err == nil {
					_, _ = io.WriteString(c, answer)
					_, _ = io.Copy(io.Discard, c)
					_ = c.Close()
				}
			}()
			d := newDialer(Options{Environment: &httpproxy.Config{HTTPSProxy: "http://" + ln.Addr().String()}}, "127.0.0.1:1")
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			if answer != "" {
				ctx = context.Background()
			}
			_, err = d.dialDirect(ctx, "elsewhere.test:443")
			if got := flow.Code(directError(err)); err == nil || (got == tunnel.TimedOut) != (answer == "") {
				t.Errorf("%v, code %d", err, got)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "")
	}
	t.Setenv("all_proxy", "socks5://old.test:1080")
	t.Setenv("https_proxy", "http://web.test:3128")
	self := "127.0.0.1:27181"
	d := newDialer(Options{UID: 1000}, self)
	for target, want := range map[string]string{"http": "socks5://old.test:1080", "https": "http://web.test:3128"} {
		if via, err := d.upstream(&url.URL{Scheme: target, Host: "elsewhere.test"}); err != nil || via.String() != want {
			t.Errorf("%s: %v, %v", target, via, err)
		}
	}
	other := Ports(1000)[3]
	for host, want := range map[string]bool{
		self: true, "localhost:27181": true, "LOCALHOST.:27181": true, "[::1]:27181": true, "0.0.0.0:27181": true,
		"[::]:27181": true, "127.9.9.9:" + itoa(other): true, "127.0.0.1:3128": false, "old.test:27181": false, "127.0.0.1": false,
	} {
		if got := isSelf(&url.URL{Scheme: "http", Host: host}, self, 1000); got != want {
			t.Errorf("isSelf(%s) is %v", host, got)
		}
	}
	if !slices.IsSorted(Ports(0)) {
		t.Error("ports are not tried in order")
	}
}
