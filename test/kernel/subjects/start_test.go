//go:build vm

package subjects

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// starting is a policy about the programs that a subject starts, by one of the two operations
// that can forbid it. Without allowed programs there is no allow-list.
func starting(operation policy.Operation, subject ebpfguard.Subject, allow, deny []string) policy.Policy {
	patterns := func(paths []string) []policy.Pattern {
		switch {
		case paths == nil:
			return nil
		case operation == policy.FileOpen:
			return []policy.Pattern{policy.FilePattern{Paths: paths, Access: policy.Exec}}
		}
		return []policy.Pattern{policy.ProgramPattern{Paths: paths}}
	}
	rule := policy.Rule{Operation: operation, Allow: patterns(allow), Deny: patterns(deny)}
	if deny == nil {
		rule.Deny = []policy.Pattern{policy.Everything(operation)}
		if operation == policy.FileOpen {
			rule.Deny = []policy.Pattern{policy.FilePattern{Access: policy.Exec}}
		}
	}
	return policy.Policy{Name: "test", Subject: policy.Subject(subject), Rules: []policy.Rule{rule}}
}

// notStarted wants a start to be refused with EPERM, for certain.
func notStarted(t *testing.T, g *guardtest.FileGuard, operation policy.Operation, start error) {
	t.Helper()
	if !errors.Is(start, syscall.EPERM) {
		t.Fatalf("started: %v, want EPERM", start)
	}
	if alert := g.Next(t).Context(); alert.Operation != operation || alert.Policy != "test" || alert.Undecided {
		t.Errorf("alert %+v", alert)
	}
}

func errandError(o guardtest.Outcome) error {
	if o.Errno == 0 {
		return nil
	}
	return o.Errno
}

// testOwnProgram has programs that must not start what lies where they lie themselves: that
// is about what they start, and not about their own start, which others do.
func testOwnProgram(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	program, other := guardtest.CopyProgram(t, dir+"/bin/program"), guardtest.CopyProgram(t, dir+"/bin/other")
	outside := guardtest.CopyProgram(t, dir+"/outside")
	script := guardtest.WriteFile(t, dir+"/bin/script", "#!"+other+"\n")
	shell, err := os.ReadFile("/bin/sh")
	guardtest.Check(t, err)
	guardtest.MakeProgram(t, dir+"/bin/sh", shell) // a dynamic program, with an ELF interpreter
	loader, err := os.ReadFile(vmtest.Loader)
	guardtest.Check(t, err)
	guardtest.MakeProgram(t, dir+"/bin/loader", loader)
	for _, operation := range []policy.Operation{policy.BprmCheckSecurity, policy.FileOpen} {
		t.Run(string(operation), func(t *testing.T) {
			g.Enforce(t, starting(operation, ebpfguard.Binaries(program, script, dir+"/bin/sh"), nil, []string{dir + "/bin/", vmtest.Loader}))
			for _, path := range []string{program, script} {
				d := guardtest.StartDoer(t, path)
				notStarted(t, g, operation, errandError(d.Do("spawn", other)))
				notStarted(t, g, operation, errandError(d.Do("exec", program))) // itself, once it runs
				notStarted(t, g, operation, errandError(d.Do("spawn", script)))
				d.Passed(t, "spawn", outside) // what lies elsewhere it may start
			}
			d := guardtest.StartDoer(t, other)
			d.Passed(t, "exec", program)
			notStarted(t, g, operation, errandError(d.Do("exec", other)))
			if out, err := exec.Command(dir+"/bin/sh", "-c", "exit 0").CombinedOutput(); err != nil {
				t.Errorf("a dynamic program that must not start its ELF interpreter: %v: %s", err, out)
			}
		})
	}
	t.Run("a program that is mapped by the loader", func(t *testing.T) {
		// To run a program is one thing, to be told to load it another.
		g.Enforce(t, starting(policy.BprmCheckSecurity, ebpfguard.Binaries(dir+"/bin/loader"), nil, []string{dir + "/bin/sh"}))
		out, err := exec.Command(dir+"/bin/loader", dir+"/bin/sh", "-c", "exit 0").CombinedOutput()
		if err == nil {
			t.Errorf("the loader ran it: %s", out)
		}
		if alert := g.Next(t).Context(); alert.Hook != "mmap_file" {
			t.Errorf("alert %+v", alert)
		}
	})
}

