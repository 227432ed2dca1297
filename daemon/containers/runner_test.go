package containers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/policy"
)

// source does what a test tells it.
type source struct {
	place string
	run   func(context.Context, Registry) error

	mu     sync.Mutex
	status Status
}

func (s *source) Name() string { return "fake" }

func (s *source) Run(ctx context.Context, to Registry) error { return s.run(ctx, to) }

func (s *source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *source) set(status Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// fakeKind is a kind whose sources run so.
func fakeKind(name string, places []string, run func(*source, context.Context, Registry) error) Kind {
	return Kind{Name: name, Key: "socket", Places: places, New: func(place string, _ *slog.Logger) Source {
		s := &source{place: place}
		s.run = func(ctx context.Context, to Registry) error { return run(s, ctx, to) }
		return s
	}}
}

// runFor runs sources until the test ends.
func runFor(t *testing.T, r *Runner, specs []Spec) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx, specs)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// await waits for something that has to come.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// TestAuto starts sources as their places come.
func TestAuto(t *testing.T) {
	table, g, h := newTable(t)
	h.mkdir("/a")
	dir := t.TempDir()
	here, later := filepath.Join(dir, "here"), filepath.Join(dir, "later")
	must(t, os.WriteFile(here, nil, 0o600))
	tell := func(s *source, ctx context.Context, to Registry) error {
		err := to.Sync("some name", []Container{container(filepath.Base(s.place), filepath.Base(s.place), "/"+filepath.Base(s.place))})
		s.set(Status{Connected: err == nil})
		<-ctx.Done()
		return ctx.Err()
	}
	h.mkdir("/here")
	h.mkdir("/later")
	r := NewRunner(table, []Kind{
		fakeKind("one", []string{filepath.Join(dir, "nowhere"), here}, tell), fakeKind("two", []string{later}, tell),
	}, slog.New(slog.DiscardHandler))
	runFor(t, r, nil)
	await(t, "the first source", func() bool { return g.told() == "here=here" })
	if late := r.Await(context.Background(), time.Minute); late != nil {
		t.Errorf("late are %v", late)
	}
	want(t, len(r.Status()), 1)
	must(t, os.WriteFile(later, nil, 0o600))
	await(t, "the second source", func() bool { return g.told() == "here=here later=later" })
	await(t, "its status", func() bool {
		s := r.Status()
		return len(s) == 2 && s[1].Name == "two" && s[1].Connected && s[1].Synced && s[1].Containers == 1 && !s[1].Asked
	})
}

// TestPlaceOnHost has a guard that is in a container itself: its own directory of the same name is another one.
func TestPlaceOnHost(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the guard is in a container on Linux alone")
	}
	dir, here := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(dir+here, 0o700))
	root, err := hostroot.Open(dir)
	must(t, err)
	hostroot.Use(root)
	t.Cleanup(func() {
		hostroot.Use(nil)
		root.Close()
	})
	want(t, Kind{Places: []string{here}}.place(), dir+here)
	must(t, os.RemoveAll(dir+here))
	want(t, Kind{Places: []string{here}}.place(), here)
	want(t, Kind{Places: []string{"/no/such", "/nor/this"}}.place(), "/no/such")
}

// TestAsked starts what a configuration names, of which two are of one kind.
func TestAsked(t *testing.T) {
	table, g, h := newTable(t)
	h.mkdir("/a")
	h.mkdir("/b")
	kinds := []Kind{fakeKind("docker", []string{"/no/such"}, func(s *source, ctx context.Context, to Registry) error {
		if s.place == "/no/such" {
			s.set(Status{Problem: "it does not run; start it"})
		} else if err := to.Sync("docker", []Container{container(s.place, s.place[1:], s.place)}); err != nil {
			return err
		} else {
			s.set(Status{Connected: true})
		}
		<-ctx.Done()
		return ctx.Err()
	})}
	r := NewRunner(table, kinds, slog.New(slog.DiscardHandler))
	runFor(t, r, []Spec{{Type: "docker", Place: "/a"}, {Type: "docker", Place: "/b"}, {Type: "docker"}})
	await(t, "both", func() bool { return g.told() == "/a=a /b=b" })
	if late := r.Await(context.Background(), time.Minute); late != nil {
		t.Errorf("late are %v", late)
	}
	var names []string
	for _, s := range r.Status() {
		names = append(names, fmt.Sprint(s.Name, " ", s.Place, " ", s.Problem))
	}
	want(t, strings.Join(names, ", "), "docker /a , docker 2 /b , docker 3 /no/such it does not run; start it")
}

// describer is a source that knows of a container before it starts.
type describer struct{ source }

func (*describer) Describe(id string) (policy.Container, bool) {
	return policy.Container{ID: id, Name: "web", Image: "nginx", Labels: map[string]string{"app": "web"}}, id == "1"
}

