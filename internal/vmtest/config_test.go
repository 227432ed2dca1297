package vmtest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMapTestArgs(t *testing.T) {
	got := MapTestArgs([]string{
		"-test.testlogfile=/tmp/b001/testlog.txt", "-test.paniconexit0", "-test.timeout=10m0s", "-test.v=true",
		"-test.coverprofile=cover.out", "-test.cpuprofile=/abs/cpu", "-test.outputdir=/out", "-test.gocoverdir=/tmp/gocover",
		"-test.fuzzcachedir=/cache", "-test.run=^TestBind$", "-args", "-test.testlogfile=kept",
	}, "/pkg")
	want := []string{
		"-test.paniconexit0", "-test.timeout=10m0s", "-test.v=true", "-test.coverprofile=/run/vmtest/coverprofile",
		"-test.cpuprofile=/run/vmtest/cpuprofile",
		"-test.run=^TestBind$", "-args", "-test.testlogfile=kept",
	}
	if !slices.Equal(got.Args, want) {
		t.Errorf("args %q, want %q", got.Args, want)
	}
	outputs := map[string]string{
		"/run/vmtest/coverprofile": "/out/cover.out", "/run/vmtest/cpuprofile": "/abs/cpu",
	}
	if !maps.Equal(got.Outputs, outputs) {
		t.Errorf("outputs %v, want %v", got.Outputs, outputs)
	}
	if got.Timeout != 10*time.Minute {
		t.Errorf("timeout %v", got.Timeout)
	}
}

func TestSaveOutputs(t *testing.T) {
	dir := t.TempDir()
	err := saveOutputs(map[string]string{"/run/vmtest/cover": filepath.Join(dir, "cover"), "/run/vmtest/dir": filepath.Join(dir, "dir")},
		map[string][]byte{
			"/run/vmtest/cover":          []byte("a"),
			"/run/vmtest/dir/sub/b":      []byte("b"),
			"/run/vmtest/dir/../escaped": []byte("c"),
			"/run/vmtest/coverage":       []byte("d"),
		})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"cover": "a", "dir/sub/b": "b", "dir/escaped": "c"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "escaped")); err == nil {
		t.Error("a file left the folder it belongs to")
	}
}

func TestParseMirrors(t *testing.T) {
	mirror, security := parseMirrors("Other\tx\thttp://other.test/\nDebian\tbookworm\thttp://mirror.test/debian/\n")
	if mirror != "http://mirror.test/debian/" || security != "http://mirror.test/debian-security/" {
		t.Errorf("mirrors %q, %q", mirror, security)
	}
	_, security = parseMirrors("Debian-Security\tbookworm-security\thttp://sec.test/\n")
	if security != "http://sec.test/" {
		t.Errorf("security mirror %q", security)
	}
	sources := sourcesList([]string{"trixie", "trixie-security"}, "http://m.test/", "http://s.test/", []string{"/a.gpg", "/b.gpg"})
	want := "deb [signed-by=/a.gpg,/b.gpg] http://m.test/ trixie main\ndeb [signed-by=/a.gpg,/b.gpg] http://s.test/ trixie-security main\n"
	if sources != want {
		t.Errorf("sources:\n%swant:\n%s", sources, want)
	}
}

func TestParseSimulation(t *testing.T) {
	got := parseSimulation("NOTE: only a simulation\nInst libc6 (2.36-9 Debian:12/oldstable [amd64]) []\nInst curl (7.88.1-10 Debian:12 [amd64])\nConf libc6 (2.36-9)\n")
	if want := []string{"curl=7.88.1-10", "libc6=2.36-9"}; !slices.Equal(got, want) {
		t.Errorf("versions %q, want %q", got, want)
	}
}

func TestKernelParts(t *testing.T) {
	image := Image{Release: "7.3.4+deb13-cloud-amd64", Version: "7.3.4-1"}
	depends := "dracut | initramfs-tools, linux-base-7.3.4+deb13-cloud-amd64 (= 7.3.4-1), linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1), linux-modules-7.3.4+deb13-cloud-amd64 (= 7.3.4-1)"
	want := []string{"linux-base-7.3.4+deb13-cloud-amd64=7.3.4-1", "linux-binary-7.3.4+deb13-cloud-amd64=7.3.4-1", "linux-modules-7.3.4+deb13-cloud-amd64=7.3.4-1"}
	if got := kernelParts(depends, image); !slices.Equal(got, want) {
		t.Errorf("parts %q, want %q", got, want)
	}
}

func TestMachineArgs(t *testing.T) {
	k, err := ByName("6.12")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		m    machine
		want []string
	}{
		{"emulation", machine{Kernel: k, CPUs: 2, MemoryMiB: 2048}, []string{"-accel tcg,thread=multi -cpu " + k.CPU + ",erms=off,fsrm=off", "-smp 2", "-m 2048M", "lsm=" + k.LSM}},
		{"kvm", machine{Kernel: k, KVM: true, CPUs: 2}, []string{"-accel kvm -cpu host"}},
		{"icount", machine{Kernel: k, ICount: true, CPUs: 1}, []string{"-accel tcg,thread=single", "-icount shift=0,sleep=off", "-smp 1"}},
		{"icount, words", machine{Kernel: k, ICount: true, WordCopies: true}, []string{"-cpu " + k.CPU + ",erms=off,fsrm=off"}},
		{"append", machine{Kernel: k, Append: "preempt=full"}, []string{" preempt=full"}},
		{"comma", machine{Kernel: k, Log: "/a,b"}, []string{"path=/a,,b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(c.m.args(), " ")
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("arguments lack %q: %s", want, got)
				}
			}
		})
	}
}

func TestMachineRoot(t *testing.T) {
	m := machine{Root: "/cache/a,b.ext2"}
	args := strings.Join(m.args(), " ")
	// Runs share the image: without the layer above it one would find what another has written.
	if !strings.Contains(args, "if=virtio,format=raw,snapshot=on") || !strings.Contains(args, "file=/cache/a,,b.ext2") {
		t.Errorf("the disk is not in the arguments, or is written to: %s", args)
	}
	if !strings.Contains(m.append(), "systemd.wants=vmtest.service") {
		t.Errorf("systemd is not told to start the job: %s", m.append())
	}
	m.Root = ""
	if args := strings.Join(m.args(), " ") + m.append(); strings.Contains(args, "-drive") || strings.Contains(args, "systemd") {
		t.Errorf("a guest without a root file system has a disk: %s", args)
	}
}
