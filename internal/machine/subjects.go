package machine

import (
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/policy"
)

// subject looks at the programs and control groups of a subject, which may have an
// exception from what others are denied.
func (m *Machine) subject(s policy.Subject, exception bool, f *findings) {
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
			f.add(fmt.Sprintf("%%s leads by a link to %s, so the subject is every process that runs that file, by whatever name it was started: if only this name is meant, put a copy of the program there", found.real), text)
		case found.state == there && found.linked:
			f.add(fmt.Sprintf("%%s leads by a link to %s: the subject is what runs from there, as the link leads now", found.real), text)
		}
		if exact && found.state == there && found.mode.IsRegular() {
			m.script(text, found.real, s, exception, f)
		}
	}
	for _, text := range s.Cgroups {
		m.cgroup(text, f)
	}
}

// startsAnother are programs that start another one in their own place: with one of
// them in the first line, a script is no longer what the process runs. Of env the
// guard knows (docs/semantics.md).
var startsAnother = []string{"busybox", "chroot", "chrt", "doas", "flock", "ionice", "nice", "nohup", "nsenter", "prlimit", "setarch", "setpriv", "setsid", "stdbuf", "sudo", "taskset", "unshare"}

// shells are interpreters of which exec starts a program in their own place.
var shells = []string{"ash", "bash", "dash", "ksh", "mksh", "sh", "zsh"}

// script says of a script whether the process that runs it goes on as another program,
// and what an exception for it is worth.
func (m *Machine) script(text, real string, s policy.Subject, exception bool, f *findings) {
	start := m.start(real)
	interpreter := interpreterOf(start)
	if interpreter == "" {
		return
	}
	if exception && len(s.Users.Ranges)+len(s.Users.Names)+len(s.Cgroups) == 0 {
		f.add("%s is a script, so the exception is one for every user who may start it: they choose the environment (PYTHONPATH, PATH), and with it what the script does; add users or cgroups to the subject", text)
	}
	if s.Descendants {
		return
	}
	const ends = "and is no longer the script: the subject does not select it; name that program, or add descendants: true"
	if name := path.Base(interpreter); slices.Contains(startsAnother, name) {
		f.add(fmt.Sprintf("%%s is a script that is run by %s: the process goes on as another program, %s", interpreter, ends), text)
	} else if line := execLine(start); slices.Contains(shells, name) && line > 0 {
		f.add(fmt.Sprintf("%%s is a shell script with exec (line %d): from there on the process runs another program, %s", line, ends), text)
	}
}

// execCall is an exec of a shell that starts a program, rather than one that only
// redirects.
var execCall = regexp.MustCompile(`^\s*exec\s+(-\S+\s+)*["'$/.~A-Za-z_]`)

// execLine returns the first line of a shell script that starts a program in its own
// place, 0 if none does.
func execLine(script string) int {
	n := 0
	for line := range strings.Lines(script) {
		if n++; execCall.MatchString(line) {
			return n
		}
	}
	return 0
}

// maxFirstLine is how much of a script's first line the kernel reads
// (BINPRM_BUF_SIZE), maxScript how much of a script is looked at.
const (
	maxFirstLine = 256
	maxScript    = 64 << 10
)

// start returns the beginning of a regular file, empty if it cannot be read.
func (m *Machine) start(real string) string {
	file, err := m.root.OpenRegular(real)
	if err != nil {
		return ""
	}
	defer file.Close()
	start, _ := io.ReadAll(io.LimitReader(file, maxScript))
	return string(start)
}

// interpreterOf returns what the first line of a script names, empty for what is none.
func interpreterOf(script string) string {
	rest, ok := strings.CutPrefix(script[:min(len(script), maxFirstLine)], "#!")
	if !ok {
		return ""
	}
	line, _, _ := strings.Cut(rest, "\n")
	fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == 0 })
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// cgroupRoots are where the hierarchy of version 2 is mounted.
var cgroupRoots = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// cgroup says that a control group does not exist.
func (m *Machine) cgroup(text string, f *findings) {
	if strings.ContainsAny(text, "*?") {
		return
	}
	for _, root := range cgroupRoots {
		if _, err := m.root.Stat(root + "/cgroup.controllers"); err != nil {
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
