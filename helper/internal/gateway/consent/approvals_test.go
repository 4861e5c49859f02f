package consent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/resource"
	"github.com/google/go-cmp/cmp"
)

func mustParse(t testing.TB, src string) []resource.Resource {
	t.Helper()
	list, problems := resource.Parse("", []byte(src))
	if len(problems) > 0 {
		t.Fatalf("problems: %+v", problems)
	}
	return list
}

func approvalsFile(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "causeway", "approved.json")
}

// words puts a review into a line: the approved, pending and refused names.
func words(r Review) string {
	var a, p, n []string
	for _, x := range r.Approved {
		a = append(a, x.Resource.Name)
	}
	for _, x := range r.Pending {
		p = append(p, x.Resource.Name+" "+x.Change)
	}
	for _, x := range r.Refused {
		n = append(n, x.Resource.Name)
	}
	return fmt.Sprintf("%v %v %v %d", a, p, n, len(r.Problems))
}

func check(t *testing.T, what string, r Review, want string) {
	t.Helper()
	if got := words(r); got != want {
		t.Errorf("%s: %s, want %s; %+v", what, got, want, r.Problems)
	}
}

const (
	dbSource  = `[{"name": "db", "host": "db.test", "ports": [5432, 5433]}]`
	webSource = `[{"name": "web", "host": "web.test", "ports": [443]}]`
)

func answer(t *testing.T, a *Approvals, r Review, name string, d Decision) Review {
	t.Helper()
	for _, p := range r.Pending {
		if p.Resource.Name == name {
			out, err := a.Answer(p.ID, d)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	t.Fatalf("%s is not pending", name)
	return Review{}
}

func TestApprovals(t *testing.T) {
	path := approvalsFile(t)
	db, web := mustParse(t, dbSource), mustParse(t, webSource)
	a := New(path, "ssh-remote+host", "file:///w")
	review := a.Review(db, web)
	check(t, "at first", review, "[] [db new web new] [] 0")
	if p := review.Pending; p[0].From != resource.FromUser || p[1].From != resource.FromWorkspace || p[0].ID == p[1].ID {
		t.Errorf("%+v", p)
	}
	review = answer(t, a, review, "db", Always)
	check(t, "db always", review, "[db] [web new] [] 0")
	asked := review.Pending[0].ID
	review = answer(t, a, review, "web", No)
	check(t, "web no", review, "[db] [] [web] 0")
	if _, err := a.Answer(asked, Always); err == nil {
		t.Error("an answer counts twice")
	}
	if _, err := a.Answer("nonsense", Always); err == nil {
		t.Error("an unknown answer counts")
	}

	check(t, "in another session", New(path, "ssh-remote+host", "file:///w").Review(db, web), "[db] [web new] [] 0")
	check(t, "in another workspace", New(path, "ssh-remote+host", "file:///v").Review(db, nil), "[] [db new] [] 0")
	check(t, "on another remote", New(path, "ssh-remote+evil", "file:///w").Review(db, nil), "[] [db new] [] 0")
	check(t, "asked by the workspace now", New(path, "ssh-remote+host", "file:///w").Review(nil, db), "[db] [] [] 0")

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v, %v", info.Mode(), err)
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", dir.Mode(), err)
	}
	if files, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".approved-*")); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestApprovalOnceEndsWithTheSession(t *testing.T) {
	path := approvalsFile(t)
	db := mustParse(t, dbSource)
	a := New(path, "r", "w")
	review := answer(t, a, a.Review(db, nil), "db", Once)
	check(t, "once", review, "[db] [] [] 0")
	check(t, "the same again", a.Review(db, nil), "[db] [] [] 0")
	check(t, "another session", New(path, "r", "w").Review(db, nil), "[] [db new] [] 0")
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file: %v", err)
	}
}

func TestApprovalLapsesWhenWidened(t *testing.T) {
	for _, decision := range []Decision{Always, Once} {
		a := New(approvalsFile(t), "r", "w")
		answer(t, a, a.Review(mustParse(t, dbSource), nil), "db", decision)
		for _, c := range []struct{ what, src, want string }{
			{"another port", `[{"name": "db", "host": "db.test", "ports": [5432, 5433, 5434]}]`, "[] [db changed] [] 0"},
			{"another host", `[{"name": "db", "host": "evil.test", "ports": [5432]}]`, "[] [db changed] [] 0"},
			{"another protocol", `[{"name": "db", "host": "db.test", "ports": [5432], "protocols": ["udp"]}]`, "[] [db changed] [] 0"},
			{"another name on the remote", `[{"name": "db", "host": "db.test", "ports": [5432], "as": "github.com"}]`, "[] [db changed] [] 0"},
			{"another name in the list", `[{"name": "db2", "host": "db.test", "ports": [5432]}]`, "[] [db2 new] [] 0"},
			{"as it was", dbSource, "[db] [] [] 0"},
			{"fewer ports", `[{"name": "db", "host": "db.test", "ports": [5432]}]`, "[db] [] [] 0"},
			{"back to more", dbSource, "[] [db changed] [] 0"},
		} {
			check(t, string(decision)+", "+c.what, a.Review(mustParse(t, c.src), nil), c.want)
		}
		pending := a.Review(mustParse(t, dbSource), nil).Pending[0]
		want := []resource.Difference{{Field: "ports", Was: "5432", Is: "5432, 5433"}}
		if d := cmp.Diff(want, pending.Differences); d != "" {
			t.Error(d)
		}
	}
}

