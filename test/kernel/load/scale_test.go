//go:build vm

package load

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// manyPath returns one of very many paths, in directories of 100 files.
func manyPath(i int) string {
	return fmt.Sprintf("/tmp/scale/%03d/%02d/file%d.conf", i/10000, i/100%100, i)
}

// TestManyPaths applies 100,000 paths, as many rules and as one.
func TestManyPaths(t *testing.T) {
	const n = 100_000
	g := guardtest.Shared(t)
	t.Cleanup(func() { g.Drain(t) })
	p := guardtest.Lone(t)
	named := []int{0, 1, n / 2, n - 2, n - 1}
	var bystanders []string
	for _, i := range named {
		for _, path := range []string{manyPath(i), manyPath(i) + "x"} {
			guardtest.Check(t, os.MkdirAll(filepath.Dir(path), 0o755))
			guardtest.Check(t, os.WriteFile(path, nil, 0o644))
		}
		bystanders = append(bystanders, manyPath(i)+"x")
	}
	t.Cleanup(func() { os.RemoveAll("/tmp/scale") })
	rules := make([]policy.Rule, n)
	paths := make([]string, n)
	for i := range n {
		paths[i] = manyPath(i)
		rules[i] = policy.Rule{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{paths[i]}}}}
	}
	few := []policy.Rule{{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{manyPath(0)}}}}}
	for _, test := range []struct {
		name  string
		rules []policy.Rule
		named []int
	}{
		{"a rule of a path", few, named[:1]},
		{"100,000 rules of a path", rules, named},
		{"a rule of 100,000 paths", []policy.Rule{{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: paths}}}}, named},
	} {
		t.Run(test.name, func(t *testing.T) {
			applied := timed(t, func() {
				g.Use(t, policy.Policy{Name: "many", Subject: policy.Subject{Everyone: true}, Rules: test.rules})
			})
			for _, i := range test.named {
				if errno := p.Attempt(t, guardtest.OpenFile(manyPath(i), unix.O_RDONLY)); errno != unix.EPERM {
					t.Errorf("path %d: %v", i, errno)
				}
			}
			for _, path := range bystanders {
				if errno := p.Attempt(t, guardtest.OpenFile(path, unix.O_RDWR)); errno != 0 {
					t.Errorf("%s: %v", path, errno)
				}
			}
			fmt.Printf("%s: applied in %v; to open another file takes %v\n", test.name, applied.Round(time.Millisecond), each(t, p, guardtest.OpenFile(bystanders[0], unix.O_RDONLY)))
		})
	}
}

// TestManyAddresses loads 1,000,000 addresses from a file.
func TestManyAddresses(t *testing.T) {
	const n = 1_000_000
	g := guardtest.Shared(t)
	t.Cleanup(func() { g.Drain(t) })
	p := guardtest.Lone(t)
	dir := t.TempDir()
	list, err := os.Create(filepath.Join(dir, "addresses"))
	guardtest.Check(t, err)
	defer list.Close()
	w := bufio.NewWriter(list)
	for i := range n {
		fmt.Fprintf(w, "%v/32\n", guardtest.ManyAddress(i))
	}
	guardtest.Check(t, w.Flush())
	file := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(file, []byte(`apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata:
  name: many
spec:
  subject: {}
  rules:
  - operation: socket_connect
    deny: {addresses_from: [addresses]}
`), 0o644); err != nil {
		t.Fatal(err)
	}
	var set []policy.Policy
	loaded := timed(t, func() {
		if set, err = policy.Load(file); err != nil {
			t.Fatal(err)
		}
	})
	applied := timed(t, func() { g.Use(t, set...) })
	for _, i := range []int{0, 1, n / 2, n - 2, n - 1} {
		if errno := p.Attempt(t, guardtest.ConnectTo(guardtest.ManyAddress(i), 53)); errno != unix.EPERM {
			t.Errorf("address %d, %v: %v", i, guardtest.ManyAddress(i), errno)
		}
		for _, other := range []netip.Addr{guardtest.ManyAddress(i).Next(), guardtest.ManyAddress(i).Prev()} {
			if errno := p.Attempt(t, guardtest.ConnectTo(other, 53)); errno == unix.EPERM {
				t.Errorf("bystander %v: %v", other, errno)
			}
		}
	}
	fmt.Printf("1,000,000 addresses: loaded in %v, applied in %v; to connect elsewhere takes %v\n",
		loaded.Round(time.Millisecond), applied.Round(time.Millisecond), each(t, p, guardtest.ConnectTo(guardtest.Lo4, 53)))
}

func timed(t *testing.T, f func()) time.Duration {
	t.Helper()
	start := time.Now()
	f()
	return time.Since(start)
}

// each returns how long an attempt takes, of many.
func each(t *testing.T, p *guardtest.Performer, add func(*guardtest.Batch) int) time.Duration {
	t.Helper()
	const n = 500
	return timed(t, func() {
		p.Attempt(t, func(b *guardtest.Batch) (call int) {
			for range n {
				call = add(b)
			}
			return call
		})
	}) / n
}
