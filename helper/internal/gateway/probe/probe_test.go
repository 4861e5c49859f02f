package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/dial"
	"github.com/causeway-dev/causeway/helper/internal/gateway/dialtest"
	"github.com/causeway-dev/causeway/helper/internal/resource"
)

func prober(t *testing.T, o dial.Options, src string) Prober {
	t.Helper()
	list := dialtest.Parse(t, src)
	return Prober{
		Dialer: dial.New(o),
		Named: func(name string) (resource.Resource, bool) {
			for _, r := range list {
				if r.Name == name {
					return r, true
				}
			}
			return resource.Resource{}, false
		},
		Turn: func(context.Context, string) (func(), error) { return func() {}, nil },
	}
}

func steps(list []Step) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%s %v", s.Name, s.OK))
	}
	return strings.Join(out, ", ")
}

func TestTest(t *testing.T) {
	n := &dialtest.Net{Hosts: map[string]any{
		"10.0.0.1": nil, "10.0.0.2": dialtest.SysError(syscall.ECONNREFUSED), "10.0.0.3": dialtest.SysError(syscall.ENETUNREACH), "192.0.2.9": dialtest.SysError(syscall.EHOSTUNREACH),
	}}
	resolver := &dialtest.Names{Answers: map[string][]any{
		"a.test": {[]string{"10.0.0.1"}}, "refused.test": {[]string{"10.0.0.2"}}, "vpn.test": {[]string{"10.0.0.3"}}, "silent.test": {[]string{"10.0.0.4"}},
		"lan.test": {[]string{"192.0.2.9"}}, "lo.test": {[]string{"127.0.0.1"}}, "moved.test": {[]string{"8.8.8.8"}},
		"servfail.test": {&net.DNSError{Err: "server misbehaving", IsTemporary: true}}, "portal.test": {[]string{"10.0.0.1"}},
	}}
	src := `[`
	for name := range resolver.Answers {
		src += fmt.Sprintf(`{"host": %q, "ports": [80]},`, name)
	}
	src = strings.Replace(src, `"moved.test", "ports": [80]`, `"moved.test", "ports": [80], "addresses": ["10.0.0.0/8"]`, 1)
	src += `{"host": "gone.test", "ports": [80]}, {"host": "*.wild.test", "ports": [80]}, {"host": "10.0.0.1", "ports": [80]}, {"name": "voice", "host": "a.test", "ports": [99], "protocols": ["udp"]}]`
	g := prober(t, dial.Options{Dial: n.Dial, Resolver: resolver, Timeout: 100 * time.Millisecond, Interfaces: dialtest.Interfaces}, src)
	for _, c := range []struct {
		name       string
		port       uint16
		want, hint string
	}{
		{"a.test", 0, "approval true, resolve true, judge true, connect true", ""},
		{"a.test", 81, "approval false", "Add the port"},
		{"unknown", 0, "approval false", "Approve it"},
		{"10.0.0.1", 80, "approval true, judge true, connect true", ""},
		{"voice", 0, "approval true, resolve true, judge true, connect true", ""},
		{"gone.test", 0, "approval true, resolve false", "spelling"},
		{"servfail.test", 0, "approval true, resolve false", "DNS server"},
		{"lo.test", 0, "approval true, resolve true, judge false", "very address"},
		{"moved.test", 0, "approval true, resolve true, judge false", "another address"},
		{"refused.test", 0, "approval true, resolve true, judge true, connect false", "nothing listens"},
		{"vpn.test", 0, "approval true, resolve true, judge true, connect false", "VPN connected"},
		{"silent.test", 0, "approval true, resolve true, judge true, connect false", "does it lead"},
		{"lan.test", 0, "approval true, resolve true, judge true, connect false", "network"},
		{"*.wild.test", 0, "approval true, resolve false", "through the proxy"},
	} {
		got := g.Test(t.Context(), c.name, c.port)
		if last := got[len(got)-1]; steps(got) != c.want || !strings.Contains(last.Hint, c.hint) {
			t.Errorf("%s: %s, want %s; %+v", c.name, steps(got), c.want, last)
		}
	}
	resolver.Answers[probeName] = []any{[]string{"10.0.0.1"}}
	if got := g.Test(t.Context(), "portal.test", 0); !strings.Contains(got[1].Hint, "captive portal") {
		t.Errorf("%+v", got)
	}
	for _, name := range resolver.Asked {
		if strings.HasSuffix(name, "wild.test") {
			t.Errorf("asked for %s", name)
		}
	}
}

// certificate makes a self-signed or, given a parent, signed certificate.
func certificate(t *testing.T, issuer, host string, until time.Time) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: issuer}, DNSNames: []string{host}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, leaf
}

func TestJudgeChain(t *testing.T) {
	now := time.Now()
	_, good := certificate(t, "Corp CA", "a.test", now.Add(time.Hour))
	_, inspected := certificate(t, "Zscaler Root CA", "a.test", now.Add(time.Hour))
	_, old := certificate(t, "Corp CA", "a.test", now.Add(-time.Hour))
	trusted := x509.NewCertPool()
	trusted.AddCert(good)
	trusted.AddCert(old)
	for what, c := range map[string]struct {
		cert         *x509.Certificate
		name         string
		ok           bool
		detail, hint string
	}{
		"trusted":    {good, "a.test", true, "trusted by this machine", ""},
		"other name": {good, "b.test", false, "for a.test, not for b.test", "another name"},
		"inspected":  {inspected, "a.test", true, "not verifiable", "inspected by Zscaler"},
		"expired":    {old, "a.test", false, "not valid now", "Renew"},
	} {
		ok, detail, hint := judgeChain([]*x509.Certificate{c.cert}, c.name, trusted, now)
		if ok != c.ok || !strings.Contains(detail, c.detail) || !strings.Contains(hint, c.hint) || c.hint == "" && hint != "" {
			t.Errorf("%s: %v %q %q", what, ok, detail, hint)
		}
	}
	if ok, _, hint := judgeChain([]*x509.Certificate{good}, "a.test", x509.NewCertPool(), now); !ok || !strings.Contains(hint, "private authority") {
		t.Errorf("a private authority: %v %q", ok, hint)
	}
}

func TestTestSpeaksTLS(t *testing.T) {
	cert, _ := certificate(t, "Corp CA", "a.test", time.Now().Add(time.Hour))
	answerTLS := true
	connect := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			if answerTLS {
				_ = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
				_, _ = server.Read(make([]byte, 64))
			} else {
				_, _ = server.Read(make([]byte, 1<<16))
				_, _ = server.Write([]byte("SSH-2.0-x\r\n"))
			}
		}()
		return client, nil
	}
	g := prober(t, dial.Options{Dial: connect, Interfaces: dialtest.Interfaces}, `[{"host": "10.0.0.1", "ports": [443], "as": "a.test"}]`)
	got := g.Test(t.Context(), "a.test", 0)
	if steps(got) != "approval true, judge true, connect true, tls true" || !strings.Contains(got[3].Detail, "issued by Corp CA") {
		t.Errorf("%+v", got)
	}
	answerTLS = false
	got = g.Test(t.Context(), "a.test", 0)
	if steps(got) != "approval true, judge true, connect true, tls false" {
		t.Errorf("%+v", got)
	}
}
