package owner

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Words that stand for users in a list of one element.
const (
	AutoUsers     = "auto"     // everyone in a container of one person, else mine
	MineUsers     = "mine"     // the capture's own user and root
	EveryoneUsers = "everyone" // all users of the machine
)

// MaxUsers bounds a list of users.
const MaxUsers = 16

// Users says who is served. The zero value serves the capture's own user and root.
type Users struct {
	// Everyone serves all users. A sender that cannot be found any more is served
	// too, since every user is allowed.
	Everyone bool
	// UIDs are served besides the capture's own user and root.
	UIDs []int
	// Gone serves a sender whose socket is closed already, of whom nothing is known
	// but that it ran on this machine.
	Gone bool
}

// CheckUsers returns an error if list is not a list of users: one of the words, or
// names. An empty list means AutoUsers.
func CheckUsers(list []string) error {
	if len(list) > MaxUsers {
		return fmt.Errorf("%d users: at most %d are allowed", len(list), MaxUsers)
	}
	for i, name := range list {
		switch {
		case len(list) > 1 && slices.Contains([]string{AutoUsers, MineUsers, EveryoneUsers}, name):
			return fmt.Errorf("users: %q stands alone, without names beside it", name)
		case !isUserName(name):
			return fmt.Errorf("users: %q cannot be the name of a user", name)
		case slices.Contains(list[:i], name):
			return fmt.Errorf("users: %q is there twice", name)
		}
	}
	return nil
}

// isUserName tells whether Linux, Windows domains or directories can have s as the
// name of a user.
func isUserName(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(`_-.@\$+`, r)
	})
}

// UsersOf returns the users that list stands for on this machine. The notes are
// sentences about names that no user has.
func UsersOf(list []string) (u Users, notes []string) {
	return machine{"/", os.Getenv}.usersOf(list)
}

func (m machine) usersOf(list []string) (u Users, notes []string) {
	word := AutoUsers
	if len(list) == 1 {
		word = list[0]
	}
	switch {
	case len(list) > 1:
	case word == MineUsers:
		return Users{Gone: m.isPersonal()}, nil
	case word == EveryoneUsers:
		return Users{Everyone: true}, nil
	case word == AutoUsers:
		return Users{Everyone: m.isPersonal()}, nil
	}
	u.Gone = m.isPersonal()
	for _, name := range list {
		uid := -1
		found, err := user.Lookup(name)
		if err == nil {
			uid, err = strconv.Atoi(found.Uid)
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("There is no user %s on the remote, whom \"causeway.users\" names.", name))
			continue
		}
		u.UIDs = append(u.UIDs, uid)
	}
	return u, notes
}

// machine is the part of the system that tells whose machine this is.
type machine struct {
	root   string // "/"
	getenv func(string) string
}

// isPersonal tells whether this is a container of one person. Its other users are
// services of that person's: _apt, www-data, postgres, the builders of Nix.
func (m machine) isPersonal() bool { return m.isContainer() && m.people() <= 1 }

// isContainer tells whether this is a container or a codespace. If that is unknown,
// it returns false.
func (m machine) isContainer() bool {
	for _, file := range []string{".dockerenv", "run/.containerenv"} {
		if _, err := os.Stat(filepath.Join(m.root, file)); err == nil {
			return true
		}
	}
	if m.getenv("CODESPACES") == "true" || m.getenv("REMOTE_CONTAINERS") == "true" || m.getenv("KUBERNETES_SERVICE_HOST") != "" {
		return true
	}
	groups, _ := os.ReadFile(filepath.Join(m.root, "proc/1/cgroup"))
	for _, word := range []string{"docker", "kubepods", "containerd", "libpod", "lxc"} {
		if bytes.Contains(groups, []byte(word)) {
			return true
		}
	}
	return m.hasOverlayRoot()
}

// hasOverlayRoot tells whether the root is a file system of layers, as that of a
// container's image is.
func (m machine) hasOverlayRoot() bool {
	mounts, _ := os.ReadFile(filepath.Join(m.root, "proc/1/mountinfo"))
	for line := range bytes.Lines(mounts) {
		before, after, ok := bytes.Cut(line, []byte(" - ")) // optional fields are before it
		f, of := bytes.Fields(before), bytes.Fields(after)
		if ok && len(f) > 4 && len(of) > 0 && string(f[4]) == "/" && (string(of[0]) == "overlay" || string(of[0]) == "fuse-overlayfs") {
			return true
		}
	}
	return false
}

// people counts the accounts of persons: those with a uid from 1000 and a login
// shell. If the accounts cannot be read, it returns a large number.
func (m machine) people() int {
	const many = 1 << 20
	f, err := os.Open(filepath.Join(m.root, "etc/passwd"))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		return many
	}
	defer f.Close()
	uids := map[int]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 7 {
			continue
		}
		uid, err := strconv.Atoi(fields[2])
		if err != nil || uid < 1000 || uid >= 65534 {
			continue
		}
		switch filepath.Base(fields[6]) {
		case "nologin", "false", "sync":
		default: // an empty field means /bin/sh
			uids[uid] = true
		}
	}
	if lines.Err() != nil {
		return many
	}
	return len(uids)
}