// testFirstInCgroup has the first program that is started in a control group.
func testFirstInCgroup(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	makeCgroup(t, "/first")
	program, other := guardtest.CopyProgram(t, dir+"/program"), guardtest.CopyProgram(t, dir+"/other")
	script := guardtest.WriteFile(t, dir+"/script", "#!"+other+"\n")
	group := ebpfguard.Subject{Cgroups: []string{"/first"}}
	start := func(path string) error { // in the group from the fork on
		dir, err := os.Open("/sys/fs/cgroup/first")
		guardtest.Check(t, err)
		defer dir.Close()
		command := exec.Command(path)
		command.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
		if err := command.Start(); err != nil {
			return err
		}
		command.Process.Kill()
		command.Wait()
		return nil
	}
	for _, operation := range []policy.Operation{policy.BprmCheckSecurity, policy.FileOpen} {
		for _, test := range []struct {
			name        string
			allow, deny []string
		}{
			{"denied", nil, []string{other}}, {"not allowed", []string{program}, nil},
		} {
			t.Run(string(operation)+" "+test.name, func(t *testing.T) {
				g.Enforce(t, starting(operation, group, test.allow, test.deny))
				notStarted(t, g, operation, start(other))
				notStarted(t, g, operation, start(script))
				guardtest.Check(t, start(program))
				moved, bystander := guardtest.StartDoer(t, other), guardtest.StartDoer(t, other)
				moveToCgroup(t, moved, "/first")
				notStarted(t, g, operation, errandError(moved.Do("exec", other)))
				notStarted(t, g, operation, errandError(moved.Do("spawn", other)))
				bystander.Passed(t, "exec", other)
				moved.Passed(t, "exec", program)
				notStarted(t, g, operation, errandError(moved.Do("exec", other)))
				moveToCgroup(t, moved, "") // and away, before it starts one
				moved.Passed(t, "exec", other)
				moved.Passed(t, "spawn", script)
			})
		}
	}
	t.Run("what it was counts still", func(t *testing.T) {
		// The group is the new one, the program the one that starts the other.
		g.Enforce(t, starting(policy.BprmCheckSecurity, ebpfguard.Subject{Cgroups: []string{"/first"}, Binaries: []string{program, script}}, nil, []string{other}))
		for _, path := range []string{program, script} {
			d, bystander := guardtest.StartDoer(t, path), guardtest.StartDoer(t, "/proc/self/exe")
			for _, d := range []*guardtest.Doer{d, bystander} {
				moveToCgroup(t, d, "/first")
			}
			notStarted(t, g, policy.BprmCheckSecurity, errandError(d.Do("exec", other)))
			bystander.Passed(t, "exec", other)
			bystander.Stop()
			d.Stop()
		}
	})
	t.Run("descendants", func(t *testing.T) {
		secret := guardtest.WriteFile(t, dir+"/secret", "")
		g.Enforce(t, guardtest.DenyFiles("test", ebpfguard.Subject{Cgroups: []string{"/first"}, Binaries: []string{program}, Descendants: true}, secret))
		d := guardtest.StartDoer(t, program)
		moveToCgroup(t, d, "/first")
		d.Passed(t, "open", secret, "r") // it is in the group from its next exec on
		d.Passed(t, "exec", other)
		g.Refused(t, d, "open", secret, "r")
		d.Stop()
	})
}

// testUserAtExec has a start judged by the user that the process has then.
func testUserAtExec(t *testing.T, g *guardtest.FileGuard) {
	other := guardtest.CopyProgram(t, "/tmp/user-at-exec/other")
	users := ebpfguard.Subject{Users: policy.IDs{Ranges: []policy.IDRange{{First: 1000, Last: 1000}}}}
	g.Enforce(t, starting(policy.BprmCheckSecurity, users, nil, []string{other}))
	d, bystander := guardtest.StartDoer(t, "/proc/self/exe"), guardtest.StartDoer(t, "/proc/self/exe")
	d.Passed(t, "setuid", "1000", "1000", "1000")
	bystander.Passed(t, "setuid", "1001", "1001", "1001")
	notStarted(t, g, policy.BprmCheckSecurity, errandError(d.Do("exec", other)))
	bystander.Passed(t, "exec", other)
}
