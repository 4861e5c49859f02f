//go:build linux

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// These variables of the environment make the test binary play another role.
const (
	crashing = "CAUSEWAY_LAB_CRASHING" // start a lab and wait to be killed
	loopback = "CAUSEWAY_LAB_LOOPBACK" // start a lab on loopback, check it and end
)

func TestMain(m *testing.M) {
	if os.Getenv(crashing) != "" {
		l, err := Up(context.Background(), Options{Services: []string{Postgres, Web}})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(l.id, l.dir)
		select {}
	}
	if os.Getenv(loopback) != "" {
		if err := tryLoopback(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func raise(t *testing.T, o Options) *Lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	l, err := Up(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestReach(t *testing.T) {
	l := raise(t, Options{})
	i := l.Info()
	db := fmt.Sprintf("host=%s user=%s password=%s dbname=%s sslmode=verify-full sslrootcert=%s connect_timeout=3",
		i.Postgres.Host, i.Postgres.User, i.Postgres.Password, i.Postgres.Database, i.CAFile)
	clone := "GIT_SSH_COMMAND='ssh -F " + i.Git.SSHConfig + "' git ls-remote " + i.Git.URL + " main"
	ws := "curl -sSi -m 3 --http1.1 --cacert " + i.CAFile + " -H 'Connection: Upgrade' -H 'Upgrade: websocket'" +
		" -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' https://web.corp.test/ws || true"
	for _, c := range []struct{ name, command, want string }{
		{"database", "psql -Atc 'select count(*) from orders' '" + db + "'", "3"},
		{"pgbench", "pgbench -n -t 10 -c 2 '" + db + "'", "transactions actually processed: 20/20"},
		{"registry", "curl -sS -m 3 " + i.NPM.URL + "@corp%2fhello", `"1.0.0"`},
		{"HTTP", "curl -sS -m 3 http://web.corp.test/", "HTTP/1.1 web.corp.test"},
		{"HTTP/2", "curl -sS -m 3 --cacert " + i.CAFile + " https://web.corp.test/", "HTTP/2.0 web.corp.test"},
		{"IPv6", "curl -sS -m 3 -6 http://web.corp.test/", "HTTP/1.1 web.corp.test"},
		{"WebSocket", ws, "101 Switching Protocols"},
		{"upload", "printf abc | curl -sS -m 3 -T - http://web.corp.test/upload", "3 ba7816bf"},
		{"git", clone, i.Git.Head},
		{"client closes first", "printf abc | nc -N -w 3 echo.corp.test 10", "3 ba7816bf"},
		{"server closes first", "printf 'token\nabc' | nc -N -w 3 echo.corp.test 8; sleep 0.1; curl -sS 'http://web.corp.test/halfclosed?token=token'", "3 ba7816bf"},
		{"time", "ntpdig ntp.corp.test", "10.77.0.15 s5"},
		{"UDP", "printf abc | nc -u -w 1 echo.corp.test 7", "abc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := l.Laptop.Command(t.Context(), "bash", "-c", c.command).CombinedOutput()
			if err != nil || !strings.Contains(string(out), c.want) {
				t.Errorf("from laptop: %v\n%s\nwant %q", err, out, c.want)
			}
			out, err = l.Cloud.Command(t.Context(), "bash", "-c", c.command).CombinedOutput()
			if strings.Contains(string(out), c.want) {
				t.Errorf("from cloud: reached it: %v\n%s", err, out)
			}
		})
	}
	t.Run("bytes", func(t *testing.T) {
		sh := `test "$(curl -sS 'http://web.corp.test/bytes?n=3000000&seed=5' | sha256sum | cut -d' ' -f1)" = ` +
			`"$(curl -sS 'http://web.corp.test/sha256?n=3000000&seed=5')"`
		if out, err := l.Laptop.Command(t.Context(), "bash", "-c", sh).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("dead ends", func(t *testing.T) { deadEnds(t, l) })
	t.Run("cloud", func(t *testing.T) { cloud(t, l) })
	t.Run("directory", func(t *testing.T) {
		read, err := ReadInfo(l.Dir())
		if err != nil || read.ID != i.ID || read.Postgres == nil {
			t.Errorf("lab.json: %+v, %v", read, err)
		}
	})
}

// deadEnds checks that each name fails in its own way. curl exits with 6 for a
// name, 7 for a connection and 28 for a timeout.
func deadEnds(t *testing.T, l *Lab) {
	for name, want := range map[string]string{
		"unreachable": "7 No route to host", "noroute": "7 Network is unreachable", "blackhole": "28 ",
		"nowhere": "6 ", "servfail": "6 ", "rebind": "7 Connection refused",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sh := `curl -sv -m 1 http://$1.corp.test/ 2>&1; echo "exit $?"`
			out, err := l.Laptop.Command(t.Context(), "bash", "-c", sh, "bash", name).Output()
			code, text, _ := strings.Cut(want, " ")
			if err != nil || !strings.Contains(string(out), "exit "+code) || !strings.Contains(string(out), text) {
				t.Errorf("%v\n%s\nwant %s", err, out, want)
			}
		})
	}
}

// cloud checks the properties of a remote environment.
func cloud(t *testing.T, l *Lab) {
	run := func(c *exec.Cmd) string {
		t.Helper()
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v\n%s", c.Args, err, out)
		}
		return string(out)
	}
	if out := run(l.Cloud.Command(t.Context(), "curl", "-sS", "-m", "3", "http://"+PublicName+"/")); !strings.Contains(out, cloudPublic) {
		t.Errorf("public web server answers %q", out)
	}
	if out := run(l.Cloud.Command(t.Context(), "ip", "route", "show", "default")); out != "" {
		t.Errorf("cloud has a default route: %s", out)
	}
	for _, addr := range []string{dbAddr, npmAddr, webAddr, "[" + webAddr6 + "]", gitAddr, echoAddr, dnsAddr, laptopCorp} {
		c, err := l.Cloud.Dial(t.Context(), "tcp", addr+":80")
		if !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("cloud has a route to %s: %v, %v", addr, c, err)
		}
	}
	// Laptop forwards nothing, even if both ends have a route.
	run(l.Cloud.Command(t.Context(), "ip", "route", "add", "10.77.0.0/24", "via", laptopCloud))
	run(l.Corp.Command(t.Context(), "ip", "route", "add", "10.78.0.0/24", "via", laptopCorp))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if c, err := l.Cloud.Dial(ctx, "tcp", webAddr+":80"); err == nil {
		c.Close()
		t.Error("laptop forwards")
	}
	run(l.Cloud.Command(t.Context(), "ip", "route", "del", "10.77.0.0/24"))
	before, err := os.ReadFile("/etc/hosts")
	if err != nil {
		t.Fatal(err)
	}
	run(l.Cloud.CommandAs(t.Context(), l.User(Dev), "sudo", "-n", "sh", "-c", "echo 127.9.9.9 edited >> /etc/hosts"))
	if out := run(l.Cloud.CommandAs(t.Context(), l.User(Other), "getent", "hosts", "edited")); !strings.Contains(out, "127.9.9.9") {
		t.Errorf("another process sees %q after an edit of /etc/hosts", out)
	}
	if out, err := l.Cloud.CommandAs(t.Context(), l.User(Other), "sudo", "-n", "true").CombinedOutput(); err == nil {
		t.Errorf("the other user may become root: %s", out)
	}
	if after, err := os.ReadFile("/etc/hosts"); err != nil || string(after) != string(before) {
		t.Errorf("this machine's own /etc/hosts has changed: %v", err)
	}
	ssh := l.Info().SSH
	if out := run(l.Laptop.Command(t.Context(), "ssh", "-F", ssh.SSHConfig, ssh.User+"@"+ssh.Address, "pwd; id -un")); !strings.Contains(out, l.User(Dev).Name) {
		t.Errorf("ssh from laptop to cloud: %q", out)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	dir := fmt.Sprintf("/tmp/labtest-%d", os.Getpid()) // other users cannot enter t.TempDir
	defer os.RemoveAll(dir)
	l := raise(t, Options{Dir: dir, Services: []string{Postgres, Git, Web}})
	other := raise(t, Options{Services: []string{}})

	if l, err := Up(t.Context(), Options{Dir: t.TempDir(), Services: []string{}}); err == nil {
		l.Close()
		t.Error("a directory that other users cannot get to was accepted")
	}

	// A daemon that has lost its parent.
	daemon := l.Cloud.Command(t.Context(), "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!")
	out, err := daemon.Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	remains(t, l.id)
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil {
		t.Errorf("process %d is still there", pid)
	}
	left, err := filepath.Glob(dir + "/*")
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "logs" {
		t.Errorf("left in the lab's directory: %v, %v", left, err)
	}

	if err := Cleanup(); err != nil {
		t.Fatal(err)
	}
	c, err := other.Cloud.Dial(t.Context(), "tcp", publicAddr+":80")
	if err != nil {
		t.Fatalf("another lab does not work any more: %v", err)
	}
	c.Close()
}

func TestCleanupAfterCrash(t *testing.T) {
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), crashing+"=1")
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Process.Kill()
	_, _ = io.Copy(io.Discard, stdout)
	_ = c.Wait()
	id, dir, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok {
		t.Fatal(line)
	}
	if _, err := os.Stat("/run/netns/" + id + "-corp"); err != nil {
		t.Fatalf("nothing to clean up: %v", err)
	}
	if err := Cleanup(); err != nil {
		t.Fatal(err)
	}
	remains(t, id)
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
}

