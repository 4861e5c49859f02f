//go:build linux

package owner

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Another user is served if everyone is, or if the list has that user, and else
// refused by name. A client that has closed its socket is served if everyone is, or by
// Gone.
func TestUsers(t *testing.T) {
	for name, c := range map[string]struct {
		users        Users
		served, gone bool
	}{
		"mine":                               {Users{}, false, false},
		"a list":                             {Users{UIDs: []int{1, otherUser}}, true, false},
		"others":                             {Users{UIDs: []int{1, 2}}, false, false},
		"everyone":                           {Users{Everyone: true}, true, true},
		"mine, in a container of one person": {Users{Gone: true}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			var refused []string
			k := New(1234)
			k.Users, k.Refused = c.users, func(user string) { refused = append(refused, user) }
			defer k.Close()
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer pc.Close()
			stop := start(t, otherUser, "tcp4", ln.Addr().String())
			conn, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			local := pc.LocalAddr().(*net.UDPAddr).AddrPort()
			stopUDP := start(t, otherUser, "udp4", local.String())
			_, remote, err := pc.ReadFromUDPAddrPort(make([]byte, 8))
			if err != nil {
				t.Fatal(err)
			}
			check := func(what string, want bool, o Owner, err error) {
				t.Helper()
				if (err == nil) != want {
					t.Errorf("%s: %+v %v", what, o, err)
				}
				if errors.Is(err, ErrStranger) && !strings.Contains(err.Error(), "user 54321 (uid 54321)") {
					t.Errorf("%s: it does not say who: %v", what, err)
				}
			}
			for range 2 {
				o, err := k.Check(conn)
				check("TCP", c.served, o, err)
				if err == nil && (o.UID != otherUser || k.Process(o, true).PID == 0) {
					t.Errorf("it is %+v, %+v", o, k.Process(o, true))
				}
				o, err = k.CheckUDP(local, remote)
				check("UDP", c.served, o, err)
			}
			stop()
			stopUDP()
			o, err := k.Check(conn)
			check("TCP, closed", c.gone, o, err)
			if err == nil && (o != unknown || k.Process(o, true) != Process{UID: -1}) {
				t.Errorf("of a client that is gone: %+v %+v", o, k.Process(o, true))
			}
			o, err = k.CheckUDP(local, remote)
			check("UDP, closed", c.gone, o, err)
			o, err = k.CheckConnecting(netip.MustParseAddrPort("127.0.0.1:9"), netip.MustParseAddrPort("127.0.0.1:10"), 1)
			check("a connection that is gone", c.gone, o, err)
			o, err = k.CheckEcho(netip.MustParseAddr("127.9.9.9"), 9)
			check("a ping", c.gone, o, err)
			if want := !c.served; (len(refused) == 1) != want || want && refused[0] != "54321" {
				t.Errorf("told of %q", refused)
			}
		})
	}
}

func TestCheckUsers(t *testing.T) {
	for list, ok := range map[string]bool{"": true, "auto": true, "mine": true, "everyone": true, "postgres": true, "_apt,www-data": true,
		`CORP\anna,anna@corp.example`: true, "everyone,postgres": false, "mine,everyone": false, "a,a": false, "-x": false, "a b": false,
		"a\x1b": false, strings.Repeat("x", 65): false, "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q": false} {
		var names []string
		if list != "" {
			names = strings.Split(list, ",")
		}
		if err := CheckUsers(names); (err == nil) != ok {
			t.Errorf("%q: %v", list, err)
		}
	}
}

func TestUsersOf(t *testing.T) {
	if u, notes := UsersOf([]string{EveryoneUsers}); !u.Everyone || notes != nil {
		t.Errorf("%+v %q", u, notes)
	}
	if u, notes := UsersOf([]string{MineUsers}); u.Everyone || len(u.UIDs) > 0 || notes != nil {
		t.Errorf("%+v %q", u, notes)
	}
	if u, notes := UsersOf([]string{"daemon", "nobody-of-this-name"}); u.Everyone || len(u.UIDs) != 1 || u.UIDs[0] != 1 || len(notes) != 1 || !strings.Contains(notes[0], "nobody-of-this-name") {
		t.Errorf("%+v %q", u, notes)
	}
}

// In a container of one person alone, everyone is served by default. With other values of
// the setting, a sender that cannot be found is served there.
func TestIsPersonal(t *testing.T) {
	const (
		services = "root:x:0:0:root:/root:/bin/bash\n_apt:x:100:65534::/nonexistent:/usr/sbin/nologin\nnixbld1:x:30001:30000::/var/empty:/sbin/nologin\n" +
			"nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n"
		anna = "anna:x:1000:1000::/home/anna:/bin/bash\n"
		bert = "bert:x:1001:1001::/home/bert:\n"
		root = "24 1 0:22 / / rw,relatime master:1 - ext4 /dev/vda rw\n"
		over = "1 2 0:3 / /proc rw - proc proc rw\n24 1 0:22 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/a\n"
	)
	for name, c := range map[string]struct {
		files map[string]string
		env   string
		want  bool
	}{
		"a host":                     {map[string]string{"etc/passwd": services + anna, "proc/1/mountinfo": root, "proc/1/cgroup": "0::/init.scope\n"}, "", false},
		"docker":                     {map[string]string{"etc/passwd": services + anna, ".dockerenv": ""}, "", true},
		"docker, root alone":         {map[string]string{"etc/passwd": services, ".dockerenv": ""}, "", true},
		"docker, no accounts at all": {map[string]string{".dockerenv": ""}, "", true},
		"docker, two people":         {map[string]string{"etc/passwd": services + anna + bert, ".dockerenv": ""}, "", false},
		"podman":                     {map[string]string{"etc/passwd": anna, "run/.containerenv": ""}, "", true},
		"a codespace":                {map[string]string{"etc/passwd": anna}, "CODESPACES=true", true},
		"by its group":               {map[string]string{"etc/passwd": anna, "proc/1/cgroup": "0::/kubepods/besteffort/pod1\n"}, "", true},
		"by its root":                {map[string]string{"etc/passwd": anna, "proc/1/mountinfo": over}, "", true},
		"accounts out of reach":      {map[string]string{"etc/passwd/x": "", ".dockerenv": ""}, "", false},
		"nothing known":              {nil, "", false},
	} {
		dir := t.TempDir()
		for path, content := range c.files {
			path = filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		getenv := func(key string) string {
			value, _ := strings.CutPrefix(c.env, key+"=")
			if value == c.env {
				return ""
			}
			return value
		}
		if got := (machine{dir, getenv}).isPersonal(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		for _, list := range []string{MineUsers, "daemon"} {
			if u, _ := (machine{dir, getenv}).usersOf([]string{list}); u.Everyone || u.Gone != c.want {
				t.Errorf("%s, %s: %+v", name, list, u)
			}
		}
	}
}
