package cli

import (
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/gateway/consent"
	"github.com/causeway-dev/causeway/helper/internal/resource"
)

func TestApprovalsCommand(t *testing.T) {
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, t.TempDir())
	}
	path, err := consent.Path()
	if err != nil {
		t.Fatal(err)
	}
	list, problems := resource.Parse("", []byte(`[{"name": "db", "host": "db.test", "ports": [5432]}]`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, workspace := range []string{"file:///w", "file:///\x1b[2J"} {
		a := consent.New(path, "ssh-remote+host", workspace)
		if _, err := a.Answer(a.Review(list, nil).Pending[0].ID, consent.Always); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"approvals", exitOK, []string{"db", "db.test", "5432", "ssh-remote+host", "file:///w"}},
		{"approvals --json", exitOK, []string{`"remote": "ssh-remote+host"`, `"since": "`}},
		{"approvals revoke", exitUsage, nil},
		{"approvals revoke db --all", exitUsage, nil},
		{"approvals revoke web", exitFailed, []string{"no approval of web"}},
		{"approvals revoke db --workspace file:///w", exitOK, []string{"revoked db on ssh-remote+host file:///w\n"}},
		{"approvals revoke db --workspace file:///w", exitFailed, nil},
		{"approvals revoke --all", exitOK, []string{"revoked db"}},
		{"approvals", exitOK, []string{"no approvals"}},
		{"approvals revoke --all", exitOK, nil},
	} {
		var out strings.Builder
		code := Main(strings.Fields(c.args), strings.NewReader(""), &out, &out)
		if code != c.code || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: exit code %d, %q", c.args, code, out.String())
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is not in %q", c.args, want, out.String())
			}
		}
	}
}
