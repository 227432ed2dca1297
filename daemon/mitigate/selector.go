package mitigate

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// selector finds the processes that a subject selects, as far as /proc shows them. The guard
// knows programs as files and not by their names alone, so that /sbin/init may be
// /usr/lib/systemd/systemd; so does a selector.
type selector struct {
	machine  Machine
	subject  policy.Subject
	programs []program
}

// program is a file that a subject names.
type program struct {
	name string
	file os.FileInfo
}

// selectorOf returns the selector of a subject whose names are resolved.
func (m Machine) selectorOf(subject policy.Subject) selector {
	s := selector{machine: m, subject: subject}
	s.subject.Binaries = nil
	for _, pattern := range subject.Binaries {
		s.subject.Binaries = append(s.subject.Binaries, pattern)
		folder := pattern[:strings.LastIndexByte(literal(pattern), '/')+1]
		if folder != pattern && literal(pattern) == pattern {
			if file, err := hostroot.Host().Stat(pattern); err == nil {
				s.programs = append(s.programs, program{pattern, file})
			}
			continue
		}
		if other, err := hostroot.Host().EvalSymlinks(folder); err == nil && other != filepath.Clean(folder) {
			s.subject.Binaries = append(s.subject.Binaries, strings.TrimSuffix(other, "/")+"/"+pattern[len(folder):])
		}
	}
	return s
}

// literal returns the part of a pattern of paths before its first wildcard.
func literal(pattern string) string {
	if i := strings.IndexAny(pattern, "*?"); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

// process returns the first process of a line as the subject sees it.
func (s selector) process(line []procfs.Process) policy.Process {
	p := s.machine.asSubject(line)
	p.Binary = s.nameOf(line[0].PID)
	p.Ancestors = nil
	for _, ancestor := range line[1:] {
		if name := s.nameOf(ancestor.PID); name != "" {
			p.Ancestors = append(p.Ancestors, name)
		}
	}
	return p
}

// nameOf returns the name by which the subject knows a process's program.
func (s selector) nameOf(pid uint32) string {
	if len(s.programs) > 0 {
		if file, err := os.Stat(procfs.Path(pid, "exe")); err == nil {
			for _, p := range s.programs {
				if os.SameFile(file, p.file) {
					return p.name
				}
			}
		}
	}
	return procfs.Executable(pid)
}

// selects reports whether a process that could be identified is selected.
func (s selector) selects(pid uint32) bool {
	line, err := procfs.Lineage(pid)
	if err != nil {
		return false
	}
	process := s.process(line)
	_, uncertain, ok := s.subject.Match(process)
	return ok && !uncertain && !process.Unknown // not on suspicion: what it does is judged
}
