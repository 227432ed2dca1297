package policy

import (
	"math"

	"go.yaml.in/yaml/v3"
)

// processes decodes the processes of a subject.
func (d *decoder) processes(n *yaml.Node) []ProcessID {
	var processes []ProcessID
	for _, item := range d.List(n, "processes") {
		const example = "{pid: 4711, start: 123450000000}"
		process, ok := d.Mapping(item, "a process", example, "pid", "start")
		if !ok {
			continue
		}
		pid, hasPID := process["pid"]
		start, hasStart := process["start"]
		if !hasPID {
			d.Missing(item, "pid", "the process has no pid; write %s", example)
		}
		if !hasStart {
			d.Missing(item, "start", "the process has no start; write when it was started, %s, or another process might get its pid", example)
		}
		if !hasPID || !hasStart {
			continue
		}
		number, ok := d.Number(pid, "pid", maxPID)
		at, ok2 := d.Number(start, "start", math.MaxUint64)
		if ok && ok2 {
			processes = append(processes, ProcessID{uint32(number), at})
		}
	}
	return processes
}
