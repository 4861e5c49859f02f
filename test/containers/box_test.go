//go:build linux

package containers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The ways and promises that are tried in each container, in the order of the table.
const (
	names    = "names"    // a resource by its exact name, by a client that knows nothing
	dns      = "DNS"      // a name below a wildcard, which the hosts file cannot have
	outside  = "outside"  // what is no resource, as before
	proxy    = "proxy"    // Causeway's proxy
	nc       = "nc"       // causeway nc
	underRun = "run"      // an address, under causeway run
	tun      = "tun"      // an address, without causeway run
	doctor   = "doctor"   // what it says of these is so
	clean    = "clean-up" // after connect, and after a kill of all processes
	restart  = "restart"  // connect goes on after it
)

// box is a container that people have.
type box struct {
	what     string
	image    string
	options  []string
	selected bool // in the default run too
	// sealed says that the helper cannot be copied into it.
	sealed bool
	// without has the reason for each way that does not work.
	without map[string]string
	podman  map[string]string // replaces without there, if it is not nil
}

// running is a container.
type running struct {
	t      *testing.T
	engine *engine
	name   string
}

// start runs a container whose first process sleeps and reaps nothing.
func start(t *testing.T, e *engine, b box) *running {
	t.Helper()
	r := &running{t: t, engine: e, name: "box"}
	args := append([]string{"run", "--detach", "--name", r.name}, e.run...)
	if b.sealed {
		args = append(args, "--volume", helper+":/usr/local/bin/causeway:ro")
	}
	r.must(append(append(args, b.options...), b.image, "sleep", "infinity")...)
	t.Cleanup(func() { r.must("rm", "--force", r.name) })
	if !b.sealed {
		r.must("cp", helper, r.name+":/usr/local/bin/causeway")
	}
	return r
}

// must runs a command of the engine's.
func (r *running) must(args ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := r.engine.command(ctx, args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s %s: %v\n%s", r.engine.name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// try runs a script in the container as its user.
func (r *running) try(script string, options ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	args := append([]string{"exec", "-i"}, options...)
	out, err := r.engine.command(ctx, append(args, r.name, "sh", "-c", script)...).CombinedOutput()
	said := strings.TrimSpace(string(out))
	if ctx.Err() != nil {
		err = fmt.Errorf("still running after 30 s")
	}
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.TrimSpace(script), err, said)
	}
	return said, err
}

// says runs a script whose output has to end with want.
func (r *running) says(want, script string) error {
	out, err := r.try(script)
	if err == nil && !strings.HasSuffix(out, want) {
		err = fmt.Errorf("%s: got %q, want %q", script, out, want)
	}
	return err
}

// stateScript prints everything that a session may leave: the two files, other
// files, processes and sockets.
const stateScript = `
for file in /etc/hosts /etc/resolv.conf; do stat -c '%n %a %u %g' $file; cat $file; done
find /tmp /var/tmp /run /dev/shm /root /home /etc ! -path '*/.cache' ! -path '*/causeway' ! -path '*/causeway-[0-9]*' ! -path '/run/sudo*' 2>/dev/null | sort
for stat in /proc/[0-9]*/stat; do
	line=$(cat $stat 2>/dev/null) || continue
	set -- ${line##*)}
	case $2 in $$ | 0) [ "$1" = Z ] || continue ;; esac
	echo process ${line%)*} $1
done | sed 's/[0-9]* (/(/'
for file in /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6; do
	while read -r n local remote state rest; do case $state in 0A | 07) echo $file $local ;; esac; done <$file
done
grep -o '[@/].*causeway.*' /proc/net/unix
ls /sys/class/net
`

// state is what there is in the container.
func (r *running) state() string {
	r.t.Helper()
	out, err := r.try(stateScript+"true", "--user", "0")
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// settles waits until the container is as it was. A line that has a part of
// ignored does not count.
func (r *running) settles(before string, ignored ...string) error {
	lines := func(state string) []string {
		return slices.DeleteFunc(strings.Split(state, "\n"), func(l string) bool {
			return slices.ContainsFunc(ignored, func(i string) bool { return strings.Contains(l, i) })
		})
	}
	var diff string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if diff = cmp.Diff(lines(before), lines(r.state())); diff == "" {
			return nil
		}
	}
	return fmt.Errorf("before (-), after (+):\n%s", diff)
}

// tryWays tries the ways of a session.
func (r *running) tryWays(s *session) map[string]error {
	const web = "HTTP/1.1 web.corp.test"
	http := func(host string) string {
		return "'GET / HTTP/1.1\\r\\nHost: " + host + "\\r\\nConnection: close\\r\\n\\r\\n'"
	}
	return map[string]error{
		names:    r.says(" web.corp.test", "fetch http://web.corp.test/"),
		dns:      r.says(" x.apps.corp.test", "fetch http://x.apps.corp.test/"),
		outside:  r.says("198.51.100.10", "fetch "+world.Info().Public.URL+" >/dev/null && lookup "+world.Info().Public.Host+" | sed 's/ .*//' | sort -u"),
		proxy:    r.says(web, "if command -v curl >/dev/null; then curl -sS -m 10 -x http://"+s.first.Proxy+" http://web.corp.test/; else http_proxy=http://"+s.first.Proxy+" wget -q -O - http://web.corp.test/; fi"),
		nc:       r.says(web, "printf "+http("web.corp.test")+" | causeway nc web.corp.test 80"),
		underRun: r.says(" 10.77.0.12", "causeway run -- fetch http://10.77.0.12/"),
		tun:      r.says(" 10.77.0.12", "fetch http://10.77.0.12/"),
	}
}

// doctorIsRight compares what doctor says with what was found.
func (r *running) doctorIsRight(found map[string]error) error {
	out, err := r.try("causeway doctor capture --json || [ $? = 3 ]")
	if err != nil {
		return err
	}
	var checks []struct {
		Name, Detail string
		OK           bool
	}
	if err := json.Unmarshal([]byte(out), &checks); err != nil {
		return fmt.Errorf("doctor: %w: %s", err, out)
	}
	said := map[string]bool{}
	for _, c := range checks {
		// A device or run that is missing is no failed check: other ways are there.
		said[c.Name] = c.OK && !strings.Contains(c.Detail, "cannot")
	}
	// A name leads to the port of the resource, here 80.
	said["hosts file"] = said["hosts file"] && said["ports below 1024"]
	for check, way := range map[string]string{"hosts file": names, "stub resolver": dns, "causeway run": underRun, "TUN device": tun} {
		if works, known := said[check]; !known || works != (found[way] == nil) {
			err = errors.Join(err, fmt.Errorf("doctor says %q is %t, but %s works: %t\n%s", check, works, way, found[way] == nil, out))
		}
	}
	return err
}
