//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/causeway-dev/causeway/test/lab"
)

func upCommand() *cobra.Command {
	var (
		opts         lab.Options
		editor       lab.EditorOptions
		noEditor     bool
		wrap         []string
		settingsFile string
		quiet        bool
	)
	c := &cobra.Command{
		Use:   "up --dir DIR",
		Short: "Raise a lab and keep it until SIGINT, SIGTERM or the end of stdin",
		Long: `Raise a lab, write DIR/lab.json, print "ready" on stdout, and keep the lab
until SIGINT, SIGTERM or the end of stdin.`,
		Example: `  lab up --dir /tmp/lab --no-editor --services postgres,web
  lab up --dir /tmp/lab --extension ui.vsix --extension companion.vsix --wrap laptop=/usr/bin/psql`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !noEditor {
				opts.Editor = &editor
			}
			if settingsFile != "" {
				text, err := os.ReadFile(settingsFile)
				if err != nil {
					return err
				}
				editor.Settings = string(text)
			}
			for _, w := range wrap {
				host, program, ok := strings.Cut(w, "=")
				if !ok {
					return fmt.Errorf("--wrap %s: expected HOST=PROGRAM", w)
				}
				if opts.Wrap == nil {
					opts.Wrap = map[string][]string{}
				}
				opts.Wrap[host] = append(opts.Wrap[host], program)
			}
			if !quiet {
				opts.Log = os.Stderr
			}
			return up(c.Context(), opts)
		},
	}
	f := c.Flags()
	f.StringVar(&opts.Dir, "dir", "", "directory for lab.json, logs and data")
	f.StringVar(&opts.Root, "root", "", "top of Causeway's tree (default: the one that this is run in)")
	f.StringSliceVar(&opts.Services, "services", nil, "what runs: "+strings.Join(lab.AllServices(), ", ")+" (default all)")
	f.BoolVar(&opts.Loopback, "loopback", false, "without root: all on 127.0.0.1, no namespaces, no names")
	f.BoolVar(&noEditor, "no-editor", false, "leave VS Code out")
	f.StringArrayVar(&editor.Extensions, "extension", nil, "VSIX file to install in VS Code")
	f.StringVar(&editor.User, "editor-user", "", `"dev" to run VS Code without privileges`)
	f.BoolVar(&editor.WorkspaceTrust, "workspace-trust", false, "make VS Code ask whether to trust the workspace")
	f.StringArrayVar(&editor.Env, "editor-env", nil, "NAME=VALUE for VS Code's extension host")
	f.StringVar(&settingsFile, "settings", "", "file with the user's settings.json")
	f.StringArrayVar(&wrap, "wrap", nil, "HOST=PROGRAM: make a script DIR/bin/HOST-BASENAME that runs it there")
	f.IntSliceVar(&opts.Publish, "publish", nil, "ports of laptop's 127.0.0.1 to show on this machine's")
	f.BoolVar(&quiet, "quiet", false, "do not report the steps")
	_ = c.MarkFlagRequired("dir")
	return c
}

func up(ctx context.Context, opts lab.Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	l, err := lab.Up(ctx, opts)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return l.Close()
}
