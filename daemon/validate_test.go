package daemon

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

func TestValidate(t *testing.T) {
	w := newWorld(t)
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	w.guard.refuse("refused")
	for _, test := range []struct{ yaml, problem, warning string }{
		{bind("a", 2), "", ""},
		{bind("a", 70000), "x.yaml:8:20: ", ""},
		{bind("f", 2), "same name as an applied policy", ""},
		{bind("refused", 2), "not today", ""},
		{strings.Replace(bind("a", 2), "deny: {ports: [2]}", "deny: [{ports: [2]}, {ports: [2]}]", 1), "", `policy "a": rule 0: warning: `},
		{denyProgram("all", "/"), "lock you out", ""},
	} {
		r, err := i.Validate(t.Context(), &pb.ValidateRequest{Yaml: test.yaml, Name: "x.yaml"})
		if err != nil {
			t.Fatal(err)
		}
		problems, warnings := strings.Join(r.GetProblems(), "\n"), strings.Join(r.GetWarnings(), "\n")
		if (test.problem == "") != (problems == "") || !strings.Contains(problems, test.problem) || !strings.Contains(warnings, test.warning) || test.warning == "" && warnings != "" {
			t.Errorf("%s: problems %q, warnings %q", test.yaml, problems, warnings)
		}
	}
	i.want("f")
	c, err := i.Check(t.Context(), &pb.CheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var report ebpfguard.Report
	if err := json.Unmarshal([]byte(c.GetJson()), &report); err != nil || report.Enforcing != c.GetEnforcing() || len(report.Operations) == 0 {
		t.Errorf("%v, %v", err, c)
	}
}
