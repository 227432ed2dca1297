package policy

import (
	"math"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// processes decodes the processes of a subject.
func (d *decoder) processes(n *yaml.Node) []ProcessID {
	var processes []ProcessID
	for _, item := range d.list(n, "processes") {
		const example = "{pid: 4711, start: 123450000000}"
		process, ok := d.mapping(item, "a process", example, "pid", "start")
		if !ok {
			continue
		}
		pid, hasPID := process["pid"]
		start, hasStart := process["start"]
		if !hasPID {
			d.missing(item, "pid", "the process has no pid; write %s", example)
		}
		if !hasStart {
			d.missing(item, "start", "the process has no start; write when it was started, %s, or another process might get its pid", example)
		}
		if !hasPID || !hasStart {
			continue
		}
		number, ok := d.number(pid, "pid", maxPID)
		at, ok2 := d.number(start, "start", math.MaxUint64)
		if ok && ok2 {
			processes = append(processes, ProcessID{uint32(number), at})
		}
	}
	return processes
}

// number decodes a decimal number of at most the given one.
func (d *decoder) number(n *yaml.Node, what string, most uint64) (uint64, bool) {
	if !d.untagged(n) {
		return 0, false
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		value, err := strconv.ParseUint(n.Value, 10, 64)
		if err == nil && value <= most && strconv.FormatUint(value, 10) == n.Value {
			return value, true
		}
	}
	d.fail(n, "%s is %s; write a number up to %d", what, nodeKind(n), most)
	return 0, false
}
