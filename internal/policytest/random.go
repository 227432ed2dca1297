// Package policytest makes random policies and operations for the tests that
// compare what decides: the reference semantics, the compiled tables and the
// kernel.
package policytest

import (
	"fmt"
	"math/rand/v2"
	"path"

	"github.com/ebpfguard/ebpfguard/policy"
)

// Options say what random policies and operations are about. The zero value is
// about all operations.
type Options struct {
	// Operations are those that rules and requests are about; all by default.
	Operations []policy.Operation
	// Root is the directory that all paths of objects and patterns lie in,
	// /srv/policytest by default. See [Random.Paths].
	Root string
	// Binaries are the programs that policies name and that act.
	Binaries []string
	// Plain has subjects that are everyone or name exact binaries only.
	Plain bool
	// Confined has subjects that name binaries always, so that the rest of a
	// system is left alone.
	Confined bool
	// NoGlobs has paths and sources without wildcards.
	NoGlobs bool
	// UIDs and Cgroups are those of acting processes.
	UIDs    []uint32
	Cgroups []string
	// Containers are those that processes are in; without them subjects name none.
	Containers []policy.Container
	// Processes are those that subjects name and that processes are and descend
	// from, Times when policies end and operations are; without them there is no
	// such thing.
	Processes []policy.ProcessID
	Times     []uint64
	// Delegated has policies that are delegated, whose paths have no identity.
	Delegated bool
}

// Random draws from few values, so that patterns and objects meet.
type Random struct {
	*rand.Rand
	Options
}

// New returns the random values of a seed that are about socket_bind by plain
// subjects.
func New(seed uint64, binaries ...string) Random {
	return With(seed, Options{Operations: []policy.Operation{policy.SocketBind}, Binaries: binaries, Plain: true})
}

// With returns the random values of a seed.
func With(seed uint64, o Options) Random {
	if o.Operations == nil {
		o.Operations = policy.Operations()
	}
	if o.Root == "" {
		o.Root = "/srv/policytest"
	}
	if o.UIDs == nil {
		o.UIDs = []uint32{0, 1, 1000}
	}
	if o.Cgroups == nil {
		o.Cgroups = []string{"/", "/a.slice", "/a.slice/b.service", "/c.slice/b.service"}
	}
	return Random{rand.New(rand.NewPCG(seed, seed)), o}
}

// Containers returns some for [Options].
func Containers() []policy.Container {
	return []policy.Container{
		{ID: "aaaaaaaaaaaaaaaa", Name: "web", Image: "nginx:1.27", Labels: map[string]string{"app": "web"}, Runtime: "docker",
			Pod: &policy.Pod{Namespace: "shop", Name: "web-0", UID: "1", Labels: map[string]string{"app": "web"}, ServiceAccount: "web", Owners: []string{"Deployment/web"}}},
		{ID: "bbbbbbbbbbbbbbbb", Name: "db", Image: "postgres", Labels: map[string]string{"app": "db"}, Runtime: "docker",
			Pod: &policy.Pod{Namespace: "data", Name: "db-0", Labels: map[string]string{"app": "db"}, Partial: true}},
		{ID: "dddddddddddddddd", Name: "api", Image: "nginx",
			Pod: &policy.Pod{Namespace: "new", Name: "web-1", Labels: map[string]string{"app": "web"}, ServiceAccount: "web", NewNamespace: true}},
		{ID: "cccccccccccccccc", Name: "web-2", Image: "nginx:1.27", Runtime: "podman"},
	}
}

func pick[T any](r Random, values ...T) T { return values[r.IntN(len(values))] }

// some returns one or two of the values.
func some[T comparable](r Random, values ...T) []T {
	list := []T{pick(r, values...)}
	if v := pick(r, values...); r.IntN(2) == 0 && v != list[0] {
		list = append(list, v)
	}
	return list
}

func (r Random) chance(percent int) bool { return r.IntN(100) < percent }

