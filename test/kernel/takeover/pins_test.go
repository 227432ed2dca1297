//go:build vm

package takeover

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "unsafe" // for go:linkname

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

const pinPath = "/sys/fs/bpf/ebpfguard"

// pinnedOptions are those of every manager here.
func pinnedOptions() ebpfguard.Options {
	return ebpfguard.Options{PinPath: pinPath, AutoAttach: true, AllowGaps: true, AlertBytes: 1 << 20}
}

// order is what a pinned manager in a process of its own is told.
type order struct {
	Set []policy.Policy
	// Replace, if there is one, is what forbids the same in many sets, which are applied
	// one after the other until the process is killed.
	Replace *policy.Policy
	// Build and Layout make it another version.
	Build, Layout string
}

// registerOrders lets both sides know what patterns can be.
func registerOrders() {
	for _, p := range []policy.Pattern{policy.FilePattern{}, policy.ProgramPattern{}, policy.MountPattern{}, policy.CredentialsPattern{}, policy.SocketPattern{}} {
		gob.Register(p)
	}
}

// The variables that the linker sets in another version (internal/bpf).
//
//go:linkname buildSalt github.com/ebpfguard/ebpfguard/internal/bpf.buildSalt
var buildSalt string

//go:linkname layout github.com/ebpfguard/ebpfguard/internal/bpf.layout
var layout string

// managePinned enforces, says what it took over, and waits to be killed.
func managePinned() {
	var o order
	registerOrders()
	if err := gob.NewDecoder(os.Stdin).Decode(&o); err != nil {
		fmt.Println("error", err)
		return
	}
	buildSalt = o.Build
	if o.Layout != "" {
		layout = o.Layout
	}
	m, err := ebpfguard.NewManager(pinnedOptions())
	if err != nil {
		fmt.Println("error", err)
		return
	}
	former, _ := m.Takeover()
	if o.Set != nil {
		if _, err := m.Apply(o.Set); err != nil {
			fmt.Println("error", err)
			return
		}
	}
	fmt.Println("ready", former.Revision, len(former.Policies), former.Renewed, former.Migrated)
	for i := 0; o.Replace != nil; i++ {
		if _, err := m.Apply(guardtest.Replacement(*o.Replace, i)); err != nil {
			fmt.Println("error", err)
			return
		}
	}
	for { // an empty select is a deadlock to Go's runtime
		time.Sleep(time.Hour)
	}
}

// pinnedManager is a manager in a process of its own.
type pinnedManager struct {
	command *exec.Cmd
	out     *bufio.Reader
}

// startPinned starts one and returns what it said when it enforced.
func startPinned(t *testing.T, o order) (*pinnedManager, string) {
	t.Helper()
	p, line := tryPinned(t, o)
	if !strings.HasPrefix(line, "ready") {
		p.kill(t)
		t.Fatalf("the manager said %q", line)
	}
	return p, line
}

