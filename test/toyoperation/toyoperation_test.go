// Package toyoperation proves that a new operation needs no more than the places that
// docs/architecture.md lists: it adds one, task_setnice, to what the compilers see of this
// tree, and sees it work.
package toyoperation

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// maxPlaces is how many places a new operation may need.
const maxPlaces = 9

// added are the files that the toy adds, by what they are in testdata.
var added = map[string]string{
	"bpf/hooks/task_setnice.h": "testdata/bpf/hooks/task_setnice.h",
	"policy/task_setnice.go":   "testdata/policy/task_setnice.go",
	"task_setnice.go":          "testdata/root/task_setnice.go",
}

// lines are the lines that it adds to files, each before the end of a list.
var lines = []struct {
	file string
	// list matches a list; its first group ends where the line goes.
	list string
	line string
}{
	{"bpf/abi.h", `(?s)(enum operation_id \{.*?\n)\};`, "\tOPERATION_TASK_SETNICE,\n"},
	{"bpf/abi.h", `(?s)(enum hook_id \{.*?\n)\};`, "\tHOOK_TASK_SETNICE,\n"},
	{"bpf/ebpfguard.bpf.c", `((?:#include "hooks/[^\n]*\n)+)`, "#include \"hooks/task_setnice.h\"\n"},
	{"policy/operations.go", `(?s)(\tFileOpen Operation = .*?\n)\)\n`, "\t// TaskSetnice: a process changes the niceness of one.\n\tTaskSetnice Operation = \"task_setnice\"\n"},
	{"policy/operations.go", `(?s)(var operations = \[\]operation\{.*?\n)\}\n`, "\t{TaskSetnice, false, nicenessKind{}},\n"},
	{"operation.go", `(var operations = \[\]\*operation\{.*?)\}\n`, ", &taskSetnice"},
}

// places returns the places that a section of docs/architecture.md lists.
func places(t *testing.T, section string) []string {
	t.Helper()
	_, text, _ := strings.Cut(read(t, filepath.Join(root, "docs/architecture.md")), "## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var list []string
	for _, m := range regexp.MustCompile("(?m)^[0-9]+\\. `([^`]+)`").FindAllStringSubmatch(text, -1) {
		list = append(list, strings.ReplaceAll(m[1], "<operation>", "task_setnice"))
	}
	return list
}

func TestPlaces(t *testing.T) {
	list := places(t, "Adding an operation")
	if len(list) == 0 || len(list) > maxPlaces {
		t.Errorf("docs/architecture.md lists %d places: %q", len(list), list)
	}
	toy := map[string]bool{}
	for file := range added {
		toy[file] = true
	}
	for _, l := range lines {
		toy[l.file] = true
	}
	for file := range toy {
		if !slices.Contains(list, file) {
			t.Errorf("the toy needs %s, which docs/architecture.md does not list", file)
		}
	}
	for _, place := range list {
		// What the toy does without, since it is no operation for people.
		if !toy[place] && place != "test/coverage/" && place != "docs/" {
			t.Errorf("docs/architecture.md lists %s, which the toy does not need", place)
		}
	}
}

// TestSelectorPlaces expects that the files in which the selector by control group is are
// those that docs/architecture.md lists for a new selector.
func TestSelectorPlaces(t *testing.T) {
	list := places(t, "Adding a selector of subjects")
	if len(list) == 0 || len(list) > 12 {
		t.Errorf("docs/architecture.md lists %d files: %q", len(list), list)
	}
	var named []string
	for _, folder := range []string{"policy", "internal/compile", "internal/policytest", "cmd/ebpfguard"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") && regexp.MustCompile(`\bCgroups\b|\.cgroups\b`).MatchString(read(t, file)) {
				named = append(named, strings.TrimPrefix(file, root+"/"))
			}
		}
	}
	for _, file := range named {
		if !slices.Contains(list, file) {
			t.Errorf("%s is about a selector, but docs/architecture.md does not list it", file)
		}
	}
	for _, place := range list {
		if strings.HasSuffix(place, ".go") && !strings.Contains(place, "<") && !slices.Contains(named, place) {
			t.Errorf("docs/architecture.md lists %s, which is about no selector", place)
		}
		if strings.HasSuffix(place, ".h") && !strings.Contains(read(t, filepath.Join(root, place)), "cgroup") {
			t.Errorf("docs/architecture.md lists %s, which is about no selector", place)
		}
	}
}

// TestToyOperation sees the unit tests of the packages pass, which ask for every part of
// every operation, and the probes.
func TestToyOperation(t *testing.T) {
	tree := newTree(t)
	tree.overlay["toy_test.go"] = testdata(t, "probes/root_test.go")
	tree.overlay["cmd/ebpfguard/toy_test.go"] = testdata(t, "probes/cmd_test.go")
	tree.build(t, nil, ".", "./policy", "./internal/compile", "./cmd/ebpfguard")
	for _, tt := range []struct {
		program, folder string
		tests           []string
	}{
		{"ebpfguard", ".", []string{"TestEveryOperationIsWhole", "TestToyAlert"}},
		{"policy", "policy", []string{"TestEveryOperationIsWhole", "TestStateRoundTrips", "TestStateHoldsEveryField", "TestStateKeys", "TestCloneSharesNothing"}},
		{"compile", "internal/compile", []string{"TestEveryOperationHasTables"}},
		{"command", "cmd/ebpfguard", []string{"TestToyOperation"}},
	} {
		cmd := exec.Command(filepath.Join(tree.dir, tt.program+".test"), "-test.v", "-test.run", "^("+strings.Join(tt.tests, "|")+")$")
		cmd.Dir = filepath.Join(root, tt.folder)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", tt.program, err, out)
		}
		for _, test := range tt.tests {
			if !strings.Contains(string(out), "--- PASS: "+test) {
				t.Errorf("%s did not pass", test)
			}
		}
	}
}