// TestDescribe has the hook tell of a container of which a source knows more.
func TestDescribe(t *testing.T) {
	table, g, h := newTable(t)
	h.mkdir("/a")
	h.mkdir("/b")
	place := t.TempDir()
	r := NewRunner(table, []Kind{{Name: "docker", Places: []string{place}, New: func(string, *slog.Logger) Source {
		return &describer{source{run: func(ctx context.Context, _ Registry) error {
			<-ctx.Done()
			return ctx.Err()
		}}}
	}}}, slog.New(slog.DiscardHandler))
	runFor(t, r, nil)
	await(t, "the source", func() bool { return len(r.Status()) == 1 })
	must(t, r.Tell("hook", container("1", "", "/a")))
	must(t, r.Tell("hook", container("2", "", "/b")))
	want(t, g.told(), "1=web 2=")
	want(t, table.Known()[1].Sources, []string{"docker", "hook"})
	table.Stop("docker", "1")
	want(t, g.told(), "1=web 2=")
	// What cannot be told of is an error, however much is known of it.
	if err := r.Tell("hook", container("1", "", "/none")); err == nil {
		t.Error("no error")
	}
}

// TestLate has a source that does not tell in time, and one that ends.
func TestLate(t *testing.T) {
	table, _, _ := newTable(t)
	release := make(chan struct{})
	kinds := []Kind{
		fakeKind("slow", []string{"/"}, func(_ *source, ctx context.Context, to Registry) error {
			select {
			case <-release:
				return errors.Join(to.Sync("", nil), errors.New("it cannot be"))
			case <-ctx.Done():
				return ctx.Err()
			}
		}),
	}
	r := NewRunner(table, kinds, slog.New(slog.DiscardHandler))
	runFor(t, r, nil)
	await(t, "the source", func() bool { return len(r.Status()) == 1 })
	want(t, r.Await(context.Background(), 20*time.Millisecond), []string{"slow"})
	close(release)
	await(t, "the end", func() bool { return strings.HasPrefix(r.Status()[0].Problem, "it cannot be; it is tried again") })
}

// TestRunningAlready has a container that ran before, of which a source tells as soon as it can: nobody may say
// meanwhile that it is unidentified.
func TestRunningAlready(t *testing.T) {
	table, _, h := newTable(t)
	id := strings.Repeat("0123456789abcdef", 4)
	group := "/docker-" + id + ".scope"
	h.populate(group, "1\n")
	r := NewRunner(table, []Kind{fakeKind("slow", []string{"/"}, func(_ *source, ctx context.Context, to Registry) error {
		time.Sleep(50 * time.Millisecond)
		must(t, to.Sync("", []Container{container(id, "web", group)}))
		<-ctx.Done()
		return ctx.Err()
	})}, slog.New(slog.DiscardHandler))
	runFor(t, r, nil)
	want(t, r.Await(context.Background(), time.Minute), []string(nil))
	count, _ := r.Unidentified()
	want(t, count, 0)
	r.Sweep()
	count, _ = r.Unidentified()
	want(t, count, 0)
}

// TestSweep has a container that is being created while it is looked, of which nobody may say that it is
// unidentified, and one of which nobody tells.
func TestSweep(t *testing.T) {
	t.Parallel()
	table, _, h := newTable(t)
	r := NewRunner(table, nil, slog.New(slog.DiscardHandler))
	group := func(n string) string { return "/docker-" + strings.Repeat(n, 64) + ".scope" }
	unidentified := func() []string {
		r.Sweep()
		_, some := r.Unidentified()
		return some
	}
	h.populate(group("1"), "1\n")
	want(t, unidentified(), []string{group("1")}) // the first time at once
	h.populate(group("2"), "2\n")
	go func() {
		time.Sleep(createTime / 4)
		if err := table.Start("x", container(strings.Repeat("2", 64), "two", group("2"))); err != nil {
			t.Error(err)
		}
	}()
	want(t, unidentified(), []string{group("1")})
	h.populate(group("3"), "3\n")
	want(t, unidentified(), []string{group("1"), group("3")})
}

func TestSpec(t *testing.T) {
	kinds := []Kind{{Name: "docker", Usage: "of Docker", Key: "socket", Places: []string{"/run/docker.sock"}}, {Name: "machines", Key: "directory", Places: []string{"/a", "/b"}}}
	for text, s := range map[string]Spec{
		"": {Type: "docker"}, `unknown source of containers "dokcer"; did you mean docker?`: {Type: "dokcer"},
		`directory "a" is not absolute; write the whole path`: {Type: "machines", Place: "a"},
	} {
		got := ""
		if err := s.Check(kinds); err != nil {
			got = err.Error()
		}
		want(t, got, text)
	}
	if help := Help(kinds); !strings.Contains(help, "docker          of Docker\n    socket        default /run/docker.sock\n") || !strings.Contains(help, "directory     default /a or /b") {
		t.Error(help)
	}
}