// TestLoopback starts a lab as an unprivileged user.
func TestLoopback(t *testing.T) {
	if err := makeUser(t.Context(), "cwdev", 5501); err != nil {
		t.Fatal(err)
	}
	// Only root can reach the test's own binary.
	dir := fmt.Sprintf("/tmp/labtest-loopback-%d", os.Getpid())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	u := User{Name: "cwdev", UID: 5501, GID: 5501, Home: filepath.Join(dir, "home")}
	if err := u.own(u.Home); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(u.Home, "lab.test")
	if out, err := exec.CommandContext(t.Context(), "cp", os.Args[0], binary).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := (&Host{}).CommandAs(t.Context(), u, binary)
	c.Env = append(c.Env, loopback+"=1", "TMPDIR="+u.Home)
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	c.Dir = root
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "HTTP/1.1 127.0.0.1") || !strings.Contains(string(out), "as cwdev") {
		t.Errorf("%v\n%s", err, out)
	}
	if left, _ := filepath.Glob(u.Home + "/causeway-lab-*"); left != nil {
		t.Errorf("left: %v", left)
	}
}

// tryLoopback is the part of TestLoopback that runs as another user.
func tryLoopback() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	l, err := Up(ctx, Options{Loopback: true})
	if err != nil {
		return err
	}
	i := l.Info()
	out, err := l.Cloud.Command(ctx, "psql", "-Atc", "select 'as ' || '"+i.Users[Dev].Name+"' from orders limit 1",
		fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s", i.Postgres.Address, i.Postgres.Port, i.Postgres.User, i.Postgres.Password, i.Postgres.Database)).CombinedOutput()
	fmt.Printf("%s", out)
	web, werr := l.Cloud.Command(ctx, "curl", "-sS", fmt.Sprintf("http://127.0.0.1:%d/", i.Web.HTTPPort)).CombinedOutput()
	fmt.Printf("%s", web)
	return errors.Join(err, werr, l.Close())
}

// remains returns the remains of a lab.
func remains(t *testing.T, id string) {
	t.Helper()
	for _, pattern := range []string{"/run/netns/" + id + "*", "/etc/netns/" + id + "*", stateDir + "/" + id + "*"} {
		if left, _ := filepath.Glob(pattern); left != nil {
			t.Errorf("left: %v", left)
		}
	}
	out, err := exec.CommandContext(t.Context(), "ps", "-eo", "pid,stat,args").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, id) {
			t.Errorf("still running: %s", line)
		}
	}
}

func TestUpRefuses(t *testing.T) {
	if l, err := Up(t.Context(), Options{Services: []string{"telnet"}}); err == nil {
		l.Close()
		t.Error("an unknown service was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if l, err := Up(ctx, Options{Services: []string{}}); err == nil {
		l.Close()
		t.Error("raised although the context had ended")
	}
	if err := Cleanup(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob("/tmp/causeway-" + prefix + "*"); left != nil {
		t.Errorf("left: %v", left)
	}
}
