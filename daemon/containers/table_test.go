package containers

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// guard notes what it is told.
type guard struct {
	mu     sync.Mutex
	groups map[uint64]policy.Container
	passes int
	// begins, if set, is called at the begin of a pass; fails is what AddContainer returns.
	begins func()
	fails  error
}

func (g *guard) AddContainer(cgroup uint64, c policy.Container) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fails != nil {
		return g.fails
	}
	// It has one group.
	maps.DeleteFunc(g.groups, func(_ uint64, other policy.Container) bool { return other.ID == c.ID })
	g.groups[cgroup] = c
	return nil
}

func (g *guard) RemoveContainer(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.groups, func(_ uint64, c policy.Container) bool { return c.ID == id })
	return nil
}

func (g *guard) LabelContainers() (int, error) {
	if g.begins != nil {
		g.begins()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.passes++
	return 0, nil
}

func (g *guard) Containers() []policy.Container {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.groups))
}

// told returns what the guard knows, as id@group:name:labels.
func (g *guard) told() string {
	var all []string
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.groups {
		all = append(all, c.ID+"="+c.Name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// hierarchy is a folder in place of the control groups, which have inode numbers just as well.
type hierarchy struct {
	t   *testing.T
	dir string
}

func newHierarchy(t *testing.T) hierarchy { return hierarchy{t, t.TempDir()} }

func (h hierarchy) mkdir(name string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Join(h.dir, name), 0o755); err != nil {
		h.t.Fatal(err)
	}
}

// populate puts processes into a group.
func (h hierarchy) populate(name, pids string) {
	h.t.Helper()
	h.mkdir(name)
	if err := os.WriteFile(filepath.Join(h.dir, name, "cgroup.procs"), []byte(pids), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h hierarchy) rmdir(name string) {
	h.t.Helper()
	// Another folder must not get the inode number at once, as it does on ext4.
	if err := os.Rename(filepath.Join(h.dir, name), filepath.Join(h.t.TempDir(), "gone")); err != nil {
		h.t.Fatal(err)
	}
}

func newTable(t *testing.T) (*Table, *guard, hierarchy) {
	g, h := &guard{groups: map[uint64]policy.Container{}}, newHierarchy(t)
	return NewTable(g, Options{Cgroups: h.dir}), g, h
}

func container(id, name, cgroup string) Container {
	return Container{Container: policy.Container{ID: id, Name: name}, Cgroup: cgroup}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestStartAndStop(t *testing.T) {
	table, g, h := newTable(t)
	h.mkdir("/a")
	h.mkdir("/b")
	must(t, table.Start("x", container("1", "one", "/a")))
	must(t, table.Start("x", container("2", "two", "b/")))
	want(t, g.told(), "1=one 2=two")
	if _, id, err := table.group("/a"); err != nil || g.groups[id].ID != "1" {
		t.Errorf("the group's id is %d, %v; the guard has %v", id, err, g.groups)
	}
	table.Stop("x", "1")
	table.Stop("x", "1")
	table.Stop("x", "none")
	want(t, g.told(), "2=two")
	want(t, g.passes, 0) // none was running
}

func TestStartRefuses(t *testing.T) {
	table, g, h := newTable(t)
	h.mkdir("/a")
	for _, c := range []struct {
		Container
		want string
	}{
		{container("1", "one", "/none"), "container one: its control group: stat"},
		{container("1", "", ""), "container 1: its control group is not known"},
		{container("1", "one", "/.."), "the root of all"},
		{container("1", "one", "/a/../../"), "the root of all"},
		{container("", "one", "/a"), "its id \"\" is none"},
		{container("1 2", "one", "/a"), "its id \"1 2\" is none"},
		{container("1", strings.Repeat("x", maxDescription), "/a"), "more than 65536; give it fewer labels"},
	} {
		if err := table.Start("x", c.Container); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %s", err, c.want)
		}
	}
	g.fails = errors.New("the map is full")
	err := table.Start("x", container("3", "three", "/a"))
	if !errors.Is(err, g.fails) || err.Error() != "container three: the map is full" {
		t.Error(err)
	}
	want(t, len(table.Known()), 0)
	want(t, len(table.Failures()), 4) // one for each id
	g.fails = nil
	must(t, table.Start("x", container("3", "three", "/a")))
	table.Stop("x", "1")
	for _, err := range table.Failures() {
		if strings.Contains(err.Error(), "three") || strings.Contains(err.Error(), "container 1:") {
			t.Errorf("it is solved: %v", err)
		}
	}
}

// TestSources has several that tell of one container.
func TestSources(t *testing.T) {
	table, g, h := newTable(t)
	h.mkdir("/a")
	rich := container("1", "web", "/a")
	rich.Image, rich.ImageDigest, rich.Labels, rich.Runtime = "nginx", "sha256:1", map[string]string{"app": "web", "x": "rich"}, "docker"
	poor := container("1", "k8s_web", "/a")
	poor.Runtime, poor.Labels = "containerd", map[string]string{"x": "poor", "y": "poor"}
	poor.Pod = nil
	for _, order := range [][]string{{"rich", "poor"}, {"poor", "rich"}} {
		for _, name := range order {
			must(t, table.Start(name, map[string]Container{"rich": rich, "poor": poor}[name]))
		}
		merged := rich.Container
		merged.Labels = map[string]string{"app": "web", "x": "rich", "y": "poor"}
		want(t, g.Containers(), []policy.Container{merged})
		want(t, table.Known()[0].Sources, []string{"poor", "rich"})

		table.Stop("rich", "1")
		want(t, g.Containers(), []policy.Container{merged}) // the other one has it still, and what was told is true still
		table.Stop("poor", "1")
		want(t, g.told(), "")
	}
	// A new name replaces the former one.
	must(t, table.Start("rich", rich))
	rich.Name = "renamed"
	must(t, table.Start("rich", rich))
	want(t, g.told(), "1=renamed")
	// Also where another source tells as much, and knows the former one still.
	for _, name := range []string{"a", "z"} {
		must(t, table.Start(name, rich))
	}
	again := rich
	again.Name = "again"
	must(t, table.Start("m", again))
	must(t, table.Start("a", rich))
	want(t, g.told(), "1=again")
	for _, name := range []string{"a", "m", "z"} {
		table.Stop(name, "1")
	}
	// It is gone, whoever has it.
	must(t, table.Start("poor", poor))
	h.rmdir("/a")
	table.Stop("rich", "1")
	want(t, g.told(), "")
}

func TestSync(t *testing.T) {
	table, g, h := newTable(t)
	for _, name := range []string{"/a", "/b", "/c"} {
		h.mkdir(name)
	}
	running := func(c Container) Container { c.Running = true; return c }
	if table.Synced("x") {
		t.Error("it has not told yet")
	}
	must(t, table.Start("x", container("1", "one", "/a")))
	must(t, table.Start("y", container("2", "two", "/b")))
	must(t, table.Sync("x", []Container{running(container("2", "two", "/b")), running(container("3", "three", "/c")), running(container("4", "four", "/gone"))}))
	want(t, g.told(), "2=two 3=three") // one has ended
	want(t, g.passes, 1)
	want(t, table.Synced("x"), true)
	want(t, len(table.Failures()), 1) // it may have ended since; or this is not the right hierarchy
	table.Stop("x", "4")
	want(t, len(table.Failures()), 0)
	must(t, table.Sync("x", nil))
	want(t, g.told(), "2=two") // that is y's
	// What is known is not looked for again.
	must(t, table.Sync("y", []Container{running(container("2", "two", "/b"))}))
	want(t, g.passes, 1)
}

// TestRestart starts a container again and again: each time it has a new group.
func TestRestart(t *testing.T) {
	table, g, h := newTable(t)
	for range 3*maxGroups + 1 {
		h.mkdir("/a")
		must(t, table.Start("x", container("1", "one", "/a")))
		_, id, err := table.group("/a")
		if _, ok := g.groups[id]; err != nil || !ok || len(g.groups) != 1 {
			t.Fatalf("%v: the guard has %v, not %d", err, g.groups, id)
		}
		h.rmdir("/a")
	}
	h.mkdir("/a")
	must(t, table.Start("x", container("1", "one", "/a")))
	want(t, table.Known()[0].Cgroups, []string{"/a"})
	table.Sweep()
	want(t, g.told(), "1=one")
	h.rmdir("/a")
	table.Sweep()
	want(t, g.told(), "")
	want(t, len(table.groups)+len(table.paths)+len(table.known), 0)
}

// TestGroups has sources that name different groups of a container.
func TestGroups(t *testing.T) {
	table, g, h := newTable(t)
	chosen := func(name string) {
		t.Helper()
		_, id, err := table.group(name)
		if _, ok := g.groups[id]; err != nil || !ok || len(g.groups) != 1 {
			t.Errorf("%v: the guard has %v, not %s", err, g.groups, name)
		}
	}
	for _, name := range []string{"/a/b/c", "/other", "/last"} {
		h.mkdir(name)
	}
	must(t, table.Start("x", container("1", "one", "/a/b/c")))
	chosen("/a/b/c")
	must(t, table.Start("y", container("1", "one", "/a")))
	chosen("/a")
	must(t, table.Start("z", container("1", "one", "/a/b"))) // that is in it
	chosen("/a")
	must(t, table.Start("w", container("1", "one", "/other")))
	chosen("/other")
	must(t, table.Start("y", container("1", "one", "/a"))) // that is known
	chosen("/other")
	h.rmdir("/other")
	must(t, table.Start("w", container("1", "one", "/last")))
	chosen("/last")
	want(t, table.Known()[0].Cgroups, []string{"/a", "/a/b", "/a/b/c", "/last"})
	var err error
	for i := range maxGroups {
		h.mkdir(fmt.Sprint("/", i))
		err = errors.Join(err, table.Start("x", container("1", "one", fmt.Sprint("/", i))))
	}
	if err == nil || !strings.Contains(err.Error(), "it has 9 control groups") {
		t.Error(err)
	}
}

// TestNews expects a pass for what runs already when something about it is new, and none else.
func TestNews(t *testing.T) {
	table, g, h := newTable(t)
	h.mkdir("/a")
	passes := func(n int) {
		t.Helper()
		await(t, "the passes", func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.passes >= n
		})
		want(t, g.passes, n)
	}
	c := container("1", "one", "/a")
	must(t, table.Start("x", c))
	must(t, table.Start("x", c))
	passes(0)
	c.Name = "renamed"
	must(t, table.Start("x", c)) // does not wait
	passes(1)
	c.Running, c.Name = true, "again"
	must(t, table.Start("x", c))
	passes(2)
	must(t, table.Start("x", c))
	passes(2)
	// The guard lost it: it is told again.
	g.fails = errors.New("no")
	c.Name = "lost"
	if err := table.Start("x", c); err == nil {
		t.Error("no error")
	}
	g.fails, g.groups = nil, map[uint64]policy.Container{}
	must(t, table.Start("x", c))
	want(t, g.told(), "1=lost")
	passes(3)
}

// TestAdopt has a guard that knows containers from a former daemon.
func TestAdopt(t *testing.T) {
	table, g, h := newTable(t)
	long := strings.Repeat("0123456789abcdef", 4)
	for i, id := range []string{"known", "hooked", "my-box", long, "gone", "box"} {
		g.groups[uint64(i+1)] = policy.Container{ID: id, Name: id[:3]}
	}
	for _, name := range []string{"/known", "/custom/hooked", "/system.slice/runc-my-box.scope", "/a.slice/b:runc:" + long + "/x"} {
		h.mkdir(name)
	}
	must(t, table.Start("x", container("known", "kno", "/known")))
	table.Adopt()
	want(t, g.told(), long+"=012 hooked=hoo known=kno my-box=my-")
	in, _ := table.In("/a.slice/b:runc:" + long + "/x")
	want(t, len(in), 1)
	h.rmdir("/custom/hooked")
	table.Sweep()
	table.Adopt()
	want(t, g.told(), long+"=012 known=kno my-box=my-")
}

// TestOneGroupTwice has a group that two containers claim.
func TestOneGroupTwice(t *testing.T) {
	table, g, h := newTable(t)
	h.mkdir("/a")
	must(t, table.Start("x", container("1", "one", "/a")))
	must(t, table.Start("x", container("2", "two", "/a")))
	want(t, g.told(), "2=two")
	table.Stop("x", "1")
	want(t, g.told(), "2=two")
	table.Stop("x", "2")
	want(t, len(table.groups)+len(table.paths)+len(table.known), 0)
}

func TestIn(t *testing.T) {
	table, _, h := newTable(t)
	h.mkdir("/outer/x/inner/y")
	must(t, table.Start("x", container("1", "outer", "/outer")))
	must(t, table.Start("x", container("2", "inner", "/outer/x/inner")))
	id := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		cgroup       string
		want         []string
		unidentified bool
	}{
		{"/", nil, false},
		{"/system.slice/ssh.service", nil, false},
		{"/outer", []string{"outer"}, false},
		{"/outer/x", []string{"outer"}, false},
		{"/outer/x/inner/y/z", []string{"outer", "inner"}, false},
		{"/outer/docker-" + id + ".scope", []string{"outer"}, false},
		{"/system.slice/docker-" + id + ".scope/init", nil, true},
		{"/machine.slice/libpod-" + id + ".scope/container", nil, true},
		{"/machine.slice/libpod-conmon-" + id + ".scope", nil, false},
		{"/lxc.payload.web/init.scope", nil, true},
		{"/machine.slice/systemd-nspawn@web.service/payload", nil, true},
		{"/machine.slice/machine-web.scope/payload", nil, true},
		{"/kubepods.slice/kubepods-burstable.slice", nil, true},
		{"/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", nil, false},
		{"/machine.slice/machine-libpod_pod_" + id + ".slice/libpod-conmon-" + id + ".scope", nil, false},
		{"/machine.slice/machine-libpod_pod_" + id + ".slice/libpod-" + id + ".scope", nil, true},
	} {
		var names []string
		in, unidentified := table.In(c.cgroup)
		for _, c := range in {
			names = append(names, c.Name)
		}
		if !slices.Equal(names, c.want) || unidentified != c.unidentified {
			t.Errorf("%s: %v, unidentified %v", c.cgroup, names, unidentified)
		}
	}
}

// TestGroupNames compares the names that the sweep takes for containers with those that the kernel does.
func TestGroupNames(t *testing.T) {
	t.Parallel()
	for name, contained := range policytest.GroupNames {
		if root := containerRoot("/" + name); (root != "") != contained {
			t.Errorf("%s: the sweep finds %q, to the kernel it is a container: %v", name, root, contained)
		}
	}
}

func TestUnidentified(t *testing.T) {
	table, _, h := newTable(t)
	id := func(n int) string { return fmt.Sprintf("%064x", n) }
	scope := func(n int) string { return "/system.slice/docker-" + id(n) + ".scope" }
	pod := "/kubepods.slice/kubepods-pod1.slice/"
	h.populate("/system.slice/ssh.service", "1\n")
	h.populate("/machine.slice/libpod-conmon-"+id(9)+".scope", "2\n")
	h.populate(scope(1)+"/inner", "3\n")
	h.populate(scope(1)+"/other", "4\n")
	h.populate(scope(2), "") // nothing runs in it
	h.populate(scope(3), "5\n")
	h.populate("/machine.slice/libpod-"+id(4)+".scope/container", "6\n")
	h.populate("/machine.slice/libpod-"+id(4)+".scope", "")
	h.populate(pod+"cri-containerd-"+id(5)+".scope", "7\n")
	h.populate(pod+"cri-containerd-"+id(6)+".scope", "8\n")
	h.populate(pod+"strange", "9\n")
	must(t, table.Start("x", container(id(3), "three", scope(3))))
	must(t, table.Start("x", container(id(4), "four", "/machine.slice/libpod-"+id(4)+".scope/container")))
	must(t, table.Start("x", container(id(5), "five", pod+"cri-containerd-"+id(5)+".scope")))
	some := table.Unidentified()
	want(t, some, []string{pod + "cri-containerd-" + id(6) + ".scope", pod + "strange", scope(1)})
	for i, name := range some {
		must(t, table.Start("x", container(fmt.Sprint(i), "c", name)))
	}
	want(t, table.Unidentified(), []string(nil))
}

// TestPasses has many ask for a pass while one is under way: they share the next one.
func TestPasses(t *testing.T) {
	table, g, h := newTable(t)
	begun, go1 := make(chan struct{}), make(chan struct{})
	first := true
	g.begins = func() { // called by one pass at a time
		if first {
			first = false
			close(begun)
			<-go1
		}
	}
	h.mkdir("/0")
	var tasks sync.WaitGroup
	start := func(i int) {
		c := container(fmt.Sprint(i), "c", fmt.Sprint("/", i))
		c.Running = true
		h.mkdir(c.Cgroup)
		tasks.Go(func() {
			if err := table.Start("x", c); err != nil {
				t.Error(err)
			}
		})
	}
	start(0)
	<-begun
	for i := range 50 {
		start(i + 1)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if n, _ := table.Count(); n == 51 {
			break
		}
	}
	// Another container can start meanwhile, without waiting.
	h.mkdir("/now")
	must(t, table.Start("x", container("now", "now", "/now")))
	close(go1)
	tasks.Wait()
	if g.passes < 2 || g.passes > 3 {
		t.Errorf("%d passes", g.passes)
	}
}

func TestBounds(t *testing.T) {
	table, _, h := newTable(t)
	h.mkdir("/a")
	for i := range maxContainers {
		table.known[fmt.Sprint("c", i)] = &entry{}
	}
	if err := table.Start("x", container("1", "one", "/a")); err == nil || !strings.Contains(err.Error(), "32768 containers are known") {
		t.Error(err)
	}
	for i := range 2 * maxFailures {
		if err := table.Start("x", container(fmt.Sprint("f", i), "", "/none")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	want(t, len(table.Failures()), maxFailures)
}

// BenchmarkStart is what a start costs while many containers run.
func BenchmarkStart(b *testing.B) {
	g := &guard{groups: map[uint64]policy.Container{}}
	table := NewTable(g, Options{Cgroups: b.TempDir()})
	for i := range 10_000 {
		name := fmt.Sprint("/", i)
		if err := os.Mkdir(table.options.Cgroups+name, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := table.Start("x", container(name, "c", name)); err != nil {
			b.Fatal(err)
		}
	}
	i := 0
	for b.Loop() {
		name := fmt.Sprint("/", i%10_000)
		i++
		c := container(name, fmt.Sprint("c", i), name)
		if err := table.Start("x", c); err != nil {
			b.Fatal(err)
		}
	}
}