func TestAnswerHoldsForWhatWasShown(t *testing.T) {
	a := New(approvalsFile(t), "r", "w")
	shown := a.Review(mustParse(t, dbSource), nil).Pending[0]
	a.Review(mustParse(t, strings.Replace(dbSource, "5433", "22", 1)), nil)
	if r, err := a.Answer(shown.ID, Always); err == nil || len(r.Approved) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	ids := map[string]bool{}
	for _, who := range []struct{ authority, workspace string }{{"r", "w"}, {"r", "v"}, {"s", "w"}} {
		for _, from := range []bool{true, false} {
			a := New(approvalsFile(t), who.authority, who.workspace)
			lists := [2][]resource.Resource{mustParse(t, dbSource), nil}
			if from {
				lists[0], lists[1] = lists[1], lists[0]
			}
			ids[a.Review(lists[0], lists[1]).Pending[0].ID] = true
		}
	}
	if len(ids) != 6 {
		t.Errorf("%d different IDs of 6", len(ids))
	}
}

func TestUsersResourceHidesTheWorkspaces(t *testing.T) {
	a := New(approvalsFile(t), "r", "w")
	review := a.Review(mustParse(t, dbSource), mustParse(t, `[{"name": "db", "host": "evil.test", "ports": [22]}]`))
	check(t, "both", review, "[] [db new] [] 1")
	if review.Pending[0].Resource.Host.Name != "db.test" || !strings.Contains(review.Problems[0].Message, `"db"`) {
		t.Errorf("%+v", review)
	}
}

func TestDamagedFileIsNeitherUsedNorOverwritten(t *testing.T) {
	path := approvalsFile(t)
	db := mustParse(t, dbSource)
	a := New(path, "r", "w")
	answer(t, a, a.Review(db, nil), "db", Always)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string]string{
		"cut short":         string(good[:len(good)/2]),
		"empty":             "",
		"no JSON":           "nonsense",
		"an invalid entry":  strings.Replace(string(good), "db.test", "127.1", 1),
		"a misnamed entry":  strings.Replace(string(good), `"db":`, `"web":`, 1),
		"a later version":   strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		"an array in place": "[]",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		a := New(path, "r", "w")
		review := a.Review(db, nil)
		check(t, what, review, "[] [db new] [] 1")
		review, err := a.Answer(review.Pending[0].ID, Always)
		if err == nil {
			t.Errorf("%s: an approval was kept", what)
		}
		check(t, what+", approved", review, "[db] [] [] 1")
		if now, _ := os.ReadFile(path); string(now) != content {
			t.Errorf("%s: the file was changed", what)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	check(t, "writable by others", New(path, "r", "w").Review(db, nil), "[] [db new] [] 1")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, "restored", New(path, "r", "w").Review(db, nil), "[db] [] [] 0")
}

// TestGatewaysWriteAtOnce has each of many approvals kept.
func TestGatewaysWriteAtOnce(t *testing.T) {
	path := approvalsFile(t)
	const gateways, each = 6, 5
	var wg sync.WaitGroup
	for i := range gateways {
		wg.Go(func() {
			for j := range each {
				workspace := fmt.Sprintf("w%d-%d", i, j)
				a := New(path, "r", workspace)
				p := a.Review(mustParse(t, dbSource), nil).Pending
				if len(p) != 1 {
					t.Errorf("%s: %d pending", workspace, len(p))
					return
				}
				if _, err := a.Answer(p[0].ID, Always); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range gateways {
		for j := range each {
			a := New(path, "r", fmt.Sprintf("w%d-%d", i, j))
			check(t, a.workspace, a.Review(mustParse(t, dbSource), nil), "[db] [] [] 0")
		}
	}
}

func TestApprovalsAreSafeForConcurrentUse(t *testing.T) {
	a := New(approvalsFile(t), "r", "w")
	db, web := mustParse(t, dbSource), mustParse(t, webSource)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				r := a.Review(db, web)
				if i%2 == 0 {
					for _, p := range r.Pending {
						_, _ = a.Answer(p.ID, Once) // another may have been faster
					}
				}
			}
		})
	}
	wg.Wait()
	check(t, "in the end", a.Review(db, web), "[db web] [] [] 0")
}

