package vmtest

import (
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

func TestTable(t *testing.T) {
	seen := make(map[string]bool)
	for _, k := range Kernels {
		if seen[k.Name] {
			t.Errorf("kernel %s is in the table twice", k.Name)
		}
		seen[k.Name] = true
		if got := strings.HasSuffix(k.LSM, ",bpf"); got != k.Offers("bpf_lsm") {
			t.Errorf("kernel %s: lsm=%s disagrees with its features", k.Name, k.LSM)
		}
		if len(k.Operations) > 0 && !k.Offers("bpf_lsm") {
			t.Errorf("kernel %s promises operations without the BPF LSM", k.Name)
		}
	}
	if _, err := ByName("4.19"); err == nil {
		t.Error("ByName knows a kernel that the table lacks")
	}
}

// recorder is a test that notes how it ended instead of ending.
type recorder struct {
	testing.TB
	end string
}

func (r *recorder) Helper()               {}
func (r *recorder) Fatalf(string, ...any) { r.stop("fail") }
func (r *recorder) Skipf(string, ...any)  { r.stop("skip") }

func (r *recorder) stop(end string) {
	r.end = end
	panic(r)
}

func TestRequire(t *testing.T) {
	for _, c := range []struct {
		name, kernel, want string
		check              func(testing.TB)
	}{
		{"offered", "6.12", "", func(t testing.TB) { Require(t, "socket_bind") }},
		{"lacking", "5.10", "skip", func(t testing.TB) { Require(t, "mptcp") }},
		{"lacking operation", "6.12-nobpf", "skip", func(t testing.TB) { Require(t, "socket_bind") }},
		{"misspelt", "6.12", "fail", func(t testing.TB) { Require(t, "soket_bind") }},
		{"no guest", "", "fail", func(t testing.TB) { Require(t, "socket_bind") }},
		{"unknown guest", "4.19", "fail", func(t testing.TB) { Require(t, "socket_bind") }},
		{"skip that agrees", "5.10", "skip", func(t testing.TB) { Unavailable(t, "mptcp", "EPROTONOSUPPORT") }},
		{"skip that contradicts", "6.12", "fail", func(t testing.TB) { Unavailable(t, "mptcp", "EPROTONOSUPPORT") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(wire.KernelEnv, c.kernel)
			r := &recorder{}
			func() {
				defer func() {
					if got := recover(); got != nil && got != any(r) {
						panic(got)
					}
				}()
				c.check(r)
			}()
			if r.end != c.want {
				t.Errorf("ended with %q, want %q", r.end, c.want)
			}
		})
	}
}
