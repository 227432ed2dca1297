package ebpfguard

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

// statePath is a state that a manager left for another one, as some version wrote it.
func statePath(version int) string { return fmt.Sprintf("testdata/state/version_%d", version) }

// recorded is what was in force when the states in testdata/state were recorded.
func recorded(t *testing.T) pinned {
	t.Helper()
	set, err := policy.Load("testdata/state/policies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return pinned{
		key: compile.Key{1, 2}, set: set,
		attached: map[policy.Operation][]string{policy.FileOpen: {"file_open", "path_truncate"}, policy.SocketBind: {"socket_bind"}},
		marks:    marks{"binaries /usr/bin/python3*": 0, "process 4711": 3},
		counted:  ruleCounts{"secrets": {{Hits: 3, AlertsLost: 1}, {Hits: 4, AlertsLimited: 2}}},
		hooks:    map[string]bool{},
	}
}

// TestStates reads what this version and the one before write, which TestPinnedForm records.
func TestStates(t *testing.T) {
	want := recorded(t)
	for version := pinnedVersion - 1; version <= pinnedVersion; version++ {
		data, err := os.ReadFile(statePath(version))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodePinned(data)
		if err != nil {
			t.Errorf("version %d: %v", version, err)
			continue
		}
		if !slices.EqualFunc(got.set, want.set, policy.Equal) {
			t.Errorf("version %d: the policies are %+v, want %+v", version, got.set, want.set)
		}
		got.set = want.set // but for where they were read
		if len(got.hooks) == 0 {
			got.hooks = map[string]bool{}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: %+v, want %+v", version, got, want)
		}
	}
}

// TestStatesRefused has states of a newer version, and damaged ones.
func TestStatesRefused(t *testing.T) {
	data, err := recorded(t).encode()
	if err != nil {
		t.Fatal(err)
	}
	replaced := func(old, with string) string {
		if !strings.Contains(string(data), old) {
			t.Fatalf("there is no %s in %s", old, data)
		}
		return strings.Replace(string(data), old, with, 1)
	}
	version := fmt.Sprintf(`"version":%d`, pinnedVersion)
	for name, c := range map[string]struct {
		state string
		want  error
	}{
		"a newer version":          {replaced(version, fmt.Sprintf(`"version":%d,"more":1`, pinnedVersion+1)), ErrPinsNewer},
		"a field that is unknown":  {replaced(version, version+`,"more":1`), ErrPinsDamaged},
		"a subject that is not":    {replaced(`"subject":{`, `"subject":{"moon":"full",`), ErrPinsDamaged},
		"an operation that is not": {replaced(`"sb_remount"`, `"sb_levitate"`), ErrPinsDamaged},
		"half of it":               {string(data[:len(data)/2]), ErrPinsDamaged},
		"nothing":                  {"", ErrPinsDamaged},
		"something else":           {"\x7fELF", ErrPinsDamaged},
	} {
		_, err := decodePinned([]byte(c.state))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "ebpfguard down") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPinnedForm fails when the form of the state has changed since pinnedVersion got its
// number: a process of an earlier version would take what it does not know for damage.
// Then count pinnedVersion up, once a release, write the new line into
// testdata/state/form, and run the test with RECORD=1, which records a state.
func TestPinnedForm(t *testing.T) {
	lines := []string{"state " + shape(reflect.TypeFor[pinnedForm]()), "policy " + shape(reflect.TypeFor[policy.Policy]())}
	for _, o := range policy.Operations() {
		lines = append(lines, string(o)+" "+shape(reflect.TypeOf(policy.Everything(o))))
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	now := fmt.Sprintf("%d %s\n", pinnedVersion, hex.EncodeToString(sum[:]))
	form, err := os.ReadFile("testdata/state/form")
	if err != nil {
		t.Fatal(err)
	}
	if string(form) != now {
		t.Errorf("the state that is pinned has not the form that testdata/state/form says.\nNow:      %sRecorded: %s", now, form)
	}
	data, err := recorded(t).encode()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("RECORD") != "" {
		if err := os.WriteFile(statePath(pinnedVersion), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(statePath(pinnedVersion))
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != string(want) {
		t.Errorf("the same state is written otherwise now.\nNow:      %s\nRecorded: %s", data, want)
	}
}