func TestWarnings(t *testing.T) {
	for src, want := range map[string]string{
		`{"host": "db.corp.test", "ports": [5432]}`:                                   "",
		`{"host": "*.corp.test", "ports": [443]}`:                                     "",
		`{"host": "10.1.0.0/16", "ports": [443]}`:                                     "",
		`{"host": "localhost", "ports": [3000], "as": "laptop.internal"}`:             "listen on this machine",
		`{"host": "localhost", "ports": [5037], "as": "localhost"}`:                   "listen on this machine for its own use. The remote's localhost:5037 leads to localhost:5037 of this machine.",
		`{"host": "db.corp.test", "ports": ["15432:5432", 15433], "as": "localhost"}`: "The remote's localhost:15432 leads to db.corp.test:5432, localhost:15433 leads to db.corp.test:15433.",
		`{"host": "*.com", "ports": [443]}`:                                           "ends in .com",
		`{"host": "0.0.0.0/0", "ports": [443]}`:                                       "whole Internet",
		`{"host": "::/0", "ports": [443]}`:                                            "whole Internet",
		`{"host": "10.0.0.0/8", "ports": [443]}`:                                      "16777216 addresses",
		`{"host": "2000::/3", "ports": [443]}`:                                        "first 3 bits",
		`{"host": "169.254.169.254", "ports": [80]}`:                                  "metadata",
		`{"host": "127.0.0.1", "ports": [80]}`:                                        "loopback",
		`{"host": "a.test", "ports": [80], "addresses": ["127.1.27.1", "10.0.0.1"]}`:  "may lead to 127.1.27.1, a loopback",
		`{"host": "a.test", "ports": [80], "addresses": ["127.0.0.0/8"]}`:             "",
		`{"host": "10.1.0.0/16", "protocols": ["icmp"]}`:                              "by pings which hosts",
		`{"host": "10.1.0.7", "protocols": ["icmp"]}`:                                 "",
		`{"host": "a.corp.test", "ports": ["1-65535"]}`:                               "all ports",
		`{"host": "a.corp.test", "ports": ["1-2000"]}`:                                "2000 ports",
		`{"host": "a.corp.test", "ports": [443], "as": "github.com"}`:                 "ask for github.com will be sent to a.corp.test",
		`{"host": "a.corp.test", "ports": [443], "as": "b.corp.internal"}`:            "",
	} {
		got := strings.Join(warnings(mustParse(t, "["+src+"]")[0]), " ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", src, got, want)
		}
	}
}

func TestPath(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "/config")
	t.Setenv("HOME", "/config")
	if p, err := Path(); err != nil || !strings.HasPrefix(p, "/config") || filepath.Base(p) != "approved.json" {
		t.Errorf("%s, %v", p, err)
	}
}

func TestRevoke(t *testing.T) {
	path := approvalsFile(t)
	both := append(mustParse(t, dbSource), mustParse(t, webSource)...)
	for _, workspace := range []string{"w", "v"} {
		a := New(path, "r", workspace)
		answer(t, a, answer(t, a, a.Review(both, nil), "db", Always), "web", Always)
	}
	list, err := List(path)
	if err != nil || len(list) != 4 || list[0].Workspace != "v" || list[0].Resource.Name != "db" {
		t.Fatalf("%+v, %v", list, err)
	}
	if list[0].Since == nil || time.Since(*list[0].Since) > time.Minute {
		t.Errorf("since %v", list[0].Since)
	}
	running := New(path, "r", "w")
	check(t, "before", running.Review(both, nil), "[db web] [] [] 0")
	gone, err := Revoke(path, func(e Entry) bool { return e.Workspace == "w" && e.Resource.Name == "db" })
	if err != nil || len(gone) != 1 || gone[0].Resource.Host.Name != "db.test" {
		t.Fatalf("%+v, %v", gone, err)
	}
	check(t, "revoked", running.Again(), "[web] [db new] [] 0")
	check(t, "in the other workspace", New(path, "r", "v").Review(both, nil), "[db web] [] [] 0")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v, %v", info.Mode(), err)
	}
	// A gateway that read the file before a revocation must not restore the approval.
	fewer := mustParse(t, `[{"name": "db", "host": "db.test", "ports": [5432]}]`)[0]
	if err := running.store.narrow("r", "w", fewer); err == nil {
		t.Error("a narrower resource restores a revoked approval")
	}
	check(t, "after that", running.Again(), "[web] [db new] [] 0")
	if _, err := Revoke(path, func(Entry) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if list, err := List(path); err != nil || len(list) > 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := List(path); err == nil {
		t.Error("a damaged file has a list")
	}
	if _, err := Revoke(path, func(Entry) bool { return true }); err == nil {
		t.Error("a damaged file is changed")
	}
}

func TestFileWithoutTimesIsUsed(t *testing.T) {
	path := approvalsFile(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	const old = `{"version": 1, "remotes": {"r": {"w": {"db": {"name": "db", "host": "db.test", "ports": [5432, 5433], "protocols": ["tcp"]}}}}}`
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, "older file", New(path, "r", "w").Review(mustParse(t, dbSource), nil), "[db] [] [] 0")
	if list, err := List(path); err != nil || len(list) != 1 || list[0].Since != nil {
		t.Errorf("%+v, %v", list, err)
	}
}
