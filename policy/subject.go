package policy

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