// Set returns a valid policy set of up to four policies.
func (r Random) Set() []policy.Policy {
	for {
		var set []policy.Policy
		for i := range r.IntN(5) {
			p := policy.Policy{
				Name:    fmt.Sprintf("p%d", i),
				Mode:    pick(r, policy.ModeEnforce, policy.ModeEnforce, policy.ModeAudit),
				Subject: r.Subject(),
			}
			if len(r.Times) > 0 && r.chance(40) {
				p.Until = pick(r, r.Times...)
			}
			if len(r.Times) > 0 && r.chance(20) {
				p.From = pick(r, r.Times...)
			}
			p.Delegated = r.Delegated && r.chance(40)
			for range 1 + r.IntN(2) {
				p.Rules = append(p.Rules, r.rule())
			}
			set = append(set, p)
		}
		if len(set) > 1 && r.chance(40) {
			r.rival(set)
		}
		if policy.Validate(set) == nil {
			return set
		}
	}
}

// rival adds rules about the same names to two of the policies, of which one names
// the kind of the operation too: which of them wins is up to the subjects first.
func (r Random) rival(set []policy.Policy) {
	o := pick(r, r.Operations...)
	plain, narrow := r.kinds(o, r.Pattern(o))
	if plain == nil {
		return
	}
	rules := []policy.Rule{{Operation: o, Deny: []policy.Pattern{narrow}}, {Operation: o, Allow: []policy.Pattern{plain}}}
	if r.chance(50) {
		rules = []policy.Rule{{Operation: o, Deny: []policy.Pattern{plain}}, {Operation: o, Allow: []policy.Pattern{narrow}}}
	}
	first := r.IntN(len(set))
	for i, rule := range rules {
		p := &set[(first+i)%len(set)]
		p.Rules = append(p.Rules, rule)
	}
}

// kinds returns a pattern without keys that tell the kind, and with some; nil for an
// operation that has no such keys.
func (r Random) kinds(o policy.Operation, pattern policy.Pattern) (plain, narrow policy.Pattern) {
	switch p := pattern.(type) {
	case policy.FilePattern:
		p.All, p.Access = len(p.Paths) == 0, 0
		q := p
		q.All, q.Access = false, pick(r, policy.Read, policy.Write, policy.Exec, policy.Read|policy.Write)
		return p, q
	case policy.MountPattern:
		p.All, p.Types, p.Flags = len(p.Sources)+len(p.Targets) == 0, nil, 0
		q := p
		q.All = false
		if r.chance(50) {
			q.Types = []string{pick(r, "ext4", "tmpfs", "proc", "overlay")}
		} else {
			q.Flags = (policy.MountReadWrite | policy.MountSUID | policy.MountDetach) & policy.MountFlagsOf(o)
		}
		return p, q
	case policy.SocketPattern:
		p.All, p.Protocols = len(p.Addresses)+len(p.Ports) == 0, nil
		q := p
		q.All, q.Protocols = false, []policy.Protocol{pick(r, policy.TCP, policy.UDP)}
		return p, q
	}
	return nil, nil
}

func (r Random) rule() policy.Rule {
	o := pick(r, r.Operations...)
	rule := policy.Rule{Operation: o, Allow: r.Patterns(o), Deny: r.Patterns(o)}
	if r.Plain {
		return rule
	}
	rule.Verdict = pick(r, 0, 0, 0, policy.Audit, policy.Deny, policy.Kill)
	rule.Revoke = o.Revokes() && r.chance(30)
	return rule
}

// Subject returns a valid subject.
func (r Random) Subject() policy.Subject {
	if r.Plain {
		if len(r.Binaries) > 0 && (r.Confined || r.chance(50)) {
			return policy.Subject{Binaries: []string{pick(r, r.Binaries...)}}
		}
		return policy.Subject{Everyone: true}
	}
	var s policy.Subject
	if len(r.Binaries) > 0 && (r.Confined || r.chance(50)) {
		s.Binaries = some(r, r.binaryPatterns()...)
		s.Descendants = r.chance(30)
	}
	if r.chance(20) {
		id := pick(r, r.UIDs...)
		s.Users.Ranges = []policy.IDRange{pick(r, policy.IDRange{First: id, Last: id}, policy.IDRange{First: id, Last: id + 10}, policy.IDRange{First: 0, Last: policy.MaxID})}
	}
	if r.chance(20) {
		s.Cgroups = some(r, append([]string{"/*.slice", "/?.slice/b.service"}, r.Cgroups...)...)
	}
	if len(r.Containers) > 0 && r.chance(30) {
		s.Host = r.chance(20)
		for range pick(r, 1, 1, 2) {
			if !s.Host {
				s.Containers = append(s.Containers, r.selector())
			}
		}
		if r.chance(30) && !s.Host {
			s.Pods = append(s.Pods, r.podSelector())
			if r.chance(60) {
				s.Containers = nil
			}
		}
	}
	if len(r.Processes) > 0 && r.chance(20) {
		s.Processes = some(r, r.Processes...)
	}
	s.Identified = !s.Inside().IsZero() && r.chance(25)
	s.Everyone = len(s.Binaries) == 0 && len(s.Users.Ranges) == 0 && len(s.Cgroups) == 0 && s.Inside().IsZero() && !s.Host && len(s.Processes) == 0
	return s
}

