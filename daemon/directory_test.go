package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/config"
)

func TestDirectory(t *testing.T) {
	w := newWorld(t)
	i := w.start()
	i.want() // an empty directory is fine
	w.write("a.yaml", bind("a", 1))
	i.want("a")
	w.write("b.yml", bind("b", 2))
	w.write("c.txt", "no policy")
	i.want("a", "b")

	// A broken file leaves everything as it is, also what would be fine.
	w.write("a.yaml", bind("a", 70000))
	w.write("d.yaml", bind("d", 4))
	i.wantProblem("a.yaml:8:20")
	if got := w.guard.names(); got != "[a b]" {
		t.Errorf("in force: %s", got)
	}
	i.await("a message", func() bool { return strings.Contains(w.log.String(), "level=ERROR") })
	w.write("a.yaml", bind("a2", 1))
	i.want("a2", "b", "d")
	i.wantProblem("")

	// So does what the guard refuses.
	w.guard.refuse("e")
	w.write("e.yaml", bind("e", 5))
	i.wantProblem("not today")
	w.remove("e.yaml")
	i.wantProblem("")
	for _, name := range []string{"a.yaml", "b.yml", "d.yaml"} {
		w.remove(name)
	}
	i.want()
}

// TestUnread expects JSON to be read, and that the status and the log tell of what is not.
func TestUnread(t *testing.T) {
	w := newWorld(t)
	w.write("a.json", `{"apiVersion": "ebpfguard.io/v1alpha1", "kind": "Policy", "metadata": {"name": "j"}, "spec": {"subject": {}, "rules": [{"operation": "socket_bind", "deny": {"ports": [1]}}]}}`)
	w.write("b.yaml.bak", "no policy")
	sub := filepath.Join(w.config.Policies, "sub")
	if err := os.MkdirAll(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("sub/c.yaml", bind("c", 3))
	i := w.start()
	i.want("j")
	i.wantProblem(sub + ": its policies are not read, since a directory stands for its own files only; move them up")
	if !strings.Contains(w.log.String(), "its policies are not read") {
		t.Error("the log does not tell")
	}
	// It is moved away, which the next look finds.
	if err := os.Rename(sub, filepath.Join(w.config.Policies, ".sub")); err != nil {
		t.Fatal(err)
	}
	i.d.pollDirectory()
	i.wantProblem("")
	i.want("j")
}

// TestEmptyList has a feed become empty: other changes come into force all the same, and
// the log tells.
func TestEmptyList(t *testing.T) {
	w := newWorld(t)
	w.write("list.txt", "; a feed\n192.0.2.0/24 ; SBL1\n")
	w.write("a.yaml", strings.Replace(bind("a", 1), "{ports: [1]}", "{addresses_from: [list.txt]}", 1))
	i := w.start()
	i.want("a")
	w.write("list.txt", "; nothing today\n")
	w.write("b.yaml", bind("b", 2))
	i.want("a", "b")
	i.wantProblem("")
	i.await("a warning", func() bool { return strings.Contains(w.log.String(), "contain no address now") })
}

// TestDirectoryOfLinks is how Kubernetes replaces files: all at once, by one link.
func TestDirectoryOfLinks(t *testing.T) {
	w := newWorld(t)
	dir := w.config.Policies
	publish := func(version, name string) {
		t.Helper()
		folder := filepath.Join(dir, ".."+version)
		err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, "p.yaml"), []byte(bind(name, 1)), 0o600),
			os.Symlink(".."+version, filepath.Join(dir, "..new")), os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
		if err != nil {
			t.Fatal(err)
		}
	}
	publish("1", "first")
	if err := os.Symlink("..data/p.yaml", filepath.Join(dir, "p.yaml")); err != nil {
		t.Fatal(err)
	}
	i := w.start()
	i.want("first")
	publish("2", "second")
	i.want("second")
}

