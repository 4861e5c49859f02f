package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/causeway-dev/causeway/helper/internal/session/gatewayrole"
)

// parseExits reads the exits in file, "" for none.
func parseExits(e *env, file string) (map[string]resource.Exit, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError(err)
	}
	named, problems := resource.ParseExits("", text)
	base, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	problems = append(problems, resource.Absolute("", named, base)...)
	return named, reportProblems(e, file, problems)
}

// readExits reads the exits in file, "" for none. In the approved resources it
// replaces the names of exits by where they lead.
func readExits(e *env, file string, approved []resource.Approved) (wanted map[string]resource.Exit, err error) {
	named, err := parseExits(e, file)
	if err != nil {
		return nil, err
	}
	wanted = map[string]resource.Exit{}
	for i := range approved {
		r := &approved[i].Resource
		if trouble := gatewayrole.ByWay(r, named, wanted, "--exits"); trouble != "" {
			return nil, usageError(errors.New("resource " + trouble))
		}
	}
	return wanted, nil
}

// readCredentials reads the credentials of proxies in file, "" for none. It refuses a
// file that other users may read.
func readCredentials(e *env, file string) (map[string]resource.Credentials, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, usageError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, usageError(err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return nil, usageError(fmt.Errorf("%s holds passwords and has mode %04o: make it 0600, so that only you can read it", file, mode))
	}
	text, err := io.ReadAll(io.LimitReader(f, resource.MaxInput+1))
	if err != nil {
		return nil, usageError(err)
	}
	known, problems := resource.ParseCredentials("", text)
	return known, reportProblems(e, file, problems)
}

// reportProblems prints every mistake in a file. It returns an error if there is one.
func reportProblems(e *env, file string, problems []resource.Problem) error {
	for _, p := range problems {
		_, _ = fmt.Fprintf(e.stderr, "%s:%d:%d: %s: %s\n", file, p.Line, p.Column, p.Path, p.Message)
	}
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return usageError(fmt.Errorf("1 mistake in %s", file))
	}
	return usageError(fmt.Errorf("%d mistakes in %s", len(problems), file))
}
