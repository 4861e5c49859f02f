//go:build linux

package containers

import (
	"errors"
	"fmt"
	"testing"
)

const (
	sealedFiles = "the engine mounts the hosts file and resolv.conf read-only; each port of an exact name gets a port of 127.0.0.1 instead"
	noDevice    = "a TUN device needs root or `sudo -n`, NET_ADMIN and /dev/net/tun"
	lowPorts    = "Podman allows ports below 1024 only with NET_BIND_SERVICE; each port of an exact name gets a port of 127.0.0.1 instead"
	noFiles     = "the user can edit neither the hosts file nor resolv.conf; each port of an exact name gets a port of 127.0.0.1 instead"
)

// unprivileged is what a user without root and sudo does not have.
func unprivileged() map[string]string {
	return map[string]string{tun: noDevice, names: noFiles, dns: noFiles}
}

func boxes() []box {
	noTun := map[string]string{tun: noDevice}
	readOnly := map[string]string{tun: noDevice, names: sealedFiles, dns: sealedFiles}
	return []box{
		{what: "root", image: debian, selected: true, without: noTun},
		{what: "a user with sudo", image: debian, options: []string{"--user=dev"}, selected: true, without: noTun},
		{what: "a user without sudo", image: debian, options: []string{"--user=plain"}, selected: true, without: unprivileged()},
		{what: "busybox with musl, root", image: busybox, selected: true, without: noTun},
		{what: "NET_ADMIN and /dev/net/tun", image: debian, options: []string{"--cap-add=NET_ADMIN", "--device=/dev/net/tun"}, selected: true},
		{what: "NET_ADMIN and /dev/net/tun, a user with sudo", image: debian, options: []string{"--user=dev", "--cap-add=NET_ADMIN", "--device=/dev/net/tun"}},
		{what: "`--read-only`", image: debian, options: []string{"--read-only"}, sealed: true, selected: true, without: readOnly},
		{what: "`--read-only --tmpfs /tmp`", image: debian, options: []string{"--read-only", "--tmpfs=/tmp"}, sealed: true, without: readOnly},
		{what: "`--cap-drop=ALL`", image: debian, options: []string{"--cap-drop=ALL"}, selected: true, without: noTun,
			podman: map[string]string{tun: noDevice, names: lowPorts, dns: lowPorts}},
		{what: "`--security-opt no-new-privileges`, root", image: debian, options: []string{"--security-opt=no-new-privileges"}, without: noTun},
		{what: "`--security-opt no-new-privileges`, a user with sudo", image: debian, options: []string{"--security-opt=no-new-privileges", "--user=dev"}, without: unprivileged()},
		{what: "a uid without a name", image: debian, options: []string{"--user=12345:12345"}, selected: true, without: unprivileged()},
		{what: "`--network host`", image: debian, options: []string{"--network=host"}, without: noTun},
		{what: "`--init`", image: debian, options: []string{"--init"}, selected: true, without: noTun},
		{what: "`--pids-limit=100`", image: debian, options: []string{"--pids-limit=100"}, without: noTun},
	}
}

func TestBoxes(t *testing.T) {
	var table []row
	defer func() { tried(t, table) }()
	for _, e := range []*engine{docker, podman} {
		for _, b := range boxes() {
			if !whole && (!b.selected || e == podman && b.what != "root") {
				continue
			}
			if e == podman && b.podman != nil {
				b.without = b.podman
			}
			t.Run(e.name+"/"+b.what, func(t *testing.T) {
				found := examine(t, e, b)
				judge(t, b, found)
				table = append(table, row{b.what, e.name + " " + e.version, result(b, found)})
			})
		}
	}
}

// judge compares what was found with what the table says.
func judge(t *testing.T, b box, found map[string]error) {
	t.Helper()
	for way, err := range found {
		switch why := b.without[way]; {
		case err != nil && why == "":
			t.Errorf("%s: %v", way, err)
		case err == nil && why != "":
			t.Errorf("%s works, which the table denies: %s", way, why)
		}
	}
}

// examine connects a container, and returns for each way why it does not work.
func examine(t *testing.T, e *engine, b box) map[string]error {
	r := start(t, e, b)
	before := r.state()
	s := connect(t, r)
	found := r.tryWays(s)
	found[doctor] = r.doctorIsRight(found)
	s.stop()
	found[clean] = r.settles(before)

	s = connect(t, r)
	usable := func() error {
		if b.without[names] == "" {
			return r.says(" web.corp.test", "fetch http://web.corp.test/")
		}
		return r.says(" web.corp.test", "printf 'GET / HTTP/1.1\\r\\nHost: web.corp.test\\r\\nConnection: close\\r\\n\\r\\n' | causeway nc web.corp.test 80")
	}
	// Either may have no right to kill the other's. The script dies too.
	_, _ = r.try("kill -9 -1")
	_, _ = r.try("kill -9 -1", "--user", "0")
	r.must("start", r.name) // it ended with the process below --init
	s.await("reconnected")
	if err := usable(); err != nil {
		found[clean] = errors.Join(found[clean], fmt.Errorf("after a kill of all processes: %w", err))
	}
	r.must("restart", "--time", "0", r.name)
	s.await("reconnected")
	found[restart] = usable()
	s.stop()
	// A capture that is killed cannot remove its folder, which only it enters. Podman
	// gives another address to the container when it restarts.
	if err := r.settles(before, "/.cache/causeway/run-", " "+r.name); err != nil {
		found[clean] = errors.Join(found[clean], fmt.Errorf("after a kill and a restart: %w", err))
	}
	return found
}