// tryPinned starts one and returns what it said first.
func tryPinned(t *testing.T, o order) (*pinnedManager, string) {
	t.Helper()
	registerOrders()
	p := &pinnedManager{command: guardtest.Self("pinned")}
	in, err := p.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(gob.NewEncoder(in).Encode(o), in.Close()); err != nil {
		t.Fatal(err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the manager said %q, %v", line, err)
	}
	return p, strings.TrimSpace(line)
}

// kill kills it and fails if it said that anything went wrong.
func (p *pinnedManager) kill(t *testing.T) {
	t.Helper()
	p.command.Process.Kill()
	rest, err := io.ReadAll(p.out)
	p.command.Wait()
	if len(rest) > 0 || err != nil {
		t.Errorf("the manager said %q, %v", rest, err)
	}
}

// cleanPins removes what a failed test left.
func cleanPins(t *testing.T) {
	t.Cleanup(func() {
		if _, err := ebpfguard.RemovePins(pinPath, true); err != nil {
			t.Error(err)
		}
	})
}

func nobodyBinds(name string, ports ...uint16) policy.Policy {
	return policy.Policy{Name: name, Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{
		{Operation: policy.SocketBind, Deny: []policy.Pattern{portsOf(ports...)}, Message: "nobody binds"},
	}}
}

func portsOf(list ...uint16) policy.Pattern {
	var p policy.SocketPattern
	for _, port := range list {
		p.Ports = append(p.Ports, policy.PortRange{First: port, Last: port})
	}
	return p
}

// TestPinned kills the manager: what it enforced goes on, for processes that are
// started later as well, and the next one takes it over with the alerts.
func TestPinned(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	cleanPins(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	named := policy.Policy{Name: "by-name", Subject: policy.Subject{Binaries: []string{guardtest.CopyProgram(t, filepath.Join(t.TempDir(), "named"))}}, Rules: []policy.Rule{
		{Operation: policy.SocketBind, Deny: []policy.Pattern{portsOf(2024)}},
	}}
	set := []policy.Policy{nobodyBinds("everyone", 2022), named}
	killed, _ := startPinned(t, order{Set: set})
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); !r.Refused() {
		t.Errorf("while it lives: %v", r)
	}
	if info, err := os.Stat(pinPath); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the pins have mode %v, %v", info.Mode(), err)
	}
	if _, err := ebpfguard.NewManager(pinnedOptions()); !errors.Is(err, ebpfguard.ErrPinsInUse) {
		t.Errorf("a second manager: %v", err)
	}
	killed.kill(t)
	for range 3 {
		if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); !r.Refused() {
			t.Errorf("after it was killed: %v", r)
		}
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2023)); r.Errno != 0 {
		t.Errorf("what is allowed, after it was killed: %v", r)
	}
	late := guardtest.StartActor(t, named.Subject.Binaries[0])
	if r := late.Do(guardtest.TCP(guardtest.Lo4, 2024)); !r.Refused() {
		t.Errorf("a program that was started after: %v", r)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2024)); r.Errno != 0 {
		t.Errorf("another program: %v", r)
	}

	m, err := ebpfguard.NewManager(pinnedOptions())
	if err != nil {
		t.Fatal(err)
	}
	former, ok := m.Takeover()
	if !ok || former.Revision == 0 || former.Renewed || former.Migrated || former.Lost != 0 {
		t.Errorf("took over %+v, %v", former, ok)
	}
	if names := policyNames(former.Policies); !slices.Equal(names, []string{"everyone", "by-name"}) {
		t.Errorf("took over the policies %v", names)
	}
	stats, err := m.Stats(policy.SocketBind)
	if err != nil || stats.Denied != 5 || stats.AlertsLost != 0 {
		t.Errorf("taken over: %+v, %v", stats, err)
	}
	rules, err := m.RuleStats()
	if err != nil || len(rules) != 2 || rules[0].Hits != 4 || rules[1].Hits != 1 {
		t.Errorf("taken over: %+v, %v", rules, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), guardtest.Patience)
	defer cancel()
	var policies []string
	for alert, err := range m.Alerts(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, alert.Context().Policy)
		if len(policies) == 5 {
			break
		}
	}
	if !slices.Equal(policies, []string{"everyone", "everyone", "everyone", "everyone", "by-name"}) {
		t.Errorf("alerts of the policies %v", policies)
	}
	changes, err := m.Apply([]policy.Policy{set[0], nobodyBinds("more", 2023)})
	if err != nil || changes.Revision <= former.Revision || !slices.Equal(changes.Added, []string{"more"}) || !slices.Equal(changes.Removed, []string{"by-name"}) || changes.Changed != nil {
		t.Errorf("changes %+v, %v", changes, err)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2023)); !r.Refused() {
		t.Errorf("what the new set forbids: %v", r)
	}
	if rules, err := m.RuleStats(); err != nil || len(rules) != 2 || rules[0].Hits != 4 || rules[1].Hits != 1 {
		t.Errorf("after another set: %+v, %v", rules, err)
	}
	m.Sequence().Store(17)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2023)); !r.Refused() {
		t.Errorf("after it was closed: %v", r)
	}
	if m, err = ebpfguard.NewManager(pinnedOptions()); err != nil {
		t.Fatal(err)
	}
	if rules, err := m.RuleStats(); err != nil || len(rules) != 2 || rules[0].Hits != 4 || rules[1].Hits != 2 {
		t.Errorf("taken over again: %+v, %v", rules, err)
	}
	if n := m.Sequence().Load(); n != 17 {
		t.Errorf("the sequence is %d", n)
	}
	if err := m.Remove(); err != nil {
		t.Error(err)
	}
	if pins, err := filepath.Glob("/sys/fs/bpf/*"); err != nil || len(pins) != 0 {
		t.Errorf("pins %v, %v", pins, err)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); r.Errno != 0 {
		t.Errorf("after it was removed: %v", r)
	}
}

