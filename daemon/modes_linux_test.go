package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

// TestModes expects to be told of policies that others may change.
func TestModes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	w := newWorld(t)
	if err := os.Chmod(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.write("f.yaml", bind("f", 1))
	file := filepath.Join(w.config.Policies, "f.yaml")
	i := w.start()
	i.wantProblem("")
	for _, test := range []struct {
		change, back func() error
		want         string
	}{
		{func() error { return os.Chmod(file, 0o666) }, func() error { return os.Chmod(file, 0o600) }, "may change " + file + " (mode 0666"},
		{func() error { return os.Chown(file, 7, -1) }, func() error { return os.Chown(file, 0, -1) }, "of user 7 and group 0"},
		{func() error { return os.Chmod(w.config.Policies, 0o1777) }, func() error { return os.Chmod(w.config.Policies, 0o700) }, "may change " + w.config.Policies + " (mode 0777"},
		{func() error { return os.Chmod(w.dir, 0o777) }, func() error { return os.Chmod(w.dir, 0o755) }, "may change " + w.dir + " (mode 0777"},
		{func() error {
			return errors.Join(os.Chown(w.config.Policies, -1, 7), os.Chmod(w.config.Policies, 0o770))
		},
			func() error {
				return errors.Join(os.Chown(w.config.Policies, -1, 0), os.Chmod(w.config.Policies, 0o770))
			}, "mode 0770 of user 0 and group 7"},
	} {
		if err := test.change(); err != nil {
			t.Fatal(err)
		}
		_ = i.d.reloadDirectory()
		i.wantProblem(test.want)
		i.want("f")
		if err := test.back(); err != nil {
			t.Fatal(err)
		}
		_ = i.d.reloadDirectory()
		i.wantProblem("")
	}
	// Where nobody comes it does not matter.
	if err := errors.Join(os.Chmod(w.dir, 0o700), os.Chmod(file, 0o666)); err != nil {
		t.Fatal(err)
	}
	_ = i.d.reloadDirectory()
	i.wantProblem("")
}

// TestNamedPipe expects that a named pipe in the directory is a wrong file, and holds up nothing.
func TestNamedPipe(t *testing.T) {
	w := newWorld(t)
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	if err := syscall.Mkfifo(filepath.Join(w.config.Policies, "p.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	i.wantProblem("p.yaml: it is a named pipe, not a regular file")
	i.want("f")
	i.apply(bind("a", 2))
	i.want("a", "f")
	if err := os.Remove(filepath.Join(w.config.Policies, "p.yaml")); err != nil {
		t.Fatal(err)
	}
	i.wantProblem("")
	// So is a program that was replaced by one.
	program := filepath.Join(w.dir, "program")
	if err := syscall.Mkfifo(program, 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := i.Mitigate(t.Context(), &pb.MitigateRequest{Profile: pb.MitigateRequest_PROFILE_KILL, Ttl: minute(), Subject: &pb.MitigateRequest_Binary{Binary: program}, Audit: true})
	if err != nil || !strings.Contains(strings.Join(r.GetWarnings(), "\n"), program+" is not a regular file") {
		t.Errorf("%v, %v", err, r)
	}
}
