package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Subject selects processes: either Everyone, or those that match every kind
// of selector that is given; the values of one kind are alternatives. The zero
// value selects nobody and is refused by [Validate].
type Subject struct {
	// Everyone selects every process; the other fields must be empty then.
	Everyone bool `json:"everyone,omitempty"`
	// Binaries are path patterns (see [PathPattern]) of the program that the
	// process was started from, or of the script that it runs.
	Binaries []string `json:"binaries,omitempty"`
	// Descendants selects the processes that descend from one of Binaries
	// as well, whatever they have started since.
	Descendants bool `json:"descendants,omitempty"`
	// Users selects by the real user id. Names are resolved by [ResolveNames].
	Users IDs `json:"users,omitzero"`
	// Cgroups are paths of control groups (v2), each with all below it, see
	// [ParseCgroupPattern]. The group counts that the process was in when it
	// started its program.
	Cgroups []string `json:"cgroups,omitempty"`
	// Containers select what is in a container that one of them selects: what was started
	// in it, and all that descends from that, wherever it goes.
	Containers []ContainerSelector `json:"containers,omitempty"`
	// Pods select what is in a container of a Kubernetes pod that one of them selects. With
	// Containers, one of these must select that container too.
	Pods []PodSelector `json:"pods,omitempty"`
	// Identified, with Containers or Pods, leaves alone what is in a container of which nothing is known: such a one
	// could be theirs, and does not count as one. Without it every denial counts there that may concern it.
	Identified bool `json:"identified,omitempty"`
	// Host selects what is in no container and never was.
	Host bool `json:"host,omitempty"`
	// Processes are running processes, each with all that descends from it,
	// whatever they start. One that has ended selects nobody by itself.
	Processes []ProcessID `json:"processes,omitempty"`
}

// Process is what a decision needs to know of the acting process.
type Process struct {
	// Binary is the absolute path from which the program was started.
	Binary string
	// Script is the script that the program was started to run, if any.
	Script string
	// Ancestors are the programs and scripts that the process and its
	// ancestors ran before.
	Ancestors []string
	// IDs are the process itself and those that it descends from.
	IDs []ProcessID
	// UID is the real user id.
	UID uint32
	// Cgroup is the path of the control group.
	Cgroup string
	// Containers are those that the process is in and was in; none on the host.
	Containers []Container
	// Unidentified says that the process is in a container that nobody can tell anything of: a
	// rule about containers may or may not concern it, if it is not about all.
	Unidentified bool
	// Unknown says that program, ancestors, control group and container could not be
	// identified: a rule that names them may or may not concern it (docs/semantics.md,
	// rule 6).
	Unknown bool
}

// SubjectRank says how specific a subject's match is; a greater rank is more
// specific. It is SubjectEveryone plus the bits of the selectors that match, so
// that of two ranks the most specific selector decides first.
type SubjectRank uint8

// SubjectEveryone is the rank of a subject that selects every process.
const SubjectEveryone SubjectRank = 1

// The bits of the selectors, of which a subject's binaries contribute just one:
// the greatest that one of them matches by.
const (
	// SubjectUser is for users.
	SubjectUser SubjectRank = 1 << iota
	// SubjectCgroup is for cgroups.
	SubjectCgroup
	// SubjectContainer is for containers, and for host.
	SubjectContainer
	// SubjectDescendant is for a process that descends from one of binaries,
	// but runs none of them.
	SubjectDescendant
	// SubjectBinaryPattern is for a binary selected by a directory or glob.
	SubjectBinaryPattern
	// SubjectBinary is for a binary named exactly.
	SubjectBinary
	// SubjectProcess is for processes.
	SubjectProcess
)

// subjectField is a field of a subject as YAML has it: a list or, without values, true.
type subjectField struct {
	key    string
	values []string
}

