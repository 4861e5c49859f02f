package exit

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a profile.
const (
	maxProfile  = 256 << 10 // bytes
	maxPeers    = 64
	maxPrefixes = 1024 // in all

	defaultMTU = 1420
)

// profile is a WireGuard profile in the syntax of wg-quick(8).
type profile struct {
	private   string // hex
	addresses []netip.Addr
	dns       []netip.Addr
	mtu       int
	port      int
	peers     []wgPeer
	ignored   []string // keys without meaning, since there is no interface on this machine
}

type wgPeer struct {
	public, shared string // hex
	host           string // of the endpoint; "" if the peer has none
	port           uint16
	allowed        []netip.Prefix
	keepalive      int // seconds; 0: none
	line           int
}

// readProfile reads a profile from a file.
func readProfile(file string) (*profile, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxProfile+1))
	if err != nil {
		return nil, err
	}
	return parseProfile(text)
}

// parseProfile reads a profile. An error names the number of the line and not its text,
// which may hold a key.
func parseProfile(text []byte) (*profile, error) {
	if len(text) > maxProfile {
		return nil, fmt.Errorf("longer than %d bytes", maxProfile)
	}
	p := &profileParser{out: &profile{mtu: defaultMTU}}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxProfile+1)
	n := 0
	for lines.Scan() {
		n++
		line, _, _ := strings.Cut(lines.Text(), "#")
		if err := p.line(strings.TrimSpace(line), n); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return p.out, p.out.check()
}

func (p *profile) check() error {
	switch {
	case p.private == "":
		return errors.New("[Interface] has no PrivateKey")
	case len(p.addresses) == 0:
		return errors.New("[Interface] has no Address")
	case len(p.peers) == 0:
		return errors.New("there is no [Peer]")
	}
	for _, peer := range p.peers {
		if peer.public == "" {
			return fmt.Errorf("line %d: [Peer] has no PublicKey", peer.line)
		}
	}
	return nil
}

// nameServers returns the DNS servers of the profile that the tunnel leads to, and for
// each of the others the reason why not. wg-quick would ask those outside the tunnel,
// which discloses the private names.
func (p *profile) nameServers() (at []netip.Addr, beyond []string) {
	for _, a := range p.dns {
		_, allowed := p.peerOf(a)
		sameFamily := func(own netip.Addr) bool { return own.Is4() == a.Is4() }
		switch {
		case !allowed:
			beyond = append(beyond, fmt.Sprintf("DNS server %s is outside every peer's AllowedIPs, so the tunnel does not lead to it: add %[1]s/%d there", a, a.BitLen()))
		case !slices.ContainsFunc(p.addresses, sameFamily):
			beyond = append(beyond, fmt.Sprintf("DNS server %s cannot be asked without an Address of its family in [Interface]", a))
		default:
			at = append(at, a)
		}
	}
	return at, beyond
}

type profileParser struct {
	out      *profile
	section  string
	prefixes int
}

func (p *profileParser) line(line string, n int) error {
	switch lower := strings.ToLower(line); {
	case line == "":
		return nil
	case lower == "[interface]":
		p.section = lower
		return nil
	case lower == "[peer]":
		p.section = lower
		if len(p.out.peers) == maxPeers {
			return fmt.Errorf("more than %d peers", maxPeers)
		}
		p.out.peers = append(p.out.peers, wgPeer{line: n})
		return nil
	case strings.HasPrefix(line, "["):
		return errors.New("the sections are [Interface] and [Peer]")
	}
	key, value, ok := strings.Cut(line, "=")
	key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
	if !ok || value == "" {
		return errors.New(`not of the form "Key = value"`)
	}
	switch p.section {
	case "[interface]":
		return p.iface(key, value)
	case "[peer]":
		return p.peer(&p.out.peers[len(p.out.peers)-1], key, value)
	}
	return errors.New("a key before any section")
}

func (p *profileParser) iface(key, value string) (err error) {
	out := p.out
	switch key {
	case "privatekey":
		out.private, err = hexKey(value)
	case "address":
		err = p.each(value, func(s string) error {
			prefix, err := parsePrefix(s)
			out.addresses = append(out.addresses, prefix.Addr())
			return err
		})
	case "dns":
		err = p.each(value, func(s string) error {
			if a, err := netip.ParseAddr(s); err == nil {
				out.dns = append(out.dns, a.Unmap())
			} // else it is a search domain, which is ignored
			return nil
		})
	case "mtu":
		out.mtu, err = number(value, 576, 65535)
	case "listenport":
		out.port, err = number(value, 0, 65535)
	case "fwmark", "table", "saveconfig":
		out.ignored = append(out.ignored, key)
	case "preup", "postup", "predown", "postdown":
		return fmt.Errorf("%s is refused: Causeway does not run programs that a profile names; remove the line", key)
	default:
		return errors.New("[Interface] has no such key")
	}
	return err
}

func (p *profileParser) peer(peer *wgPeer, key, value string) (err error) {
	switch key {
	case "publickey":
		peer.public, err = hexKey(value)
	case "presharedkey":
		peer.shared, err = hexKey(value)
	case "allowedips":
		err = p.each(value, func(s string) error {
			prefix, err := parsePrefix(s)
			peer.allowed = append(peer.allowed, prefix.Masked())
			return err
		})
	case "endpoint":
		host, port, splitErr := net.SplitHostPort(value)
		if splitErr != nil || host == "" {
			return errors.New("an endpoint is host:port, or [address]:port")
		}
		var n int
		n, err = number(port, 1, 65535)
		peer.host, peer.port = host, uint16(n)
	case "persistentkeepalive":
		if strings.EqualFold(value, "off") {
			value = "0"
		}
		peer.keepalive, err = number(value, 0, 65535)
	default:
		return errors.New("[Peer] has no such key")
	}
	return err
}

// each calls f with every element of a comma-separated list.
func (p *profileParser) each(list string, f func(string) error) error {
	for s := range strings.SplitSeq(list, ",") {
		if p.prefixes++; p.prefixes > maxPrefixes {
			return fmt.Errorf("more than %d addresses", maxPrefixes)
		}
		if err := f(strings.TrimSpace(s)); err != nil {
			return err
		}
	}
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("not an address such as 10.0.0.2/32")
	}
	return prefix, nil
}

func hexKey(value string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(b) != 32 {
		return "", errors.New("a key is 32 bytes in base64")
	}
	return hex.EncodeToString(b), nil
}

func number(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("want a number from %d to %d", low, high)
	}
	return n, nil
}