func policyNames(set []policy.Policy) (names []string) {
	for _, p := range set {
		names = append(names, p.Name)
	}
	return names
}

// TestPinsRefused has pins that are not ours, damaged, or of a newer version. What they
// enforce goes on until they are replaced.
func TestPinsRefused(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	cleanPins(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	set := []policy.Policy{nobodyBinds("everyone", 2022)}
	killed, _ := startPinned(t, order{Set: set})
	killed.kill(t)
	layout := filepath.Join(pinPath, "layout_2")
	mapAt := func(name string) string { return filepath.Join(layout, "maps", name) }
	links, err := filepath.Glob(filepath.Join(layout, "links", "*"))
	if err != nil || len(links) != 1 {
		t.Fatal(links, err)
	}
	linkAt := func(name string) string { return filepath.Join(links[0], name) }
	const aside = "/sys/fs/bpf/aside"
	rename := func(names ...string) error {
		var err error
		for i := 0; i < len(names); i += 2 {
			err = errors.Join(err, os.Rename(names[i], names[i+1]))
		}
		return err
	}
	made := func(name string) (damage, undo func() error) {
		path := filepath.Join(pinPath, name)
		return func() error { return os.Mkdir(path, 0o700) }, func() error { return os.Remove(path) }
	}
	foreign, native := made("other")
	newer, older := made("layout_99")
	for _, c := range []struct {
		name         string
		damage, undo func() error
		want         error
	}{
		{"something else is there", foreign, native, ebpfguard.ErrPinsForeign},
		{"open to others", func() error { return os.Chmod(pinPath, 0o755) }, func() error { return os.Chmod(pinPath, 0o700) }, ebpfguard.ErrPinsForeign},
		{"of a newer version", newer, older, ebpfguard.ErrPinsNewer},
		{"a program is missing", func() error { return rename(linkAt("socket_bind"), aside) }, func() error { return rename(aside, linkAt("socket_bind")) }, ebpfguard.ErrPinsDamaged},
		{"a map is missing", func() error { return rename(mapAt("tasks"), aside) }, func() error { return rename(aside, mapAt("tasks")) }, ebpfguard.ErrPinsDamaged},
		{
			"a map is another", func() error { return rename(mapAt("counters"), aside, mapAt("notes"), mapAt("counters")) },
			func() error { return rename(mapAt("counters"), mapAt("notes"), aside, mapAt("counters")) }, ebpfguard.ErrPinsDamaged,
		},
		{
			"a program is another", func() error { return rename(linkAt("socket_bind"), aside, linkAt("task_alloc"), linkAt("socket_bind")) },
			func() error { return rename(linkAt("socket_bind"), linkAt("task_alloc"), aside, linkAt("socket_bind")) }, ebpfguard.ErrPinsDamaged,
		},
	} {
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		m, err := ebpfguard.NewManager(pinnedOptions())
		if err == nil {
			m.Close()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: taken over: %v", c.name, err)
		}
		fmt.Printf("%s: %v\n", c.name, err)
		if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); !r.Refused() {
			t.Errorf("%s: after it was refused: %v", c.name, r)
		}
		if err := c.undo(); err != nil {
			t.Fatal(err)
		}
	}

	m, err := ebpfguard.NewManager(pinnedOptions())
	if err != nil {
		t.Fatalf("with everything in its place again: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := rename(linkAt("task_alloc"), aside); err != nil {
		t.Fatal(err)
	}
	options := pinnedOptions()
	options.ReplacePins = true
	if m, err = ebpfguard.NewManager(options); err != nil {
		t.Fatal(err)
	}
	if _, ok := m.Takeover(); ok {
		t.Error("took over what is damaged")
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); !r.Refused() {
		t.Errorf("before something else is in force: %v", r)
	}
	if _, err := m.Apply([]policy.Policy{nobodyBinds("everyone", 2025)}); err != nil {
		t.Error(err)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); r.Errno != 0 {
		t.Errorf("what only the former forbade: %v", r)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2025)); !r.Refused() {
		t.Errorf("what the new one forbids: %v", r)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if removed, err := ebpfguard.RemovePins(pinPath, false); err != nil || !removed {
		t.Errorf("removed %v, %v", removed, err)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2025)); r.Errno != 0 {
		t.Errorf("after it was removed: %v", r)
	}
	if err := os.Remove(aside); err != nil {
		t.Error(err)
	}
	if pins, err := filepath.Glob("/sys/fs/bpf/*"); err != nil || len(pins) != 0 {
		t.Errorf("pins %v, %v", pins, err)
	}
}