// fields returns the fields that the subject has, with their values as YAML.
func (s Subject) fields() []subjectField {
	var fields []subjectField
	add := func(key string, values []string) {
		if len(values) > 0 {
			fields = append(fields, subjectField{key, values})
		}
	}
	add("binaries", quoted(s.Binaries))
	if s.Descendants {
		fields = append(fields, subjectField{key: "descendants"})
	}
	add("users", s.Users.values())
	add("cgroups", quoted(s.Cgroups))
	add("containers", containerTexts(s.Containers))
	add("pods", podTexts(s.Pods))
	if s.Identified {
		fields = append(fields, subjectField{key: "identified"})
	}
	if s.Host {
		fields = append(fields, subjectField{key: "host"})
	}
	add("processes", processTexts(s.Processes))
	return fields
}

// String returns the subject as flow-style YAML.
func (s Subject) String() string {
	var f flow
	for _, field := range s.fields() {
		f.list(field.key, field.values)
		f.flag(field.key, field.values == nil)
	}
	return f.String()
}

// certainty says whether something matches.
type certainty uint8

const (
	no certainty = iota
	// maybe is for a process or object that could not be identified.
	maybe
	yes
)

// Match reports whether the subject selects the process and how specifically. For
// a process that could not be identified a match may be uncertain; the rank is
// the greatest that it could have then. The subject must be valid and its names
// resolved (see [ResolveNames]).
func (s Subject) Match(p Process) (rank SubjectRank, uncertain, ok bool) {
	rank, certain := s.match(p)
	return rank, certain == maybe, certain != no
}

func (s Subject) match(p Process) (SubjectRank, certainty) {
	rank, certain := SubjectEveryone, yes
	if s.Everyone {
		return rank, certain
	}
	if s.selectsNobody() {
		return 0, no
	}
	if !s.Users.isZero() {
		specificity := uint32(0)
		if !s.Users.match(p.UID, &specificity) {
			return 0, no
		}
		rank += SubjectUser
	}
	if len(s.Cgroups) > 0 {
		in := func(pattern string) bool { return matchCgroup(pattern, p.Cgroup) }
		switch {
		case p.Unknown:
			certain = maybe
		case !slices.ContainsFunc(s.Cgroups, in):
			return 0, no
		}
		rank += SubjectCgroup
	}
	if !s.Inside().IsZero() || s.Host {
		in := s.matchContainers(p)
		if in == no {
			return 0, no
		}
		certain = min(certain, in)
		rank += SubjectContainer
	}
	if len(s.Binaries) > 0 {
		bit := s.matchBinaries(p)
		if p.Unknown {
			certain, bit = maybe, binaryBit(maxPathSpecificity(s.Binaries))
		}
		if bit == 0 {
			return 0, no
		}
		rank += bit
	}
	if len(s.Processes) > 0 {
		switch {
		case p.Unknown:
			certain = maybe
		case !s.selectsProcess(p):
			return 0, no
		}
		rank += SubjectProcess
	}
	return rank, certain
}

// selectsNobody reports whether the subject is the zero value.
func (s Subject) selectsNobody() bool {
	return !s.Everyone && len(s.Binaries) == 0 && len(s.Cgroups) == 0 && s.Inside().IsZero() && !s.Host && len(s.Processes) == 0 && s.Users.isZero()
}

// matchContainers tells whether the process is in a container that is selected or, for the
// host, in none.
func (s Subject) matchContainers(p Process) certainty {
	switch {
	case p.Unknown:
		return maybe
	case s.Host:
		if len(p.Containers) == 0 && !p.Unidentified {
			return yes
		}
		return no
	}
	in := s.Inside()
	if p.inUnidentified() && !in.Identified {
		if in.IsAny() {
			return yes
		}
		return maybe
	}
	if slices.ContainsFunc(p.Containers, func(c Container) bool { return !c.IsPartial() && in.Selects(c) }) {
		return yes
	}
	return no
}

// inUnidentified reports whether the process, which is settled, is in a container of which nothing is known, or not enough.
func (p Process) inUnidentified() bool {
	return p.Unidentified || slices.ContainsFunc(p.Containers, Container.IsPartial)
}

