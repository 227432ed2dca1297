//go:build vm

package coverage

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

func TestMain(m *testing.M) {
	ActIfAsked()
	os.Exit(m.Run())
}

// selection narrows a run to rows, for whoever writes a way: EBPFGUARD_WAYS=socket_bind/tcp.
const selection = "EBPFGUARD_WAYS"

func options(t *testing.T) Options {
	t.Helper()
	k, ok := vmtest.Guest()
	if !ok {
		t.Fatal("this test needs a guest kernel: run it with `make test-vm VM_TESTS=./internal/coverage`")
	}
	if !k.Offers("bpf_lsm") {
		t.Skipf("kernel %s is the one that cannot enforce anything", k.Name)
	}
	return Options{Kernel: k.Name}
}

// TestControls runs every way without a policy.
func TestControls(t *testing.T) {
	o := options(t)
	if pattern := os.Getenv(selection); pattern != "" {
		o.Match = regexp.MustCompile(pattern)
	}
	counts := make(map[Operation]map[Outcome]int)
	for _, r := range Controls(t, o) {
		if counts[r.Operation] == nil {
			counts[r.Operation] = make(map[Outcome]int)
		}
		counts[r.Operation][r.Outcome]++
		if r.Outcome == NotOffered {
			t.Logf("%s/%s: not offered: %s", r.Operation, r.ID, r.Why)
		}
	}
	for operation, count := range counts {
		t.Logf("%s: %d succeeded, %d not offered, %d failed", operation, count[Control], count[NotOffered], count[Failed])
	}
}

// lenient keeps what a run says about ways that pass: without a guard all of them do.
type lenient struct {
	testing.TB
	said []string
}

func (l *lenient) Errorf(format string, args ...any) {
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

// TestRunWithoutGuard has a run find out that nothing guards, for one way of each kind.
func TestRunWithoutGuard(t *testing.T) {
	o := options(t)
	o.Match = regexp.MustCompile(`^(file_open/(openat|future|hard-link-meanwhile|acct|revoke-read)|bprm_check_security/(execve|ld\.so|copy-exec)|sb_umount/move-away|socket_bind/tcp4)$`)
	applied, released := 0, 0
	tb := &lenient{TB: t}
	results := Run(tb, o, func(yaml string) (func(), error) {
		applied++
		for path := range strings.FieldsFuncSeq(yaml, func(r rune) bool { return strings.ContainsRune(" ,[]{}\n", r) }) {
			if !strings.HasPrefix(path, Root) {
				continue
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("the policy names what is not there: %v", err)
			}
		}
		return func() { released++ }, nil
	})
	want := map[string]Outcome{
		"openat": Passed, "hard-link-meanwhile": Passed, "acct": Passed, "revoke-read": Passed, "execve": Passed, "ld.so": Passed,
		"copy-exec": NotCovered, "move-away": NotCovered, "tcp4": Passed,
	}
	for _, r := range results {
		if r.Outcome != want[r.ID] || r.Kernel != o.Kernel || r.Description == "" {
			t.Errorf("%+v, want %s", r, want[r.ID])
		}
	}
	if len(results) != len(want) || len(tb.said) != len(want)-2 || applied != 5 || released != applied {
		t.Errorf("%d results, %d times applied, %d times released, said %q", len(results), applied, released, tb.said)
	}
	if _, err := os.Stat(Root + "/actor"); err == nil {
		t.Error("the run left its file system behind")
	}
}
