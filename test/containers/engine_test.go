//go:build linux

package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// place is where the engines run: in the network of cloud, with mounts and processes
// of their own, which end with it.
type place struct {
	dir   string
	cmd   *exec.Cmd
	hold  io.Closer // the place ends when it is closed
	ended chan error
	pod   string // script: podman in the place
}

// placeScript keeps what the engines write into /run and /var/lib to itself, mounts
// the cgroups if /sys has none, as in a chroot, and runs dockerd until stdin ends.
const placeScript = `
dir=$1 group=$2
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /var/lib/cni
mount -t tmpfs tmpfs /var/lib/cni
cgroups=/sys/fs/cgroup
if [ -z "$(ls -A $cgroups)" ]; then
	mount -t cgroup2 cgroup2 $cgroups
	if ! grep -q pids $cgroups/cgroup.controllers; then
		umount $cgroups
		mount -t tmpfs -o mode=755 tmpfs $cgroups
		for name in $(awk '!/^#/ && $2 > 0 && $4 == 1 { print $1 }' /proc/cgroups); do
			mkdir $cgroups/$name
			mount -t cgroup -o $name $name $cgroups/$name
		done
	fi
fi
dockerd --storage-driver=overlay2 --data-root $dir/docker --exec-root /run/docker --pidfile /run/docker.pid \
	--host unix://$dir/docker.sock --cgroup-parent=/$group >$dir/dockerd.log 2>&1 &
echo $$ of the place
read -r _ || true
kill $! && wait $! || true
find $cgroups -depth -type d -path "*/$group*" -exec rmdir {} +
`

// enter makes the place, whose files are below dir.
func enter(dir string) (*place, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	p := &place{dir: dir, ended: make(chan error, 1), pod: filepath.Join(dir, "podman")}
	p.cmd = world.Cloud.Command(context.Background(), "unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"bash", "-eu", "-c", placeScript, "bash", dir, p.group())
	hold, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.hold = hold
	log, err := os.Create(filepath.Join(dir, "place.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.ended <- p.cmd.Wait() }()
	return p, nil
}

// group is the cgroup of all containers.
func (p *place) group() string { return "causeway-" + world.Info().ID }

// leave stops both engines and says what they left.
func (p *place) leave() error {
	_ = p.hold.Close()
	var err error
	select {
	case err = <-p.ended:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill() // and with it everything in the place
		err = fmt.Errorf("dockerd did not end: %w", <-p.ended)
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(p.dir, "place.log"))
		err = fmt.Errorf("%w\n%s", err, log)
	}
	mounts, rerr := os.ReadFile("/proc/self/mounts")
	if strings.Contains(string(mounts), p.dir) {
		err = errors.Join(err, fmt.Errorf("mounts are left:\n%s", mounts))
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + p.group()); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("cgroups are left: %s", left))
	}
	return errors.Join(err, rerr)
}

// engine runs containers.
type engine struct {
	name    string
	version string
	cli     []string // the command line that a user begins with the engine's name
	run     []string // options that every container gets here
}

// engines waits for dockerd, and gives both engines their images.
func (p *place) engines(ctx context.Context) (docker, podman *engine, err error) {
	docker = &engine{name: "Docker", cli: []string{"docker", "--host", "unix://" + p.dir + "/docker.sock"}}
	for {
		out, derr := docker.command(ctx, "version", "--format", "{{.Server.Version}}").Output()
		if derr == nil {
			docker.version, _, _ = strings.Cut(strings.TrimSpace(string(out)), "+")
			break
		}
		select {
		case err := <-p.ended:
			p.ended <- err
			return nil, nil, errors.New(p.log())
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("%w: %s", ctx.Err(), p.log())
		case <-time.After(100 * time.Millisecond):
		}
	}
	inside, err := exec.CommandContext(ctx, "pgrep", "--parent", fmt.Sprint(p.cmd.Process.Pid)).Output()
	if err != nil {
		return nil, nil, fmt.Errorf("find the first process of the place: %w", err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec nsenter --target %s --mount --net --pid -- podman --root %[2]s/podman-root --runroot /run/podman "+
		"--runtime runc --cgroup-manager cgroupfs --events-backend file --network-config-dir %[2]s/podman-net \"$@\"\n", strings.TrimSpace(string(inside)), p.dir)
	if err := os.WriteFile(p.pod, []byte(script), 0o755); err != nil {
		return nil, nil, err
	}
	// Debian's limits would exceed those of a root that itself has limits.
	podman = &engine{name: "Podman", cli: []string{p.pod}, run: []string{"--cgroup-parent=/" + p.group(), "--ulimit=nofile=10000:10000", "--ulimit=nproc=30000:30000"}}
	out, err := podman.command(ctx, "version", "--format", "{{.Client.Version}}").Output()
	if err != nil {
		return nil, nil, fmt.Errorf("podman version: %w", err)
	}
	podman.version = strings.TrimSpace(string(out))
	musl, err := muslImage(ctx, p.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range []*engine{docker, podman} {
		for image, file := range map[string]string{debian: "debian.tar", busybox: musl} {
			if err := e.load(ctx, image, file); err != nil {
				return nil, nil, err
			}
		}
	}
	return docker, podman, nil
}

func (p *place) log() string {
	log, _ := os.ReadFile(filepath.Join(p.dir, "dockerd.log"))
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return "dockerd: " + strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// load makes an image of the files in an archive.
func (e *engine) load(ctx context.Context, image, file string) error {
	archive, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("%w; need_boxes of scripts/lib/boxes.sh makes it", err)
	}
	defer archive.Close()
	load := e.command(ctx, "import", "-", image)
	load.Stdin = archive
	if out, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("%s import: %w: %s", e.name, err, out)
	}
	return nil
}

// command is a command of the engine's, as a user of cloud types it.
func (e *engine) command(ctx context.Context, args ...string) *exec.Cmd {
	argv := append(append([]string{}, e.cli...), args...)
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}