// matchBinaries returns the bit for how the binaries select the known process,
// 0 if they do not.
func (s Subject) matchBinaries(p Process) SubjectRank {
	bit := binaryBit(max(matchPaths(s.Binaries, p.Binary), matchPaths(s.Binaries, p.Script)))
	if bit != 0 || !s.Descendants {
		return bit
	}
	for _, ancestor := range p.Ancestors {
		if matchPaths(s.Binaries, ancestor) > 0 {
			return SubjectDescendant
		}
	}
	return 0
}

// binaryBit returns the bit for a binary that is matched so specifically.
func binaryBit(specificity uint32) SubjectRank {
	switch {
	case specificity >= exactSpecificity:
		return SubjectBinary
	case specificity > 0:
		return SubjectBinaryPattern
	}
	return 0
}

// ParseCgroupPattern returns the pattern that a policy writes so: the path of a
// control group from the root of the cgroup v2 hierarchy, as in /proc/PID/cgroup,
// possibly with '*' and '?' within components. It selects the group with all
// below it, whence Tree is set; "/" selects every group.
func ParseCgroupPattern(text string) (PathPattern, error) {
	if text == "" {
		return PathPattern{}, errors.New("cgroup \"\" is empty; write its path such as /system.slice/nginx.service")
	}
	if !strings.HasPrefix(text, "/") {
		return PathPattern{}, fmt.Errorf("cgroup %q is not absolute; write its path from the root of the hierarchy such as /system.slice/nginx.service", shorten(text))
	}
	if rest, ok := strings.CutPrefix(text, "/sys/fs/cgroup/"); ok && rest != "" {
		return PathPattern{}, fmt.Errorf("cgroup %q begins with the mount point of the hierarchy; write /%s", shorten(text), shorten(strings.TrimSuffix(rest, "/")))
	}
	if len(text) > 1 && strings.HasSuffix(text, "/") {
		return PathPattern{}, fmt.Errorf("cgroup %q ends in a slash; remove it, what is below a group is always included", shorten(text))
	}
	p, err := parsePathPattern("cgroup", text)
	if err != nil {
		return PathPattern{}, err
	}
	if slices.Contains(p.Components, "**") {
		return PathPattern{}, fmt.Errorf("cgroup %q: ** is not possible here; write * for each level, what is below a group is always included", shorten(text))
	}
	return p.tree(), nil
}

// tree returns the pattern with all below.
func (p PathPattern) tree() PathPattern {
	p.Tree = true
	if p.Kind == PathExact {
		p.Kind = PathDir
	}
	return p
}

// matchCgroup reports whether a valid pattern selects the group.
func matchCgroup(pattern, cgroup string) bool { return splitPathPattern(pattern).tree().Match(cgroup) }