// TestPinnedUpgrade takes over with other versions, while processes do what is forbidden
// and what is not.
func TestPinnedUpgrade(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	if !isOn(t, "5.10", "6.12") {
		return
	}
	cleanPins(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	things := []guardtest.Hammered{{Name: "bind", Forbidden: guardtest.BindTo(guardtest.Lo4, 2022), Free: guardtest.BindTo(guardtest.Lo4, 2023)}}
	killed, _ := startPinned(t, order{Set: []policy.Policy{nobodyBinds("everyone", 2022)}})
	stop, total := guardtest.StrikeOn(t, 1, 0, things)
	killed.kill(t)
	for _, c := range []struct {
		name          string
		build, layout string
		says          string
	}{
		{"another build", "next", "1", "1 true false"},
		{"the same build again", "next", "1", "1 false false"},
		{"a newer layout", "next", "2", "1 true true"},
		{"the same layout again", "next", "2", "1 false false"},
	} {
		m, said := startPinned(t, order{Build: c.build, Layout: c.layout})
		if !strings.HasSuffix(said, " "+c.says) {
			t.Errorf("%s: %q, want %q", c.name, said, c.says)
		}
		m.kill(t)
		if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); !r.Refused() {
			t.Errorf("%s: %v", c.name, r)
		}
	}
	older, said := tryPinned(t, order{})
	older.kill(t)
	if !strings.Contains(said, "the pins are of a newer version: what is pinned at "+pinPath+" has layout 2, this version knows up to 1") {
		t.Errorf("an older version: %q", said)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); !r.Refused() {
		t.Errorf("after an older version was refused: %v", r)
	}
	stop()
	if total() == 0 {
		t.Error("nothing was tried meanwhile")
	}
	if _, err := ebpfguard.RemovePins(pinPath, false); err != nil {
		t.Error(err)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); r.Errno != 0 {
		t.Errorf("after it was removed: %v", r)
	}
}

// kills is how often the manager of TestKilledUnderLoad is killed.
const kills = 100

// isOn reports whether this is one of the kernels that a test which takes minutes has time
// for. The shorter tests of the same run on all.
func isOn(t *testing.T, kernels ...string) bool {
	t.Helper()
	k, _ := vmtest.Guest()
	if !slices.Contains(kernels, k.Name) {
		t.Logf("for want of time on %v only", kernels)
		return false
	}
	return true
}

