//go:build linux

package lab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const (
	npmName    = "npm." + Zone
	npmPackage = "@corp/hello"
	npmVersion = "1.0.0"
)

// The registry has no uplink, so it knows only its own packages.
const npmConfig = `storage: ./storage
listen: http://%s
uplinks: {}
packages:
  '**': { access: $all, publish: $all }
web: { enable: false }
log: { type: stdout, format: pretty, level: warn }
`

// startNPM starts a registry and publishes a package that exists nowhere else.
func (l *Lab) startNPM(ctx context.Context) error {
	owner := l.user(Service)
	owner.Home = filepath.Join(l.dir, "npm")
	if err := owner.own(owner.Home); err != nil {
		return err
	}
	config := filepath.Join(owner.Home, "config.yaml")
	addr, port, err := l.place(npmAddr, 4873)
	if err != nil {
		return err
	}
	listen := net.JoinHostPort(addr, strconv.Itoa(port))
	if err := os.WriteFile(config, fmt.Appendf(nil, npmConfig, listen), 0o644); err != nil {
		return err
	}
	c := l.Corp.CommandAs(l.ctx, owner, l.tools.node, filepath.Join(l.tools.modules, "verdaccio", "bin", "verdaccio"), "--config", config)
	p, err := l.start(NPM, syscall.SIGTERM, c)
	if err != nil {
		return err
	}
	if err := p.answers(ctx, l.Corp, listen); err != nil {
		return err
	}
	if err := l.npmPublish(ctx, listen); err != nil {
		return fmt.Errorf("publish %s: %w", npmPackage, err)
	}
	l.setInfo(func(i *Info) {
		i.NPM = &NPMInfo{
			URL: "http://" + net.JoinHostPort(npmName, strconv.Itoa(port)) + "/", Host: npmName, Address: addr, Port: port, Package: npmPackage, Version: npmVersion, Node: l.tools.node,
		}
	})
	return nil
}

// npmPublish does the same as `npm publish`, which takes seconds.
func (l *Lab) npmPublish(ctx context.Context, addr string) error {
	tarball, err := npmTarball()
	if err != nil {
		return err
	}
	const file = "hello-" + npmVersion + ".tgz"
	sum, old := sha512.Sum512(tarball), sha1.Sum(tarball)
	body, err := json.Marshal(map[string]any{
		"_id": npmPackage, "name": npmPackage, "dist-tags": map[string]string{"latest": npmVersion},
		"versions": map[string]any{npmVersion: map[string]any{
			"name": npmPackage, "version": npmVersion, "main": "index.js",
			"dist": map[string]string{
				"integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:]),
				"shasum":    hex.EncodeToString(old[:]),
				"tarball":   "http://" + addr + "/" + npmPackage + "/-/" + file,
			},
		}},
		"_attachments": map[string]any{npmPackage + "-" + npmVersion + ".tgz": map[string]any{
			"content_type": "application/octet-stream", "length": len(tarball),
			"data": base64.StdEncoding.EncodeToString(tarball),
		}},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+addr+"/@corp%2fhello", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return l.Corp.Dial(ctx, network, addr)
		},
	}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return nil
}

func npmTarball() ([]byte, error) {
	var buf bytes.Buffer
	gz := gzip.NewWriter(&buf)
	tw := tar.NewWriter(gz)
	for _, f := range []struct{ name, text string }{
		{"package.json", `{"name": "` + npmPackage + `", "version": "` + npmVersion + `", "main": "index.js"}` + "\n"},
		{"index.js", `module.exports = "hello from the private network";` + "\n"},
	} {
		h := &tar.Header{Name: "package/" + f.name, Mode: 0o644, Size: int64(len(f.text)), Format: tar.FormatUSTAR}
		if err := tw.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(tw, f.text); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	if err := gz.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