func (s Subject) validate() error {
	var errs []error
	for _, selector := range []struct {
		name        string
		given, none bool
	}{
		{"binaries", len(s.Binaries) > 0, s.Binaries != nil && len(s.Binaries) == 0},
		{"users", !s.Users.isZero(), s.Users.isZero() && (s.Users.Ranges != nil || s.Users.Names != nil)},
		{"cgroups", len(s.Cgroups) > 0, s.Cgroups != nil && len(s.Cgroups) == 0},
		{"containers", len(s.Containers) > 0, s.Containers != nil && len(s.Containers) == 0},
		{"pods", len(s.Pods) > 0, s.Pods != nil && len(s.Pods) == 0},
		{"host", s.Host, false},
		{"processes", len(s.Processes) > 0, s.Processes != nil && len(s.Processes) == 0},
	} {
		switch {
		case s.Everyone && selector.given:
			errs = append(errs, fmt.Errorf("the subject is everyone and %s at the same time; leave out one of them", selector.name))
		case selector.none && !s.Everyone:
			errs = append(errs, fmt.Errorf("the subject's %s are empty, which selects no process; name at least one or select everyone", selector.name))
		}
	}
	switch {
	case len(errs) > 0:
		return errors.Join(errs...)
	case s.Descendants && s.Everyone:
		return errors.New("the subject is everyone, which includes all descendants; leave out descendants")
	case s.Descendants && len(s.Binaries) == 0:
		return errors.New("the subject has descendants, but no binaries; name the binaries whose descendants are meant")
	case s.Identified && s.Inside().IsZero():
		return errors.New("the subject is about identified containers, but names no containers and no pods; add containers: [{}] for all, or leave out identified")
	case s.Host && !s.Inside().IsZero():
		return errors.New("the subject is the host and containers or pods at the same time, which no process is in; leave out one of them, or write two policies")
	case s.selectsNobody():
		return errors.New("the policy has no subject; select everyone or name binaries, users, cgroups, containers, pods, the host or processes")
	}
	for _, c := range s.Containers {
		errs = append(errs, c.validate())
	}
	for _, p := range s.Pods {
		errs = append(errs, p.validate())
	}
	errs = append(errs, checkList("binary", s.Binaries, checkBinary), s.Users.validate("users"), checkList("cgroup", s.Cgroups, checkCgroup), checkProcesses(s.Processes))
	return errors.Join(errs...)
}

func checkBinary(text string) error {
	_, err := parsePathPattern("binary", text)
	return err
}

func checkCgroup(text string) error {
	_, err := ParseCgroupPattern(text)
	return err
}

// checkList checks each value and that none is there twice.
func checkList(what string, values []string, check func(string) error) error {
	var errs []error
	seen := make(map[string]bool, len(values))
	for _, value := range values {
		if err := check(value); err != nil {
			errs = append(errs, err)
		} else if seen[value] {
			errs = append(errs, fmt.Errorf("%s %q is listed twice; remove one", what, shorten(value)))
		}
		seen[value] = true
	}
	return errors.Join(errs...)
}

func (d *decoder) subject(n *yaml.Node) Subject {
	const example = "subject: {} for every process or subject: {binaries: [...]}"
	before := d.Problems()
	subject, ok := d.Mapping(n, "subject", example, "binaries", "descendants", "users", "cgroups", "containers", "pods", "identified", "host", "processes")
	if !ok {
		return Subject{}
	}
	if len(subject) == 0 {
		// An unknown field is an error of its own, so this is {}.
		return Subject{Everyone: true}
	}
	var s Subject
	if value, ok := subject["binaries"]; ok {
		s.Binaries = d.unique(value, "binaries", "binary", checkBinary)
	}
	if value, ok := subject["descendants"]; ok {
		s.Descendants, _ = d.Boolean(value, "descendants")
	}
	if value, ok := subject["users"]; ok {
		s.Users = d.ids(value, "users")
	}
	if value, ok := subject["cgroups"]; ok {
		s.Cgroups = d.unique(value, "cgroups", "cgroup", checkCgroup)
	}
	if value, ok := subject["containers"]; ok {
		s.Containers = d.containers(value)
	}
	if value, ok := subject["pods"]; ok {
		s.Pods = d.pods(value)
	}
	if value, ok := subject["identified"]; ok {
		s.Identified, _ = d.Boolean(value, "identified")
	}
	if value, ok := subject["host"]; ok {
		s.Host, _ = d.Boolean(value, "host")
	}
	if value, ok := subject["processes"]; ok {
		s.Processes = d.processes(value)
	}
	if d.Problems() == before {
		d.Check(n, s.validate())
	}
	return s
}

