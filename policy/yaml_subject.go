package policy

import (
	"go.yaml.in/yaml/v3"
)

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
