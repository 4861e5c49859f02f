//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// The accounts that a lab makes on this machine if they are missing. They have no
// password and stay after the lab ends. Their homes do not.
const (
	Dev     = "dev"     // the user of cloud, who may become root there by sudo
	Other   = "other"   // another user of cloud
	Service = "service" // owns what sshd and the registry serve
)

var accounts = []struct {
	key, name string
	uid       int
}{{Dev, "cwdev", 5501}, {Other, "cwother", 5502}, {Service, "cwsvc", 5503}}

// User is an unprivileged account.
type User struct {
	Name string `json:"name"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	Home string `json:"home"`
}

func (u User) environ() []string {
	return []string{"HOME=" + u.Home, "USER=" + u.Name, "LOGNAME=" + u.Name, "SHELL=/bin/bash"}
}

// own makes dir, which only u can enter.
func (u User) own(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return os.Chown(dir, u.UID, u.GID)
}

// User returns the account of a key: Dev, Other or Service.
func (l *Lab) User(key string) User { return l.user(key) }

func (l *Lab) user(key string) User { return l.Info().Users[key] }

func (l *Lab) makeUsers(ctx context.Context) error {
	users := map[string]User{}
	if l.opts.Loopback {
		u := User{Name: strconv.Itoa(os.Getuid()), UID: os.Getuid(), GID: os.Getgid(), Home: filepath.Join(l.dir, "home", Dev)}
		if me, err := user.Current(); err == nil {
			u.Name = me.Username
		}
		for _, a := range accounts {
			users[a.key] = u
		}
		l.setInfo(func(i *Info) { i.Users = users })
		return u.own(u.Home)
	}
	for _, a := range accounts {
		if err := makeUser(ctx, a.name, a.uid); err != nil {
			return err
		}
		u := User{Name: a.name, UID: a.uid, GID: a.uid, Home: filepath.Join(l.dir, "home", a.key)}
		if err := u.own(u.Home); err != nil {
			return err
		}
		users[a.key] = u
	}
	l.setInfo(func(i *Info) { i.Users = users })
	return nil
}

func makeUser(ctx context.Context, name string, uid int) error {
	id := strconv.Itoa(uid)
	if u, err := user.Lookup(name); err == nil {
		if u.Uid != id {
			return fmt.Errorf("make user %s: it exists with uid %s instead of %s", name, u.Uid, id)
		}
		return nil
	}
	// No password matches "*". sshd rejects the default "!" as a locked account.
	out, err := exec.CommandContext(ctx, "useradd", "--uid", id, "--user-group", "--no-create-home",
		"--no-log-init", "--home-dir", "/", "--shell", "/bin/bash", "--password", "*", name).CombinedOutput()
	if err != nil {
		// Another lab may have made it meanwhile.
		if u, lerr := user.Lookup(name); lerr == nil && u.Uid == id {
			return nil
		}
		return fmt.Errorf("make user %s: %w", name, errors.Join(err, errors.New(strings.TrimSpace(string(out)))))
	}
	return nil
}
