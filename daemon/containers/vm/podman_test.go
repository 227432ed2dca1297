//go:build vm_deb

package vm

import (
	"os"
	"strings"
	"testing"
)

const box = "localhost/box:1"

// TestPodman starts containers by Podman with crun and with runc: the hook tells of each before its first program,
// the sources of what it cannot tell, and of what runs already.
func TestPodman(t *testing.T) {
	podmanDisk(t)
	run(t, "podman", "import", "--change", "LABEL from=image", image(t), box)
	digest := run(t, "podman", "image", "inspect", "--format", "{{.Digest}}", box)
	if !strings.HasPrefix(digest, "sha256:") {
		t.Fatalf("the image has the digest %q", digest)
	}
	unmarked(t)
	if !t.Run("install", installPodman) {
		t.FailNow()
	}
	r := record(t, "podman", "oci")
	defer func() { r.stop() }()
	for _, runtime := range []string{"crun", "runc"} {
		podman := func(verb string, args ...string) []string {
			return append([]string{"--runtime", runtime, verb, "--network", "none", "-v", marks + ":/marks"}, args...)
		}
		start := func(t *testing.T, name string, args ...string) {
			t.Helper()
			args = append(args, "--name", name, box)
			run(t, "podman", podman("run", append([]string{"-d"}, append(args, first(name)...)...)...)...)
		}
		name := "web-" + runtime
		t.Run(runtime, func(t *testing.T) {
			t.Run("start", func(t *testing.T) {
				start(t, name, "--label", "app=web")
				c := r.hooked(t, name)
				if c.Runtime != "podman" || c.Image != box || c.ImageDigest != digest || len(c.ID) != 64 {
					t.Errorf("the hook told of %+v", c)
				}
				// The labels are those of Podman's socket, which came before the container's start.
				known := r.await(t, "labels", named(name, "hook", "podman", "oci"))
				if known.Labels["app"] != "web" || known.Labels["from"] != "image" {
					t.Errorf("labels: %v", known.Labels)
				}
				in(t, cgroupOf(t, run(t, "podman", "inspect", "--format", "{{.State.Pid}}", name)), known)
			})
			t.Run("exec", func(t *testing.T) {
				known := r.await(t, "it", named(name))
				run(t, "podman", "exec", "-d", name, "/bin/sleep", "77")
				in(t, cgroupOf(t, sleeper(t)), known)
			})
			t.Run("restart", func(t *testing.T) {
				before := r.await(t, "it", named(name))
				unmarked(t)
				run(t, "podman", "restart", "--time", "0", name)
				if c := r.hooked(t, name); c.ID != before.ID {
					t.Errorf("the id was %s and is %s", before.ID, c.ID)
				}
				known := r.await(t, "it", named(name, "hook", "podman", "oci"))
				in(t, cgroupOf(t, run(t, "podman", "inspect", "--format", "{{.State.Pid}}", name)), known)
			})
			t.Run("rename", func(t *testing.T) {
				run(t, "podman", "rename", name, name+"-2")
				r.await(t, "the new name", named(name+"-2"))
			})
			t.Run("same_name", func(t *testing.T) {
				before := r.await(t, "it", named(name+"-2"))
				run(t, "podman", "rm", "--force", "--time", "0", name+"-2")
				r.gone(t, before.ID)
				unmarked(t)
				start(t, name+"-2", "--rm")
				if c := r.hooked(t, name+"-2"); c.ID == before.ID || c.Image != box {
					t.Errorf("the hook told of %+v", c)
				}
				known := r.await(t, "it", named(name+"-2"))
				run(t, "podman", "rm", "--force", "--time", "0", name+"-2")
				r.gone(t, known.ID)
			})
			t.Run("refused", func(t *testing.T) {
				unmarked(t)
				r.refuseAll("the table of containers is full")
				defer r.refuseAll("")
				args := append([]string{"--name", "refused", box}, first("refused")...)
				if out := fails(t, "podman", podman("run", args...)...); marked("refused") {
					t.Errorf("its program has run: %s", out)
				} else {
					t.Log(out)
				}
				r.hooked(t, "refused")
				// crun does not show what a hook says.
				eventually(t, "the reason in the journal", func() bool {
					out, err := command("journalctl", "-q", "-t", "ebpfguard")
					return err == nil && strings.Contains(out, "the table of containers is full")
				})
				run(t, "podman", "rm", "--force", "refused")
			})
			t.Run("no_daemon", func(t *testing.T) {
				r.deaf()
				defer r.listen(t)
				args := append([]string{"--name", "closed", box}, first("closed")...)
				if out := fails(t, "podman", podman("run", args...)...); marked("closed") {
					t.Errorf("its program has run: %s", out)
				} else {
					t.Log(out)
				}
				run(t, "podman", "rm", "--force", "closed")
				run(t, "ebpfguard", "runtime", "install-hook", "--podman", "--fail", "open", "--yes")
				start(t, "open")
				run(t, "ebpfguard", "runtime", "install-hook", "--podman", "--fail", "closed", "--yes")
				r.silent(t)
				// The sources need no socket of the daemon.
				r.await(t, "it", named("open", "podman", "oci"))
				run(t, "podman", "rm", "--force", "--time", "0", "open")
			})
			if runtime != "crun" {
				return // what follows is Podman's business alone, or has been seen
			}
			t.Run("digest", func(t *testing.T) {
				args := append([]string{"-d", "--name", "by-digest", "localhost/box@" + digest}, first("by-digest")...)
				run(t, "podman", podman("run", args...)...)
				if c := r.hooked(t, "by-digest"); c.ImageDigest != digest || !strings.HasPrefix(c.Image, "localhost/box@sha256:") {
					t.Errorf("the hook told of %+v", c)
				}
				run(t, "podman", "rm", "--force", "--time", "0", "by-digest")
			})
			t.Run("no_group", func(t *testing.T) {
				unmarked(t)
				args := append([]string{"--cgroups=disabled", "--name", "groupless", box}, first("groupless")...)
				if out := fails(t, "podman", podman("run", args...)...); marked("groupless") {
					t.Errorf("its program has run: %s", out)
				} else {
					t.Log(out)
				}
				_, _ = command("podman", "rm", "--force", "groupless")
				r.silent(t)
			})
			t.Run("daemon_restart", func(t *testing.T) {
				start(t, "before")
				r.hooked(t, "before")
				r.stop()
				// Both must know of what runs, each alone.
				for _, source := range []string{"oci", "podman"} {
					r = record(t, source)
					known := r.await(t, "what ran before", named("before", source))
					if known.Image != box || known.ImageDigest != digest || known.Runtime != "podman" {
						t.Errorf("%s tells of %+v", source, known)
					}
					in(t, cgroupOf(t, run(t, "podman", "inspect", "--format", "{{.State.Pid}}", "before")), known)
					r.stop()
				}
				r = record(t, "podman", "oci")
				known := r.await(t, "what ran before", named("before"))
				run(t, "podman", "rm", "--force", "--time", "0", "before")
				r.gone(t, known.ID)
			})
		})
	}
	t.Run("uninstall", func(t *testing.T) {
		t.Log(run(t, "ebpfguard", "runtime", "install-hook", "--uninstall", "--yes"))
		run(t, "podman", append([]string{"run", "-d", "--network", "none", "--name", "late", "-v", marks + ":/marks", box}, first("late")...)...)
		r.await(t, "what the hook did not tell of", named("late", "podman", "oci"))
		r.silent(t)
		run(t, "podman", "rm", "--force", "--time", "0", "late")
	})
}

func installPodman(t *testing.T) {
	const file = "/usr/share/containers/oci/hooks.d/ebpfguard.json"
	t.Log(run(t, "ebpfguard", "runtime", "install-hook", "--dry-run"))
	if out := fails(t, "ebpfguard", "runtime", "install-hook"); !strings.Contains(out, "--yes") {
		t.Errorf("without --yes: %s", out)
	}
	if _, err := os.Stat(file); err == nil {
		t.Errorf("%s was made by --dry-run or without --yes", file)
	}
	t.Log(run(t, "ebpfguard", "runtime", "install-hook", "--fail", "closed", "--yes"))
	if out := run(t, "ebpfguard", "runtime", "install-hook", "--fail", "closed", "--yes"); !strings.Contains(out, "nothing to do") {
		t.Errorf("once more: %s", out)
	}
}
