package coverage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Root is where all runs take place: a tmpfs of its own, since the guest's others forbid set-user-ID programs.
const Root = "/run/coverage"

// Outcome is how a way went under a policy.
type Outcome string

// The outcomes.
const (
	Refused    Outcome = "refused"
	NotOffered Outcome = "not offered"
	NotCovered Outcome = "not covered"
	// Passed means that the effect was reached and no reason is documented.
	Passed Outcome = "passed"
	// Failed means that the way, its bystander or its setup went wrong, which proves nothing.
	Failed Outcome = "failed"
	// Control means that the way's control run succeeded.
	Control Outcome = "control"
)

// Result is one cell of the table.
type Result struct {
	Kernel      string
	Operation   Operation
	ID          string
	Description string
	Outcome     Outcome
	Why         string `json:",omitempty"`
}

// Prefix starts each line of output that carries a Result in JSON.
const Prefix = "coverage: "

// Print writes a result where the command table finds it: on a line of its own in the test's output.
func (r Result) Print(w io.Writer) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", Prefix, raw)
	return err
}

// Options select what is run.
type Options struct {
	// Kernel is the name of the kernel in the table of internal/vmtest.
	Kernel string
	// Match selects rows; nil selects all.
	Match *regexp.Regexp
}

// runner holds what is the same for all ways of a run.
type runner struct {
	t               testing.TB
	o               Options
	actor, outsider string
	features        features
	disk            string
}

// Controls runs every way without a policy, and its bystander. It fails the test for each way that neither succeeds
// nor is missing from this kernel.
func Controls(t testing.TB, o Options) []Result {
	t.Helper()
	r := newRunner(t, o)
	defer r.close()
	var results []Result
	for _, g := range r.groups() {
		results = append(results, r.run(g, nil)...)
	}
	return results
}

// Run runs every way without a policy, and then under its policy. apply puts a policy set of one YAML document in force before
// it returns; release lifts it again. The results say how each way went under the policy. The test fails for
// each way that passes without a documented reason, and for each whose control, bystander or setup fails.
func Run(t testing.TB, o Options, apply func(yaml string) (release func(), err error)) []Result {
	t.Helper()
	r := newRunner(t, o)
	defer r.close()
	var results []Result
	for _, g := range r.groups() {
		// A way without a control proves nothing.
		var sound []Way
		for i, result := range r.run(g, nil) {
			if result.Outcome == Failed {
				results = append(results, result)
			} else {
				sound = append(sound, g.ways[i])
			}
		}
		g.ways = sound
		results = append(results, r.run(g, apply)...)
	}
	return results
}

