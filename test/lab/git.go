//go:build linux

package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const gitName = "git." + Zone

// sshFiles are the keys and the client's configuration, which both sshd share.
type sshFiles struct {
	once                     sync.Once
	err                      error
	key, hostKey, authorized string
	config                   string
}

func (l *Lab) makeSSH(ctx context.Context) (*sshFiles, error) {
	f := &l.ssh
	f.once.Do(func() { f.err = l.makeSSHFiles(ctx) })
	return f, f.err
}

func (l *Lab) makeSSHFiles(ctx context.Context) error {
	dir := filepath.Join(l.dir, "ssh")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f := &l.ssh
	f.key, f.hostKey = filepath.Join(dir, "id_ed25519"), filepath.Join(dir, "host_ed25519")
	f.authorized, f.config = filepath.Join(dir, "authorized_keys"), filepath.Join(dir, "config")
	for _, key := range []string{f.key, f.hostKey} {
		c := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", key)
		if _, err := output(c); err != nil {
			return err
		}
	}
	// ssh requires that nobody else can read the key; root may read it.
	if err := os.Chown(f.key, l.user(Dev).UID, l.user(Dev).GID); err != nil {
		return err
	}
	public, err := os.ReadFile(f.key + ".pub")
	if err != nil {
		return err
	}
	host, err := os.ReadFile(f.hostKey + ".pub")
	if err != nil {
		return err
	}
	known := filepath.Join(dir, "known_hosts")
	for path, text := range map[string]string{
		f.authorized: string(public),
		known:        strings.Join([]string{gitName, gitAddr, cloudAddr}, ",") + " " + string(host),
		f.config: "Host *\n  IdentityFile " + f.key + "\n  IdentitiesOnly yes\n  UserKnownHostsFile " + known +
			"\n  GlobalKnownHostsFile /dev/null\n  CheckHostIP no\n  BatchMode yes\n  StrictHostKeyChecking yes\n" +
			"  HostKeyAlgorithms ssh-ed25519\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// startSSHD serves addr:22 of a host to one account.
func (l *Lab) startSSHD(ctx context.Context, name string, h *Host, addr string, u User) error {
	files, err := l.makeSSH(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // sshd requires it
		return err
	}
	config := filepath.Join(l.dir, "ssh", name+".conf")
	text := strings.Join([]string{
		"ListenAddress " + addr + ":22", "HostKey " + files.hostKey, "AuthorizedKeysFile " + files.authorized,
		"AllowUsers " + u.Name, "PasswordAuthentication no", "KbdInteractiveAuthentication no", "UsePAM no",
		"StrictModes no", "PidFile none", "UseDNS no", "PrintMotd no", "MaxStartups 200", "SetEnv HOME=" + u.Home, "",
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	p, err := l.start("sshd-"+name, syscall.SIGTERM, h.Command(l.ctx, l.tools.sshd, "-D", "-e", "-f", config))
	if err != nil {
		return err
	}
	return p.answers(ctx, h, addr+":22")
}

// startGit serves a repository over ssh, as small companies do.
func (l *Lab) startGit(ctx context.Context) error {
	u := l.user(Service)
	dir := filepath.Join(l.dir, "git")
	if err := u.own(dir); err != nil {
		return err
	}
	repo := filepath.Join(dir, "hello.git")
	script := `set -e
		git init -q --bare -b main "$1"
		tree=$(printf 'hello from the private network\n' | git -C "$1" hash-object -w --stdin |
			sed 's/.*/100644 blob &\tREADME/' | git -C "$1" mktree)
		commit=$(git -C "$1" commit-tree -m 'Say hello' "$tree")
		git -C "$1" update-ref refs/heads/main "$commit"
		echo "$commit"`
	c := l.Corp.CommandAs(ctx, u, "sh", "-c", script, "sh", repo)
	c.Env = append(c.Env, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=lab", "GIT_AUTHOR_EMAIL=lab@corp.test", "GIT_COMMITTER_NAME=lab", "GIT_COMMITTER_EMAIL=lab@corp.test")
	head, err := output(c)
	if err != nil {
		return err
	}
	if err := l.startSSHD(ctx, Git, l.Corp, gitAddr, u); err != nil {
		return err
	}
	l.setInfo(func(i *Info) {
		i.Git = &GitInfo{
			URL: "ssh://" + u.Name + "@" + gitName + repo, Host: gitName, Port: 22,
			SSHConfig: l.ssh.config, KeyFile: l.ssh.key, Head: strings.TrimSpace(head),
		}
	})
	return nil
}

// startCloudSSH lets laptop log in to cloud by ssh as dev.
func (l *Lab) startCloudSSH(ctx context.Context) error {
	u := l.user(Dev)
	if err := l.startSSHD(ctx, SSH, l.Cloud, cloudAddr, u); err != nil {
		return err
	}
	l.setInfo(func(i *Info) {
		i.SSH = &SSHInfo{User: u.Name, Address: cloudAddr, Port: 22, SSHConfig: l.ssh.config, KeyFile: l.ssh.key}
	})
	return nil
}
