//go:build vm_runner

// These tests boot guests, some with this test binary as the command, which therefore has to be static:
//
//	CGO_ENABLED=0 go test -tags vm_runner ./internal/vmtest

package vmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// probeEnv makes this test binary act as the guest's command instead of running tests.
const probeEnv = "VMTEST_PROBE"

func TestMain(m *testing.M) {
	if action := os.Getenv(probeEnv); action != "" {
		os.Exit(probe(action))
	}
	os.Exit(m.Run())
}

func probe(action string) int {
	switch action {
	case "0", "1", "7":
		fmt.Println("exiting with", action)
		return int(action[0] - '0')
	case "panic":
		fmt.Println("about to panic")
		time.Sleep(200 * time.Millisecond)
		err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
		fmt.Println("still alive:", err)
		return 0
	case "hang":
		fmt.Println("hanging")
		time.Sleep(time.Hour)
		return 0
	case "stream":
		fmt.Println("first")
		time.Sleep(3 * time.Second)
		fmt.Println("second")
		return 0
	case "orphan":
		// The grandchild keeps the output open after this process has ended.
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{probeEnv + "=hang"}
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			return 9
		}
		return 0
	case "large":
		_, err := io.Copy(os.Stdout, io.LimitReader(zeros{}, 1<<20))
		if err != nil {
			return 9
		}
		return 0
	case "modules":
		raw, _ := os.ReadFile("/proc/modules")
		os.Stdout.Write(raw)
		return 0
	case "curl":
		out, err := exec.Command("/usr/bin/curl", "--version").CombinedOutput()
		os.Stdout.Write(out)
		if err != nil {
			fmt.Println(err)
			return 9
		}
		return 0
	case "output":
		if os.WriteFile("/run/vmtest/out", []byte("\x00binary\n"), 0o600) != nil {
			return 9
		}
		return 0
	}
	return 99
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'z'
	}
	return len(p), nil
}

// watcher notes when a text first appeared in the output.
type watcher struct {
	bytes.Buffer
	first time.Time
}

func (w *watcher) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if w.first.IsZero() && strings.Contains(w.String(), "first") {
		w.first = time.Now()
	}
	return n, err
}

func boot(t *testing.T, action string, change func(*Config)) (exit int, stdout, stderr string, err error) {
	t.Helper()
	k, err := ByName("6.12")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, messages bytes.Buffer
	c := Config{Kernel: k, Binary: self, Env: []string{probeEnv + "=" + action}, Timeout: 2 * time.Minute, Stdout: &out, Stderr: &messages}
	if change != nil {
		change(&c)
	}
	exit, err = Run(context.Background(), c)
	return exit, out.String(), messages.String(), err
}

func TestExitStatus(t *testing.T) {
	for want, action := range map[int]string{0: "0", 1: "1", 7: "7"} {
		t.Run(action, func(t *testing.T) {
			exit, out, messages, err := boot(t, action, nil)
			if err != nil || exit != want || out != "exiting with "+action+"\n" {
				t.Errorf("exit status %d, output %q, %v; want %d\n%s", exit, out, err, want, messages)
			}
			if !strings.Contains(messages, "kernel 6.12 (6.12.") || !strings.Contains(messages, "guest ran for") {
				t.Errorf("messages: %s", messages)
			}
		})
	}
}

func TestEveryKernel(t *testing.T) {
	for _, k := range Of(runtime.GOARCH) {
		t.Run(k.Name, func(t *testing.T) {
			exit, _, messages, err := boot(t, "7", func(c *Config) { c.Kernel = k })
			if err != nil || exit != 7 {
				t.Errorf("exit status %d, %v\n%s", exit, err, messages)
			}
		})
	}
}

func TestICount(t *testing.T) {
	exit, _, messages, err := boot(t, "7", func(c *Config) { c.ICount = true })
	if err != nil || exit != 7 || !strings.Contains(messages, "icount, 1 cpus") {
		t.Errorf("exit status %d, %v\n%s", exit, err, messages)
	}
}