func newRunner(t testing.TB, o Options) *runner {
	t.Helper()
	r := &runner{t: t, o: o, actor: Root + "/actor", outsider: Root + "/outsider"}
	if err := os.MkdirAll(Root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("coverage", Root, "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatal("mount the ways' file system:", err)
	}
	fatal := func(args ...any) {
		t.Helper()
		r.close()
		t.Fatal(args...)
	}
	// Each way's mounts are its own business, but an event that reached a peer group would be everyone's.
	if err := unix.Mount("", Root, "", unix.MS_PRIVATE, ""); err != nil {
		fatal(err)
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		fatal(err)
	}
	// Two files, since a hard link would be the same program.
	for _, path := range []string{r.actor, r.outsider} {
		if err := os.WriteFile(path, program, 0o755); err != nil {
			fatal(err)
		}
	}
	// Ways that have given up their rights still have to get at their directories.
	unix.Umask(0o022)
	if r.features.missing("ext4") == "" {
		if r.disk, err = mountDisk(Root); err != nil {
			fatal("make the ext4 file system:", err)
		}
	}
	return r
}

func (r *runner) close() {
	if r.disk != "" {
		detachDisk(Root)
	}
	unmountBelow([]string{Root})
}

// group is the ways that run under one policy.
type group struct {
	policy int
	ways   []Way
}

func (r *runner) groups() []group {
	groups := make([]group, len(policies))
	for _, w := range Ways() {
		if r.o.Match != nil && !r.o.Match.MatchString(w.Row()) {
			continue
		}
		i := groupOf(w)
		if i < 0 {
			r.t.Fatalf("%s: no policy has the object %q", w.Row(), w.Object)
		}
		groups[i].policy = i
		groups[i].ways = append(groups[i].ways, w)
	}
	return slices.DeleteFunc(groups, func(g group) bool { return len(g.ways) == 0 })
}

// trial is one way with its two environments.
type trial struct {
	way       Way
	index     int
	missing   string
	protected *Env
	free      *Env
	// broken is why the trial cannot be made.
	broken error
}

// run sets all ways of a group up, applies the policy, then lets the actors act: the objects are there before the
// policy, as they are on a real system.
func (r *runner) run(g group, apply func(string) (func(), error)) []Result {
	name := "control"
	if apply != nil {
		name = "policy"
	}
	base := fmt.Sprintf("%s-%d", name, g.policy)
	begin := time.Now()
	var trials []*trial
	for i, w := range g.ways {
		trials = append(trials, r.prepare(w, i, base))
	}
	var results []Result
	release := func() {}
	if apply != nil {
		var err error
		text := expand(policies[g.policy].text, r.actor, func(object string) []string {
			var dirs []string
			for _, tr := range trials {
				if tr.way.Object == object && tr.missing == "" {
					dirs = append(dirs, tr.protected.Dir, tr.free.Dir)
				}
			}
			return dirs
		})
		if release, err = apply(text); err != nil {
			r.t.Errorf("apply the policy: %v\n%s", err, text)
			release = func() {}
			for _, tr := range trials {
				tr.broken = fmt.Errorf("the policy did not apply: %w", err)
			}
		}
	}
	var environments []*Env
	for _, tr := range trials {
		for _, e := range []*Env{tr.protected, tr.free} {
			if e != nil {
				environments = append(environments, e)
			}
		}
	}
	act := newActor(r.actor, environments...)
	ready := time.Now()
	outsiders := make(map[string]bool)
	for _, tr := range trials {
		result := Result{Kernel: r.o.Kernel, Operation: tr.way.Operation, ID: tr.way.ID, Description: tr.way.Description}
		start := time.Now()
		result.Outcome, result.Why = r.judge(tr, act, apply != nil)
		// The policy concerns the actor only: another program does the same unhindered, once for each rule.
		if result.Outcome == Refused && !outsiders[tr.way.Object] && tr.way.Cleanup == nil {
			outsiders[tr.way.Object] = true
			if err := r.asOutsider(tr, base); err != nil {
				result.Outcome, result.Why = Failed, "another program, which no policy concerns: "+err.Error()
			}
		}
		if result.Outcome == Failed || result.Outcome == Passed {
			r.t.Errorf("%s: %s: %s", tr.way.Row(), result.Outcome, result.Why)
		}
		if took := time.Since(start); took > 2*time.Second {
			r.t.Logf("%s took %v", tr.way.Row(), took.Round(time.Millisecond))
		}
		results = append(results, result)
	}
	act.stop()
	r.t.Logf("%s %d: %d ways set up in %v, run in %v by %d processes", name, g.policy, len(trials), ready.Sub(begin).Round(time.Millisecond),
		time.Since(ready).Round(time.Millisecond), act.started)
	release()
	done := time.Now()
	r.finish(trials...)
	r.t.Logf("%s %d: undone in %v", name, g.policy, time.Since(done).Round(time.Millisecond))
	return results
}

// prepare makes a way's directories and sets it up, for the protected and for the unprotected object.
func (r *runner) prepare(w Way, index int, base string) *trial {
	tr := &trial{way: w, index: index}
	for _, need := range w.Needs {
		if tr.missing = r.features.missing(need); tr.missing != "" {
			return tr
		}
	}
	if w.Disk {
		if tr.missing = r.features.missing("ext4"); tr.missing != "" {
			return tr
		}
	}
	var err error
	if tr.protected, err = r.setup(w, index, base+"/p", true); err != nil {
		tr.broken = err
	}
	if tr.free, err = r.setup(w, index, base+"/f", false); err != nil {
		tr.broken = errors.Join(tr.broken, err)
	}
	return tr
}

func (r *runner) setup(w Way, index int, base string, protected bool) (e *Env, err error) {
	top := Root
	if w.Disk {
		top = r.disk
	}
	e = &Env{
		Row: w.Row(), Dir: filepath.Join(top, base, w.ID), Protected: protected, Index: index, Parent: os.Getpid(),
		Values: make(map[string]string), object: w.Object,
	}
	defer func() {
		if p, ok := recover().(stepError); ok {
			err = fmt.Errorf("set it up: %w%s", p.err, caller())
		}
	}()
	if err := os.MkdirAll(e.Dir, 0o755); err != nil {
		return e, err
	}
	if f := setups[w.Operation]; f != nil {
		if err := f(e); err != nil {
			return e, fmt.Errorf("set up %s: %w", w.Operation, err)
		}
	}
	if w.Setup != nil {
		if err := w.Setup(e); err != nil {
			return e, fmt.Errorf("set it up: %w", err)
		}
	}
	return e, nil
}

// finish undoes trials, all together: there may be hundreds of mounts, and to list them for each trial took a third
// of the time.
func (r *runner) finish(trials ...*trial) {
	var dirs []string
	for _, tr := range trials {
		for _, e := range []*Env{tr.protected, tr.free} {
			if e == nil {
				continue
			}
			if tr.way.Cleanup != nil {
				tr.way.Cleanup(e)
			}
			e.close()
			dirs = append(dirs, e.Dir)
		}
	}
	unmountBelow(dirs)
	for _, dir := range dirs {
		if err := os.RemoveAll(dir); err != nil {
			r.t.Errorf("%s: clean up: %v", dir, err)
		}
	}
}

func (r *runner) do(w Way, e *Env, act *actor) (report, error) {
	if w.Meanwhile != nil {
		if err := guarded(func() error { return w.Meanwhile(e) }); err != nil {
			return report{}, fmt.Errorf("meanwhile: %w", err)
		}
	}
	if w.Spoils {
		defer act.stop()
	}
	return act.do(e)
}

// guarded turns the panics of must into errors.
func guarded(f func() error) (err error) {
	defer func() {
		if p, ok := recover().(stepError); ok {
			err = fmt.Errorf("%w%s", p.err, caller())
		}
	}()
	return f()
}

// asOutsider runs a way as a program that no policy names, on an object of its own with a protected name.
func (r *runner) asOutsider(tr *trial, base string) error {
	r.finish(tr)
	// At ports of its own: the actor may hold those of the way still.
	const outsiderIndex = 500
	e, err := r.setup(tr.way, tr.index+outsiderIndex, base+"/p", true)
	if err != nil {
		return err
	}
	tr.protected, tr.free = e, nil
	act := newActor(r.outsider, e)
	defer act.stop()
	rep, err := r.do(tr.way, e, act)
	if err != nil {
		return err
	}
	if rep.Errno != 0 {
		return rep
	}
	return nil
}

// unmountBelow detaches every mount below directories, and at them, in this process's namespace, the last one first.
func unmountBelow(dirs []string) {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	ours := make(map[string]bool, len(dirs))
	for _, dir := range dirs {
		ours[dir] = true
	}
	for _, line := range slices.Backward(strings.Split(string(raw), "\n")) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		for dir := fields[4]; len(dir) > 1; dir = filepath.Dir(dir) {
			if ours[dir] {
				_ = unix.Unmount(fields[4], unix.MNT_DETACH)
				break
			}
		}
	}
}
