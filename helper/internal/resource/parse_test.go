package resource

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/causeway-dev/causeway/helper/internal/nethost"
	"github.com/google/go-cmp/cmp"
)

func readSamples(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func TestValid(t *testing.T) {
	var samples []struct {
		Why          string
		List, Normal json.RawMessage
	}
	readSamples(t, "valid.json", &samples)
	for _, s := range samples {
		t.Run(s.Why, func(t *testing.T) {
			list, problems := Parse("resources", s.List)
			if len(problems) > 0 {
				t.Fatalf("problems: %+v", problems)
			}
			normal, err := json.Marshal(list)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(indent(t, s.Normal), indent(t, normal)); d != "" {
				t.Fatalf("normal form (-want +got):\n%s", d)
			}
			again, problems := Parse("", normal)
			if len(problems) > 0 {
				t.Fatalf("the normal form has problems: %+v", problems)
			}
			var unmarshalled []Resource
			if err := json.Unmarshal(normal, &unmarshalled); err != nil {
				t.Fatal(err)
			}
			for i := range list {
				if !list[i].Equal(again[i]) || !list[i].Equal(unmarshalled[i]) {
					t.Errorf("%v: not the same after a round trip", list[i])
				}
			}
		})
	}
}

func indent(t *testing.T, b []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	out, _ := json.MarshalIndent(v, "", " ")
	return string(out)
}

func TestInvalid(t *testing.T) {
	var samples []struct {
		List     json.RawMessage
		Problems []string
	}
	readSamples(t, "invalid.json", &samples)
	for _, s := range samples {
		_, problems := Parse("resources", s.List)
		for i := range max(len(problems), len(s.Problems)) {
			got, want := "nothing", "nothing"
			if i < len(problems) {
				got = problems[i].Path + ": " + problems[i].Message
			}
			if i < len(s.Problems) {
				want = s.Problems[i]
			}
			if !strings.HasPrefix(got, want) {
				t.Errorf("problem %d of %s\n got %s\nwant %s", i, s.List, got, want)
			}
		}
	}
}

func TestPositions(t *testing.T) {
	const src = `// what we need
[
  {"host": "a.test", "ports": [80]}, /* fine */
  {"host": "é.test",
   "ports": [1, 0],},
  {"name": "é", "host": 5, "ports": [80]}, // a comment at the end`
	list, problems := Parse("", []byte(src+"\n]// no line end"))
	if len(list) != 1 || list[0].Name != "a.test" {
		t.Errorf("valid entries: %+v", list)
	}
	want := []Problem{
		{"[1].ports[1]", 5, 17, `"0" is not a port from 1 to 65535`},
		{"[2].host", 6, 25, `must be a string, not a number`},
	}
	if d := cmp.Diff(want, problems); d != "" {
		t.Error(d)
	}
	// Cut short it is no JSON: the mistakes are all told, and nothing is used.
	list, problems = Parse("", []byte(src))
	want = append(want, Problem{"", 6, 67, "not valid JSON: parsing value: unexpected EOF"})
	want[2].Line, want[2].Column = problems[len(problems)-1].Line, problems[len(problems)-1].Column
	if d := cmp.Diff(want, problems); d != "" || list != nil {
		t.Error(d, list)
	}
}

func TestEmptyLists(t *testing.T) {
	for _, s := range []string{"", " \n", "null", "[]", "// nothing\n[]"} {
		if list, problems := Parse("r", []byte(s)); len(list)+len(problems) != 0 {
			t.Errorf("%q: %v %v", s, list, problems)
		}
	}
}

func TestBounds(t *testing.T) {
	many := func(n int, s string) string { return "[" + strings.TrimSuffix(strings.Repeat(s+",", n), ",") + "]" }
	for name, c := range map[string]struct{ src, message string }{
		"input":     {strings.Repeat(" ", MaxInput+1), "longer than 1048576 bytes"},
		"depth":     {strings.Repeat("[", MaxInput), "nested too deeply"},
		"resources": {many(MaxResources+1, "1"), "1 more mistakes"},
		"ports":     {`[{"host":"a.test","ports":` + many(MaxPorts+1, "1") + "}]", "more than 1024 ports"},
		"addresses": {`[{"host":"a.test","ports":1,"addresses":` + many(MaxAddresses+1, `"10.0.0.0/8"`) + "}]", "more than 256"},
		"name":      {`[{"host":"a.test","ports":1,"name":"` + strings.Repeat("x", 256) + `"}]`, "longer than 255 bytes"},
		"host":      {`[{"host":"` + strings.Repeat("a.", 127) + `","ports":1}]`, ""},
		"long host": {`[{"host":"` + strings.Repeat("a.", 127) + `a","ports":1}]`, "longer than 253 bytes"},
		"label":     {`[{"host":"` + strings.Repeat("a", 64) + `.b","ports":1}]`, "longer than 63 bytes"},
	} {
		_, problems := Parse("r", []byte(c.src))
		if c.message == "" {
			if len(problems) > 0 {
				t.Errorf("%s: %v", name, problems)
			}
			continue
		}
		if len(problems) == 0 || !strings.Contains(problems[len(problems)-1].Message, c.message) {
			t.Errorf("%s: %d problems, last %v", name, len(problems), problems[max(len(problems)-1, 0):])
		}
	}
}

func TestUnmarshalNamesEveryMistake(t *testing.T) {
	var r Resource
	err := json.Unmarshal([]byte(`{"host":"127.1","ports":[0]}`), &r)
	if err == nil || !strings.Contains(err.Error(), "host: ") || !strings.Contains(err.Error(), "ports[0]: ") {
		t.Errorf("unmarshal: %v", err)
	}
}

// TestSchema keeps the editor's schema to the fields that Parse knows.
func TestSchema(t *testing.T) {
	b, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Type     string
		MaxItems int
		Items    struct {
			AdditionalProperties *bool
			Required             []string
			Properties           map[string]struct {
				MarkdownDescription string
				Examples            []any
			}
		}
	}
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	if schema.Type != "array" || schema.MaxItems != MaxResources || schema.Items.AdditionalProperties == nil || *schema.Items.AdditionalProperties {
		t.Error("the schema does not say what a list is")
	}
	if len(schema.Items.Properties) != len(fieldNames) {
		t.Errorf("%d properties, %d fields", len(schema.Items.Properties), len(fieldNames))
	}
	base := map[string]any{"host": "a.test", "ports": 1}
	for _, f := range fieldNames {
		property, ok := schema.Items.Properties[f]
		if !ok || property.MarkdownDescription == "" {
			t.Errorf("%s: no description in the schema", f)
		}
		for _, example := range property.Examples {
			e := map[string]any{"as": "x.test", f: example}
			for k, v := range base {
				if _, ok := e[k]; !ok {
					e[k] = v
				}
			}
			if e["host"] != "localhost" {
				delete(e, "as")
			}
			b, _ := json.Marshal([]any{e})
			if _, problems := Parse("", b); len(problems) > 0 {
				t.Errorf("example of %s: %s: %v", f, b, problems)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"valid.json", "invalid.json"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		var samples []struct{ List json.RawMessage }
		if err := json.Unmarshal(b, &samples); err != nil {
			f.Fatal(err)
		}
		for _, s := range samples {
			f.Add([]byte(s.List))
		}
	}
	f.Add([]byte("[/*\n*/{\"a\":1,},//"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, problems := Parse("r", b)
		if again, p := Parse("r", b); len(again) != len(list) || len(p) != len(problems) {
			t.Fatal("not deterministic")
		}
		for _, p := range problems {
			if trouble := checkText(strings.ReplaceAll(p.Message, "\uFFFD", ""), 600); trouble != "" {
				t.Fatalf("message %q %s", p.Message, trouble)
			}
		}
		normal, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		again, problems := Parse("r", normal)
		if len(problems) > 0 {
			t.Fatalf("normal form %s: %v", normal, problems)
		}
		twice, _ := json.Marshal(again)
		if string(twice) != string(normal) {
			t.Fatalf("normal form is not stable:\n%s\n%s", normal, twice)
		}
		set := NewSet(list)
		for _, r := range list {
			first := uint16(0)
			if len(r.Ports) > 0 {
				first, _ = r.Ports[0].Remote()
			}
			host := strings.Replace(r.RemoteHost(), "*", "x", 1)
			if r.Host.Kind == nethost.Prefix {
				host = r.Host.Prefix.Addr().String()
			}
			if _, err := set.Match(r.Protocols[0], host, first); err != nil && len(host) <= nethost.MaxName {
				t.Fatalf("%s does not match itself: %v", normal, err)
			}
		}
	})
}

func ExampleParse() {
	list, problems := Parse("resources", []byte(`[
		{"name": "orders", "host": "Orders.Corp.Test", "ports": [5432, "8000-8010"]}, // fine
		{"host": "127.1", "ports": [80]},
	]`))
	fmt.Println(list[0].Host, list[0].PortStrings())
	fmt.Println(problems[0].Path, problems[0].Line)
	// Output:
	// orders.corp.test [5432 8000-8010]
	// resources[1].host 3
}
