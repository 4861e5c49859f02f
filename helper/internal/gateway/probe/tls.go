package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/gateway/show"
	"github.com/causeway-dev/causeway/helper/internal/resource"
)

const handshakeTimeout = 10 * time.Second

// speaksTLS reports whether services at a port usually begin with TLS.
func speaksTLS(port uint16) bool {
	switch port {
	case 443, 465, 563, 636, 853, 989, 990, 992, 993, 995, 2376, 3269, 5061, 5671, 5986, 6443, 6514, 6697, 8443, 8883, 9443:
		return true
	}
	return false
}

// tls makes a TLS handshake and judges the certificate as the remote's programs would.
// It sends nothing else.
func (t *tester) tls(ctx context.Context, conn net.Conn, m resource.Match) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	// Programs on the remote ask for the name that they know.
	name := cmp.Or(m.Resource.RemoteName(), m.Name, m.Addr.String())
	// judgeChain verifies the certificate. A bad certificate is a result, not an error.
	c := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := c.HandshakeContext(ctx); err != nil {
		t.done("tls", false, "If the service does not use TLS on this port, nothing is wrong.", "handshake: %s", show.Text(err.Error()))
		return
	}
	chain := c.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		t.done("tls", false, "", "the server shows no certificate")
		return
	}
	ok, detail, hint := judgeChain(chain, name, nil, time.Now())
	t.done("tls", ok, hint, "%s", detail)
}

// judgeChain returns how a program that asks for name judges a certificate. nil roots
// means those of the system.
func judgeChain(chain []*x509.Certificate, name string, roots *x509.CertPool, now time.Time) (ok bool, detail, hint string) {
	leaf := chain[0]
	issuer := issuerOf(leaf)
	if err := leaf.VerifyHostname(name); err != nil {
		hint = "The server's certificate is for another name. With \"as\" the remote's programs see it under a name that the certificate lacks; else a captive portal or another server answers in its place."
		return false, "issued by " + issuer + " for " + show.Text(strings.Join(leaf.DNSNames, ", ")) + ", not for " + name, hint
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now})
	if inspector := inspectorOf(chain); inspector != "" {
		hint = "The connection is inspected by " + inspector + ". Programs on the remote must trust its authority too, or the name must be exempted from inspection."
	}
	if err == nil {
		return true, "issued by " + issuer + " for " + name + ", trusted by this machine", hint
	}
	if expired, is := errors.AsType[x509.CertificateInvalidError](err); is && expired.Reason == x509.Expired {
		return false, "the certificate, issued by " + issuer + ", is not valid now", "Renew the certificate, or check this machine's clock."
	}
	if hint == "" {
		hint = "This machine does not trust the issuer: a private authority, which the remote's programs must be told of, or a proxy that inspects connections."
	}
	return true, "issued by " + issuer + " for " + name + ", not verifiable here", hint
}

func issuerOf(c *x509.Certificate) string {
	name := cmp.Or(c.Issuer.CommonName, strings.Join(c.Issuer.Organization, " "), "an unnamed authority")
	return show.Text(name)
}

// inspectorOf names the inspecting proxy whose authority signed a chain, or "".
func inspectorOf(chain []*x509.Certificate) string {
	for _, c := range chain {
		issuer := strings.ToLower(c.Issuer.String())
		for _, known := range []string{
			"Zscaler", "Netskope", "Palo Alto", "Fortinet", "FortiGate", "Blue Coat", "Cisco Umbrella", "Skyhigh", "McAfee Web Gateway",
			"Forcepoint", "Sophos", "Check Point", "Kaspersky", "ESET SSL", "Avast", "Bitdefender", "Cloudflare for Teams", "Gateway CA - Cloudflare", "WatchGuard", "SonicWall", "mitmproxy",
		} {
			if strings.Contains(issuer, strings.ToLower(known)) {
				return known
			}
		}
	}
	return ""
}