// selector returns a selector of containers, which may be any.
func (r Random) selector() policy.ContainerSelector {
	var s policy.ContainerSelector
	c := pick(r, r.Containers...)
	if r.chance(40) {
		s.Names = some(r, c.Name, "*", "none")
	}
	if r.chance(30) {
		s.Images = some(r, c.Image, "none")
	}
	for key, value := range c.Labels {
		if r.chance(30) {
			s.Labels = append(s.Labels, policy.LabelSelector{Key: key, Values: some(r, value, "none")})
			break
		}
	}
	return s
}

// podSelector returns a selector of pods, which may be any.
func (r Random) podSelector() policy.PodSelector {
	var s policy.PodSelector
	c := pick(r, r.Containers...)
	pod := policy.Pod{Namespace: "none", Name: "none"}
	if c.Pod != nil {
		pod = *c.Pod
	}
	for _, list := range []struct {
		to    *[]string
		value string
	}{{&s.Namespaces, pod.Namespace}, {&s.Names, pod.Name}, {&s.Containers, c.Name}, {&s.Images, c.Image}, {&s.ServiceAccounts, pod.ServiceAccount}} {
		if list.value != "" && r.chance(25) {
			*list.to = some(r, list.value, "none")
		}
	}
	if r.chance(25) {
		s.Owners = some(r, append([]string{"Deployment/none"}, pod.Owners...)...)
	}
	for key, value := range pod.Labels {
		if r.chance(30) {
			s.Labels = append(s.Labels, policy.LabelSelector{Key: key, Values: some(r, value, "none")})
		} else if r.chance(20) {
			s.NotLabels = append(s.NotLabels, policy.LabelSelector{Key: key, Values: some(r, value, "none", "*")})
		}
		break
	}
	return s
}

// binaryPatterns returns the binaries, their directories and globs that match
// some of them.
func (r Random) binaryPatterns() []string {
	list := append([]string{}, r.Binaries...)
	for _, b := range r.Binaries {
		dir := path.Dir(b)
		if dir != "/" {
			list = append(list, dir+"/", dir+"/*")
		}
	}
	return list
}

// Patterns returns up to two patterns of the operation.
func (r Random) Patterns(o policy.Operation) []policy.Pattern {
	var list []policy.Pattern
	for range r.IntN(3) {
		list = append(list, r.Pattern(o))
	}
	return list
}

// Process returns a process, known for the most part.
func (r Random) Process() policy.Process {
	p := policy.Process{UID: pick(r, r.UIDs...), Cgroup: pick(r, r.Cgroups...), Unknown: r.chance(15)}
	binaries := append([]string{"", "/usr/bin/other"}, r.Binaries...)
	p.Binary = pick(r, binaries...)
	if r.chance(20) {
		p.Script = pick(r, binaries...)
	}
	for range r.IntN(3) {
		p.Ancestors = append(p.Ancestors, pick(r, binaries...))
	}
	switch {
	case len(r.Containers) == 0:
	case r.chance(10):
		p.Unidentified = true
	case r.chance(60):
		p.Containers = []policy.Container{pick(r, r.Containers...)}
		if first := pick(r, r.Containers...); r.chance(20) && first.ID != p.Containers[0].ID {
			p.Containers = append(p.Containers, first)
		}
	}
	if len(r.Processes) > 0 && r.chance(60) {
		p.IDs = some(r, r.Processes...)
	}
	return p
}

// Request returns an operation of a process.
func (r Random) Request() policy.Request {
	o := pick(r, r.Operations...)
	request := policy.Request{Process: r.Process(), Operation: o, Object: r.Object(o)}
	if len(r.Times) > 0 && r.chance(70) {
		request.Now = pick(r, r.Times...) + pick(r, 0, 1, ^uint64(0))
	}
	return request
}