// The flags of explain that describe a process.
var (
	flagBinary         = &Flag{Name: "binary", Usage: "process: the `path` of its program; by default one that no policy names", NotUnknown: true}
	flagScript         = &Flag{Name: "script", Usage: "process: the `path` of the script that the program runs", NotUnknown: true}
	flagAncestor       = &Flag{Name: "ancestor", Usage: "process: the `path` of a program or script that it descends from (can be repeated)", Form: FlagRepeated, NotUnknown: true}
	flagUID            = &Flag{Name: "uid", Usage: "process: its real user, a `name` or number", Default: "0"}
	flagCgroup         = &Flag{Name: "cgroup", Usage: "process: the `path` of its control group, such as /system.slice/nginx.service", NotUnknown: true}
	flagContainer      = &Flag{Name: "container", Usage: "process: the `name` of the container that it is in", NotUnknown: true}
	flagContainerID    = &Flag{Name: "container-id", Usage: "process: the `id` of that container", NotUnknown: true}
	flagImage          = &Flag{Name: "image", Usage: "process: that container's image, a `reference` such as nginx:1.27", NotUnknown: true}
	flagLabel          = &Flag{Name: "label", Usage: "process: a label of that container, as `KEY=VALUE` (can be repeated)", Form: FlagRepeated, NotUnknown: true}
	flagRuntime        = &Flag{Name: "runtime", Usage: "process: the `runtime` of that container, such as containerd", NotUnknown: true}
	flagPod            = &Flag{Name: "pod", Usage: "process: the Kubernetes pod of that container, as `NAMESPACE/NAME`", NotUnknown: true}
	flagPodLabel       = &Flag{Name: "pod-label", Usage: "process: a label of that pod, as `KEY=VALUE` (can be repeated)", Form: FlagRepeated, NotUnknown: true}
	flagServiceAccount = &Flag{Name: "service-account", Usage: "process: the `name` of that pod's service account", NotUnknown: true}
	flagOwner          = &Flag{Name: "owner", Usage: "process: what controls that pod, as `KIND/NAME` such as Deployment/web (can be repeated)", Form: FlagRepeated, NotUnknown: true}
	flagUnidentified   = &Flag{Name: "unidentified", Usage: "process: it is in a container of which nothing is known", Form: FlagSwitch, NotUnknown: true}
	flagUnknown        = &Flag{Name: "unknown", Usage: "process: it cannot be identified", Form: FlagSwitch}
)

// ProcessFlags returns the flags that describe a process.
func ProcessFlags() []*Flag {
	return []*Flag{flagBinary, flagScript, flagAncestor, flagUID, flagCgroup, flagContainer, flagContainerID, flagImage, flagLabel, flagRuntime, flagPod, flagPodLabel, flagServiceAccount, flagOwner, flagUnidentified, flagUnknown}
}

// DescribeProcess returns the process that the flags describe.
func DescribeProcess(d Description) (Process, error) {
	p := Process{
		Binary: d.text(flagBinary), Script: d.text(flagScript), Ancestors: d.list(flagAncestor), Cgroup: d.text(flagCgroup), Unknown: d.has(flagUnknown),
	}
	for _, flag := range ProcessFlags() {
		if p.Unknown && flag.NotUnknown && d.has(flag) {
			return p, fmt.Errorf("--%s and --%s exclude each other; leave one of them out", flag.Name, flagUnknown.Name)
		}
	}
	for _, path := range []struct {
		flag    *Flag
		example string
	}{
		{flagBinary, "/usr/sbin/sshd"}, {flagScript, "/usr/local/bin/backup.sh"},
		{flagAncestor, "/usr/sbin/sshd"}, {flagCgroup, "/system.slice/nginx.service"},
	} {
		for _, value := range d.list(path.flag) {
			if err := CheckCleanPath(value, path.example); err != nil {
				return p, fmt.Errorf("--%s %w", path.flag.Name, err)
			}
		}
	}
	c, err := describeContainer(d)
	if err != nil {
		return p, err
	}
	if c != nil {
		p.Containers = []Container{*c}
	}
	p.Unidentified = d.has(flagUnidentified)
	if c != nil && p.Unidentified {
		return p, fmt.Errorf("--%s excludes what is known of the container; leave one of them out", flagUnidentified.Name)
	}
	if p.UID, err = ParseAccount(d.text(flagUID), d.Users); err != nil {
		return p, fmt.Errorf("--uid %w", err)
	}
	return p, nil
}
