//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/causeway-dev/causeway/test/lab"
)

const dirHelp = "directory of the lab (default $CAUSEWAY_LAB)"

// readInfo reads lab.json of the directory that the flag or the environment names.
func readInfo(dir string) (lab.Info, error) {
	if dir == "" {
		dir = os.Getenv("CAUSEWAY_LAB")
	}
	if dir == "" {
		return lab.Info{}, errors.New("which lab? Say --dir DIR or set CAUSEWAY_LAB")
	}
	return lab.ReadInfo(dir)
}

func execCommand() *cobra.Command {
	var dir, user string
	c := &cobra.Command{
		Use:     "exec HOST [--user dev] -- COMMAND...",
		Short:   "Run a command on a host",
		Example: `  lab exec cloud --user dev -- psql -h orders-db.corp.test -U app orders`,
		Args:    cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			info, err := readInfo(dir)
			if err != nil {
				return err
			}
			host, ok := info.Hosts[args[0]]
			if !ok {
				return fmt.Errorf("no host is called %q", args[0])
			}
			argv := []string{"ip", "netns", "exec", host.Namespace}
			env := os.Environ()
			if user != "" {
				u, ok := info.Users[user]
				if !ok {
					return fmt.Errorf("no user is called %q", user)
				}
				argv = append(argv, "setpriv", "--reuid="+strconv.Itoa(u.UID), "--regid="+strconv.Itoa(u.GID), "--clear-groups", "--")
				env = append(env, "HOME="+u.Home, "USER="+u.Name, "LOGNAME="+u.Name)
			}
			ip, err := exec.LookPath("ip")
			if err != nil {
				return err
			}
			return syscall.Exec(ip, append(argv, args[1:]...), env)
		},
	}
	c.Flags().SetInterspersed(true)
	c.Flags().StringVar(&dir, "dir", "", dirHelp)
	c.Flags().StringVar(&user, "user", "", `"dev" or "other" instead of root`)
	return c
}

func relayCommand() *cobra.Command {
	var (
		dir   string
		rate  int64
		delay int64
	)
	c := &cobra.Command{
		Use:       "relay cut|stall|resume|slow|state",
		Short:     "Make the editor's connection misbehave",
		Example:   `  lab relay slow --rate 1000000 --delay 50`,
		ValidArgs: []string{"cut", "stall", "resume", "slow", "state"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(c *cobra.Command, args []string) error {
			info, err := readInfo(dir)
			if err != nil {
				return err
			}
			if info.Editor == nil {
				return errors.New("this lab has no editor")
			}
			return control(c.Context(), info.Editor.RelaySocket, args[0], rate, delay)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", dirHelp)
	c.Flags().Int64Var(&rate, "rate", 0, "slow: bytes a second in each direction, 0 for no limit")
	c.Flags().Int64Var(&delay, "delay", 0, "slow: milliseconds in each direction")
	return c
}

func control(ctx context.Context, socket, what string, rate, delay int64) error {
	method, path := http.MethodPost, "/"+what
	if what == "state" {
		method, path = http.MethodGet, "/"
	}
	query := url.Values{"rate": {strconv.FormatInt(rate, 10)}, "delay": {strconv.FormatInt(delay, 10)}}
	req, err := http.NewRequestWithContext(ctx, method, "http://relay"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	_, err = os.Stdout.Write(text)
	return err
}

func cleanupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cleanup",
		Short: "Remove what labs left behind that did not end by themselves",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return lab.Cleanup() },
	}
}