// TestKilledUnderLoad kills the manager at any moment while it replaces its set without
// pause and processes do what every set forbids and what none does.
func TestKilledUnderLoad(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	if !isOn(t, "6.1", "7") { // without safe task storage, and the newest
		return
	}
	cleanPins(t)
	things, always := guardtest.ThingsToDo(t)
	m, _ := startPinned(t, order{Set: []policy.Policy{always}, Replace: &always})
	// On a guest's only processor managers would take minutes to start beside others that
	// are as important.
	stop, total := guardtest.StrikeOn(t, 2, 5, things)
	var revision, longest, replaced int
	for i := range kills {
		// Between nothing and some replacements, never the same.
		time.Sleep(time.Duration(i*i*37%1500) * time.Millisecond)
		m.kill(t)
		begun := time.Now()
		var said string
		if m, said = startPinned(t, order{Replace: &always}); t.Failed() {
			break
		}
		longest = max(longest, int(time.Since(begun).Milliseconds()))
		var now, policies int
		if _, err := fmt.Sscanf(said, "ready %d %d", &now, &policies); err != nil || now < revision || policies == 0 {
			t.Errorf("%q after revision %d: %v", said, revision, err)
		}
		if now > revision {
			replaced++
		}
		revision = now
	}
	m.kill(t)
	if replaced < kills/2 {
		t.Errorf("the set was replaced before %d of %d kills only", replaced, kills)
	}
	stop()
	fmt.Printf("killed %d times in %d revisions during %d operations; to take over took %d ms at most\n", kills, revision, total(), longest)
	last, err := ebpfguard.NewManager(pinnedOptions())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range policy.Operations() {
		s, err := last.Stats(o)
		if err != nil || s.Alerts+s.AlertsLost != s.Denied+s.Audited {
			t.Errorf("%s: %+v, %v", o, s, err)
		}
	}
	if err := last.Remove(); err != nil {
		t.Error(err)
	}
	if err := unix.Access(pinPath, 0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("the pins are still there: %v", err)
	}
}

// TestPinnedUntil kills the manager while a policy runs that ends: it ends by itself, and
// what has no end goes on.
func TestPinnedUntil(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	cleanPins(t)
	a := guardtest.StartActor(t, "/proc/self/exe")
	killed, _ := startPinned(t, order{Set: []policy.Policy{nobodyBinds("everyone", 2022)}})
	killed.kill(t)
	timed := nobodyBinds("timed", 2023)
	timed.Until = bootNow(t) + uint64(20*time.Second)
	killed, _ = startPinned(t, order{Set: []policy.Policy{nobodyBinds("everyone", 2022), timed}})
	killed.kill(t)
	refused := 0
	for bootNow(t) < timed.Until-uint64(time.Second) {
		if r := a.Do(guardtest.TCP(guardtest.Lo4, 2023)); !r.Refused() {
			t.Errorf("%v before the end: %v", time.Duration(timed.Until-bootNow(t)), r)
		}
		refused++
		time.Sleep(100 * time.Millisecond)
	}
	if refused == 0 {
		t.Error("the policy had ended before it was tried")
	}
	for bootNow(t) <= timed.Until {
		time.Sleep(10 * time.Millisecond)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2023)); r.Errno != 0 {
		t.Errorf("after the end: %v", r)
	}
	if r := a.Do(guardtest.TCP(guardtest.Lo4, 2022)); !r.Refused() {
		t.Errorf("what has no end: %v", r)
	}
	m, err := ebpfguard.NewManager(pinnedOptions())
	if err != nil {
		t.Fatal(err)
	}
	if former, _ := m.Takeover(); len(former.Policies) != 2 || former.Policies[1].Until != timed.Until {
		t.Errorf("took over %+v", former)
	}
	if err := m.Remove(); err != nil {
		t.Error(err)
	}
}

func bootNow(t *testing.T) uint64 {
	t.Helper()
	now, err := ebpfguard.Boottime()
	if err != nil {
		t.Fatal(err)
	}
	return now
}