// TestDirectoryIsReplaced expects that the watch follows the path.
func TestDirectoryIsReplaced(t *testing.T) {
	w := newWorld(t)
	w.write("a.yaml", bind("a", 1))
	i := w.start()
	i.want("a")
	dir := w.config.Policies
	if err := os.Rename(dir, dir+".former"); err != nil {
		t.Fatal(err)
	}
	i.wantProblem("cannot be watched")
	if got := w.guard.names(); got != "[a]" {
		t.Errorf("without a directory %s is in force", got)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("b.yaml", bind("b", 1))
	i.want("b")
	i.wantProblem("")
	w.write("c.yaml", bind("c", 1))
	i.want("b", "c")

	// A link to a directory, led elsewhere at once.
	i.stop()
	link := filepath.Join(w.dir, "link")
	if err := os.Symlink("policies", link); err != nil {
		t.Fatal(err)
	}
	w.config.Policies = link
	i = w.start()
	i.want("b", "c")
	if err := errors.Join(os.Symlink("policies.former", link+".new"), os.Rename(link+".new", link)); err != nil {
		t.Fatal(err)
	}
	i.want("a")
}

// TestUnchanged expects that nothing is put in force anew for nothing.
func TestUnchanged(t *testing.T) {
	w := newWorld(t)
	w.write("a.yaml", bind("a", 1))
	i := w.start()
	i.want("a")
	before := w.guard.published()
	w.write("a.yaml", "# a comment moves it\n"+bind("a", 1))
	i.await("the new place", func() bool { return strings.Contains(i.d.owned().files[0].Source, "a.yaml:2:1") })
	i.apply(bind("b", 2))
	i.apply(bind("b", 2))
	i.d.Reload()
	i.await("reloading", func() bool { return strings.Contains(w.log.String(), "msg=reloaded") })
	if got := w.guard.published() - before; got != 1 {
		t.Errorf("%d publications, want that of b alone", got)
	}
}

// TestPoll finds what no watch tells: a file that a link leads to.
func TestPoll(t *testing.T) {
	w := newWorld(t)
	elsewhere, list := filepath.Join(w.dir, "elsewhere"), filepath.Join(w.dir, "list")
	with := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	with(elsewhere, bind("a", 1))
	with(list, "10.0.0.1\n")
	if err := os.Symlink(elsewhere, filepath.Join(w.config.Policies, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	w.write("b.yaml", strings.Replace(bind("b", 1), "ports: [1]", "addresses_from: [../list]", 1))
	i := w.start()
	i.want("a", "b")
	published := w.guard.published()
	i.d.pollDirectory()
	if got := w.guard.published(); got != published {
		t.Error("it is read without a reason")
	}
	with(elsewhere, bind("other", 1))
	i.d.pollDirectory()
	i.want("b", "other")
	published = w.guard.published()
	with(list, "10.0.0.1\n10.0.0.2\n")
	i.d.pollDirectory()
	if got := w.guard.published(); got != published+1 {
		t.Errorf("%d publications after a list of addresses changed, want one", got-published)
	}
	// What was wrong is tried again, though no file changed.
	w.guard.refuse("c")
	w.write("c.yaml", bind("c", 1))
	i.wantProblem("not today")
	w.guard.refuse("")
	i.d.pollDirectory()
	i.want("b", "c", "other")
	i.wantProblem("")
}

func TestReconfigure(t *testing.T) {
	w := newWorld(t)
	w.write("a.yaml", bind("a", 1))
	next, failure := w.config, error(nil)
	i, err := w.try(func() (config.Config, error) { return next, failure })
	if err != nil {
		t.Fatal(err)
	}
	i.want("a")
	next.Policies = filepath.Join(w.dir, "others")
	next.Socket, next.AlertBuffer = "/elsewhere", 1<<20
	if err := os.Mkdir(next.Policies, 0o700); err != nil {
		t.Fatal(err)
	}
	w.config.Policies = next.Policies
	w.write("b.yaml", bind("b", 1))
	i.d.Reload()
	i.want("b")
	w.write("c.yaml", bind("c", 1)) // the other directory is watched
	i.want("b", "c")
	i.await("that a start is needed", func() bool { return strings.Contains(w.log.String(), `options="[socket alert_buffer]"`) })
	failure = errors.New("a wrong key")
	i.d.Reload()
	i.wantProblem("a wrong key")
	s, err := i.Status(context.Background(), &pb.StatusRequest{})
	if err != nil || s.GetPolicyDirectory() != next.Policies || s.GetPolicies() != 2 {
		t.Errorf("%v, status %v", err, s)
	}
}