func TestOutputStreams(t *testing.T) {
	var w watcher
	_, _, _, err := boot(t, "stream", func(c *Config) { c.Stdout = &w })
	if err != nil || w.String() != "first\nsecond\n" {
		t.Fatalf("output %q, %v", w.String(), err)
	}
	if age := time.Since(w.first); age < 2*time.Second {
		t.Errorf("the first line came %v before the end; the output was held back", age)
	}
}

func TestLargeOutput(t *testing.T) {
	exit, out, _, err := boot(t, "large", nil)
	if err != nil || exit != 0 || out != strings.Repeat("z", 1<<20) {
		t.Errorf("exit status %d, %d bytes, %v", exit, len(out), err)
	}
}

func TestOrphanHoldsOutput(t *testing.T) {
	exit, _, messages, err := boot(t, "orphan", nil)
	if err != nil || exit != 0 {
		t.Errorf("exit status %d, %v\n%s", exit, err, messages)
	}
}

func TestPanicPrintsLog(t *testing.T) {
	exit, out, messages, err := boot(t, "panic", nil)
	if !errors.Is(err, ErrNoStatus) || exit != 1 {
		t.Errorf("exit status %d, %v", exit, err)
	}
	if !strings.Contains(out, "about to panic") || !strings.Contains(messages, "Kernel panic") {
		t.Errorf("output %q, messages:\n%s", out, messages)
	}
	if strings.Contains(messages, "booting again") {
		t.Errorf("a panic of the command was taken for a failed boot:\n%s", messages)
	}
}

func TestFailedBootIsTriedAgain(t *testing.T) {
	// Without an init the kernel panics before any command.
	exit, out, messages, err := boot(t, "7", func(c *Config) { c.Append = "rdinit=/none" })
	if !errors.Is(err, ErrNoStatus) || exit != 1 || out != "" || !strings.Contains(err.Error(), "booted 3 times") {
		t.Errorf("exit status %d, output %q, %v", exit, out, err)
	}
	if strings.Count(messages, "booting again") != 2 || strings.Count(messages, "Kernel panic - not syncing") != 3 {
		t.Errorf("messages:\n%s", messages)
	}
}

func TestHangIsKilled(t *testing.T) {
	start := time.Now()
	exit, out, _, err := boot(t, "hang", func(c *Config) { c.Timeout = 15 * time.Second })
	if !errors.Is(err, ErrNoStatus) || exit != 1 || !strings.Contains(err.Error(), "-timeout") {
		t.Errorf("exit status %d, %v", exit, err)
	}
	if out != "hanging\n" || time.Since(start) > time.Minute {
		t.Errorf("output %q after %v", out, time.Since(start))
	}
}

func TestModuleLoads(t *testing.T) {
	for _, k := range Of(runtime.GOARCH) {
		t.Run(k.Name, func(t *testing.T) {
			exit, out, messages, err := boot(t, "modules", func(c *Config) { c.Kernel, c.Modules = k, []string{"sctp"} })
			if err != nil || exit != 0 || !strings.Contains(out, "sctp ") {
				t.Errorf("exit status %d, %v, modules:\n%s\n%s", exit, err, out, messages)
			}
		})
	}
}

func TestPackage(t *testing.T) {
	exit, out, messages, err := boot(t, "curl", func(c *Config) { c.Packages = []string{"curl"} })
	if err != nil || exit != 0 || !strings.Contains(out, "libcurl/") {
		t.Errorf("exit status %d, %v, output:\n%s\n%s", exit, err, out, messages)
	}
}

func TestOutputsComeBack(t *testing.T) {
	path := t.TempDir() + "/out"
	exit, _, messages, err := boot(t, "output", func(c *Config) { c.Outputs = map[string]string{"/run/vmtest/out": path} })
	if err != nil || exit != 0 {
		t.Fatalf("exit status %d, %v\n%s", exit, err, messages)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "\x00binary\n" {
		t.Errorf("file %q, %v", got, err)
	}
}
