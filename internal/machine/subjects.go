package machine

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/ebpfguard/ebpfguard/policy"
)

// subject looks at the programs and control groups of a subject.
func (m *Machine) subject(s policy.Subject, f *findings) {
	for _, text := range s.Binaries {
		found, literal, ok := m.path(text, f)
		if !ok {
			continue
		}
		exact := !strings.HasSuffix(text, "/") && literal == text
		switch {
		case isDirectory(text, literal, found):
			f.add(directoryText(text, "no process runs a directory"), text)
		case found.state == absent:
			m.absent(text, literal, found, "a subject", f)
		case found.state == there && found.linked && exact:
			f.add(fmt.Sprintf("%%s leads by a link to %s, so the subject is every process that runs that file, by whatever name it was started: if only this name is meant, put a copy of the program there; apply the policy again when the link has changed", found.real), text)
		case found.state == there && found.linked:
			f.add(fmt.Sprintf("%%s leads by a link to %s: the subject is what runs from there, as it is when the policy is applied; apply it again when the link has changed", found.real), text)
		}
		if exact && found.state == there && found.mode.IsRegular() && !s.Descendants {
			m.script(text, found.real, f)
		}
	}
	for _, text := range s.Cgroups {
		m.cgroup(text, f)
	}
}

// script says of a script what its first line does to a subject.
func (m *Machine) script(text, real string, f *findings) {
	interpreter, argument := m.interpreter(real)
	if path.Base(interpreter) != "env" {
		return
	}
	for _, word := range strings.Fields(argument) {
		if !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
			argument = word
			break
		}
	}
	f.add(fmt.Sprintf("%%s is a script that is run by %s, which starts %s anew: that process runs %s, and no longer the script, so the subject does not select it; name the interpreter in the first line by its path, or add descendants: true", interpreter, argument, argument), text)
}

// maxFirstLine is how much of a script's first line the kernel reads
// (BINPRM_BUF_SIZE).
const maxFirstLine = 256

// interpreter returns what the first line of a script names, empty for what is none.
func (m *Machine) interpreter(real string) (interpreter, argument string) {
	file, err := os.OpenFile(m.root+real, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return "", ""
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", ""
	}
	start := make([]byte, maxFirstLine)
	n, _ := io.ReadFull(file, start)
	line, _, _ := strings.Cut(string(start[:n]), "\n")
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return "", ""
	}
	interpreter, argument, _ = strings.Cut(strings.TrimLeft(rest, " \t"), " ")
	return strings.TrimSpace(interpreter), strings.TrimSpace(argument)
}

// cgroupRoots are where the hierarchy of version 2 is mounted.
var cgroupRoots = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// cgroup says that a control group does not exist.
func (m *Machine) cgroup(text string, f *findings) {
	if strings.ContainsAny(text, "*?") {
		return
	}
	for _, root := range cgroupRoots {
		if _, err := os.Stat(m.root + root + "/cgroup.controllers"); err != nil {
			continue
		}
		found := m.look(path.Join(root, text))
		if found.state != absent {
			return
		}
		if meant := m.meant(path.Join(root, text), found); meant != "" {
			f.add(fmt.Sprintf("on this machine there is no cgroup %%s; did you mean %s?", strings.TrimPrefix(meant, root)), text)
		} else {
			f.add("on this machine there is no cgroup %s now; correct it, unless it comes later or the policy is for another machine", text)
		}
		return
	}
}
