//go:build vm

package ebpfguard_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
)

func TestSmoke(t *testing.T) {
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	start := time.Now()
	hook, err := m.AttachFileOpen()
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Log("attached in", time.Since(start))
	start = time.Now()
	defer func() { s := time.Now(); m.Close(); t.Log("closed in", time.Since(s)) }()
	alerts := hook.Alerts(context.Background())
	go func() {
		for a, err := range alerts {
			if err != nil {
				t.Log(err)
				continue
			}
			b, _ := a.MarshalJSON()
			t.Logf("%v\n%s", a, b)
		}
	}()
	dir := t.TempDir()
	for _, f := range []string{"secret", "tree/a/b", "open", "glob/x.key", "glob/x.pub"} {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755)
		os.WriteFile(filepath.Join(dir, f), []byte(f), 0o644)
	}
	start = time.Now()
	if err := hook.AddPolicy(ebpfguard.FileOpen{Name: "x", Subject: ebpfguard.Everyone(), Deny: ebpfguard.Files(dir+"/secret", dir+"/tree/", dir+"/glob/*.key", dir+"/future")}); err != nil {
		t.Fatal(err)
	}
	t.Log("applied in", time.Since(start))
	os.Link(dir+"/secret", dir+"/link")
	for _, f := range []string{"secret", "tree/a/b", "open", "glob/x.key", "glob/x.pub", "open", "secret", "link"} {
		_, err := os.ReadFile(filepath.Join(dir, f))
		t.Log(f, err)
	}
	t.Log(os.WriteFile(dir+"/future", nil, 0o644))
	t.Log(os.Rename(dir+"/secret", dir+"/s2"), os.Rename(dir+"/open", dir+"/secret"), os.Remove(dir+"/tree/a/b"))
	t.Log(os.Rename(dir+"/tree", dir+"/tree2"), os.Rename(dir+"/glob", dir+"/glob2"))
	_, err = os.ReadFile(dir + "/glob2/x.key")
	t.Log(err)
	out, err := exec.Command("/proc/self/exe", "-test.run=XXX").CombinedOutput()
	t.Log(string(out), err)
	t.Log(m.Stats("file_open"))
	t.Log(m.RuleStats())
	time.Sleep(time.Second)
}
