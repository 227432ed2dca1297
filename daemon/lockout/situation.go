package lockout

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/daemon/mitigate"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Options say what is known of this machine. The zero value is useful.
type Options struct {
	// Caller is the process that asks for the policies; 0 for none.
	Caller uint32
	// Command is the program of the guard; that of this process if empty.
	Command string
	// Changes are files and directories that the guard must be able to change, Reads those that it
	// must be able to read. Those that are not there yet count by their names.
	Changes, Reads []string
	// Servers are what the guard must be able to connect to, from where new policies come.
	Servers []netip.AddrPort
	// Unidentified looks at nothing but the guard when it starts again, in a container of which nothing is known.
	Unidentified bool
	// Machine is what /proc does not tell.
	Machine mitigate.Machine
	// Places are where programs are looked for; those of this machine if nil.
	Places *Places
}

// Places are the programs by which people reach a machine.
type Places struct {
	// Remote and Local take logins; what is not there does not count.
	Remote, Local []string
	// Sessions are what Remote and Local start before the shell of a user.
	Sessions []string
	// Root makes users root.
	Root []string
	// Manager controls services.
	Manager []string
}

// DefaultPlaces are those of the usual distributions.
func DefaultPlaces() *Places {
	return &Places{
		Remote:   []string{"/usr/sbin/sshd", "/usr/sbin/dropbear"},
		Local:    []string{"/usr/sbin/agetty", "/sbin/agetty", "/sbin/getty"},
		Sessions: []string{"/usr/lib/openssh/sshd-session", "/usr/lib/openssh/sshd-auth", "/usr/libexec/openssh/sshd-session", "/usr/libexec/openssh/sshd-auth", "/usr/bin/login", "/bin/login"},
		Root:     []string{"/usr/bin/sudo", "/usr/bin/su", "/usr/bin/doas"},
		Manager:  []string{"/usr/bin/systemctl", "/bin/systemctl"},
	}
}

// Look finds out who must not be locked out.
func Look(o Options) (*Situation, error) {
	if o.Command == "" {
		var err error
		if o.Command, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find the program of the guard: %w", err)
		}
	}
	if o.Places == nil {
		o.Places = DefaultPlaces()
	}
	l := &look{Situation: Situation{files: newFiles()}, options: o, programs: map[place]program{}}
	if err := l.everybody(); err != nil {
		return nil, err
	}
	return &l.Situation, nil
}

// look is a situation that is being looked at.
type look struct {
	Situation
	options  Options
	programs map[place]program
	accounts accounts
}

func (l *look) everybody() error {
	l.accounts = readAccounts(hostroot.Host(), "/etc/passwd")
	init, err := l.running(1, "process 1", true)
	if err != nil {
		return err
	}
	if l.options.Unidentified {
		l.needs = nil
		init.root = nil
		init.process.Unidentified, init.process.Containers = true, nil
		if next, ok := l.start(init, l.options.Command, "the guard when it starts again, and nobody knows its container", ""); ok {
			l.guardFiles(next)
		}
		return nil
	}
	own, err := procfs.Lineage(uint32(os.Getpid()))
	if err != nil {
		return fmt.Errorf("find the ancestors of this process: %w", err)
	}
	living := map[uint32]bool{1: true}
	for i, p := range own {
		if living[p.PID] {
			continue
		}
		living[p.PID] = true
		name := "the guard"
		if i > 0 {
			name = "an ancestor of the guard"
		}
		if _, err := l.running(p.PID, name, i == 0); err != nil {
			return err
		}
	}
	if self, _, err := l.actorOf(uint32(os.Getpid()), "the guard"); err == nil {
		self.root = nil
		l.guardFiles(self)
	}
	starter := init
	starter.root = nil // of a container its runtime starts the guard, in there
	if next, ok := l.start(starter, l.options.Command, "the guard when it starts again", "/system.slice/ebpfguard.service"); ok {
		l.guardFiles(next)
	}
	if err := l.caller(living); err != nil {
		return err
	}
	l.logins(init)
	return nil
}

// running adds a process that runs and must not be killed.
func (l *look) running(pid uint32, name string, vital bool) (actor, error) {
	a, comm, err := l.actorOf(pid, name)
	if err != nil {
		return a, fmt.Errorf("find process %d: %w", pid, err)
	}
	a.name, a.vital = fmt.Sprintf("%s (%s)", name, comm), vital
	a.process.Unknown, a.process.Unidentified = false, false // nothing is refused on suspicion here
	if a.process.Binary != "" {
		l.file(a, "reading its own program", a.process.Binary, policy.Read, need{killOnly: true})
	}
	l.file(a, "using /dev/null", "/dev/null", policy.Read|policy.Write, need{killOnly: true})
	return a, nil
}

func (l *look) actorOf(pid uint32, name string) (actor, string, error) {
	described, process, err := l.options.Machine.LookUp(pid)
	if err != nil {
		return actor{}, "", err
	}
	return actor{name: name, process: process, root: hostroot.Host()}, described.GetComm(), nil
}

// file adds that an actor must be able to use a file.
func (l *look) file(a actor, what, path string, access policy.Access, as need) {
	real := path
	if resolved, err := a.root.EvalSymlinks(path); err == nil {
		real = resolved
	} else if folder, err := a.root.EvalSymlinks(filepath.Dir(path)); err == nil { // it may come
		real = filepath.Join(folder, filepath.Base(path))
	}
	l.files.add(a.root, real)
	as.actor, as.what, as.operation, as.object = a, what, policy.FileOpen, policy.File{Names: policy.Names{Path: real}, Access: access}
	l.needs = append(l.needs, as)
}

// runs adds that an actor must be able to start a program, or to load a library of it.
func (l *look) runs(a actor, what, path string, as need) {
	l.files.add(a.root, path)
	as.actor, as.what, as.operation, as.object = a, what, policy.BprmCheckSecurity, policy.Program{Names: policy.Names{Path: path}}
	l.needs = append(l.needs, as)
}

// program returns what is known of a program.
func (l *look) program(root *hostroot.Root, path string) (program, bool) {
	at := place{root, path}
	if p, ok := l.programs[at]; ok {
		return p, p.path != ""
	}
	p, ok := lookUp(root, path)
	l.programs[at] = p
	return p, ok
}

// place is a path below a root directory.
type place struct {
	root *hostroot.Root
	path string
}

// start adds that one process must be able to start a program, and that to load what it needs. It
// returns the process that runs it then; false if there is no such program.
func (l *look) start(by actor, path, name, cgroup string) (actor, bool) {
	p, ok := l.program(by.root, path)
	if !ok {
		return actor{}, false
	}
	child := actor{name: name, root: by.root, process: policy.Process{
		Binary: p.path, Ancestors: slices.Concat([]string{by.process.Binary}, by.process.Ancestors),
		IDs: by.process.IDs, UID: by.process.UID, Cgroup: by.process.Cgroup, Containers: by.process.Containers,
		Unidentified: by.process.Unidentified,
	}}
	if cgroup != "" {
		child.process.Cgroup = cgroup
	}
	what := "starting " + p.path
	for i, file := range slices.Concat([]string{p.path}, p.interpreters) {
		if i > 0 {
			what = "starting " + p.path + ", which needs " + file
		}
		l.runs(by, what, file, need{})
		l.file(by, what, file, policy.Exec, need{})
	}
	if len(p.libraries) > 0 {
		l.file(child, "loading libraries (/etc/ld.so.cache)", "/etc/ld.so.cache", policy.Read, need{})
	}
	for _, library := range p.libraries {
		what := "loading " + library
		l.runs(child, what, library, need{named: true})
		l.file(child, what, library, policy.Read|policy.Exec, need{})
	}
	return child, true
}

// guardFiles adds what the guard must be able to do with its own files.
func (l *look) guardFiles(a actor) {
	for _, path := range l.options.Changes {
		if path != "" {
			l.file(a, "changing "+path, path, policy.Read|policy.Write, need{})
		}
	}
	for _, path := range l.options.Reads {
		if path != "" {
			l.file(a, "reading "+path, path, policy.Read, need{})
		}
	}
	for _, at := range l.options.Servers {
		l.needs = append(l.needs, need{
			actor: a, what: fmt.Sprintf("connecting to %v, from where policies come", at), operation: policy.SocketConnect,
			object: policy.Socket{Address: at.Addr(), Port: at.Port(), Protocol: policy.TCP},
		})
	}
}

// shells are the programs, by the last part of their paths, in which people type commands.
var shells = []string{"sh", "bash", "dash", "zsh", "fish", "ksh", "mksh", "tcsh", "csh", "ash", "busybox"}

// caller adds the process that asks, with what it descends from.
func (l *look) caller(known map[uint32]bool) error {
	if l.options.Caller == 0 {
		return nil
	}
	line, err := procfs.Lineage(l.options.Caller)
	if err != nil {
		return nil //nolint:nilerr // it has ended, and what it descends from cannot be found
	}
	for i, p := range line {
		if known[p.PID] || p.Kernel {
			continue
		}
		a, err := l.running(p.PID, fmt.Sprintf("process %d, through which you work", p.PID), false)
		if err != nil {
			continue // it has ended meanwhile
		}
		l.connections(a, p.PID)
		if base := filepath.Base(a.process.Binary); i != 1 && !slices.Contains(shells, base) {
			continue
		}
		if terminal, err := os.Readlink(procfs.Path(p.PID, "fd/0")); err == nil && (strings.HasPrefix(terminal, "/dev/pts/") || strings.HasPrefix(terminal, "/dev/tty")) {
			l.file(a, "using its terminal "+terminal, terminal, policy.Read|policy.Write, need{})
		}
		l.commands(a)
	}
	return nil
}

// commands adds the commands with which policies are taken back.
func (l *look) commands(shell actor) {
	if shell.process.UID == 0 {
		l.start(shell, l.options.Command, "the guard's command", "")
		for _, path := range l.options.Places.Manager {
			l.start(shell, path, "systemctl", "")
		}
		return
	}
	user := l.accounts.user(shell.process.UID)
	for _, path := range l.options.Places.Root {
		child, ok := l.start(shell, path, filepath.Base(path), "")
		if !ok {
			continue
		}
		l.becomes(shell, &child, user, 0)
		child.process.UID = 0
		l.start(child, l.options.Command, "the guard's command", "")
		return // the first one that there is will do
	}
}

// becomes adds that a process of a user must be able to take another's id.
func (l *look) becomes(a actor, or *actor, from account, to uint32) {
	l.needs = append(l.needs, need{
		actor: a, or: or, what: fmt.Sprintf("becoming user %d", to), operation: policy.TaskFixSetuid,
		object: policy.Credentials{FromUID: from.uid, FromGID: from.gid, To: to},
	})
}

// logins adds that people must be able to log in.
func (l *look) logins(init actor) {
	starter := init
	if executor, ok := l.start(init, "/usr/lib/systemd/systemd-executor", "systemd-executor", ""); ok {
		starter = executor
	}
	for _, way := range []struct {
		paths  []string
		cgroup string
	}{{l.options.Places.Remote, "/system.slice/ssh.service"}, {l.options.Places.Local, "/system.slice/system-getty.slice/getty@tty1.service"}} {
		seen := map[string]bool{}
		for _, path := range way.paths {
			p, ok := l.program(starter.root, path)
			if !ok || seen[p.path] {
				continue
			}
			seen[p.path] = true
			server, _ := l.start(starter, path, path, way.cgroup)
			l.open(server)
			l.serve(server, filepath.Base(path))
		}
	}
}

// open adds the sockets that running processes of a program have open.
func (l *look) open(server actor) {
	all, err := procfs.Processes()
	if err != nil {
		return
	}
	for _, p := range all {
		if p.PPID == 1 && procfs.Executable(p.PID) == server.process.Binary {
			l.connections(server, p.PID)
		}
	}
}

// serve adds what a program needs that lets people log in.
func (l *look) serve(server actor, base string) {
	l.file(server, "using /dev/null", "/dev/null", policy.Read|policy.Write, need{})
	for _, path := range []string{"/etc/passwd", "/etc/ssh/sshd_config", "/etc/pam.d/sshd", "/etc/pam.d/login"} {
		of := filepath.Base(filepath.Dir(path)) == "etc" || strings.HasSuffix(path, "login") == strings.HasSuffix(base, "getty")
		if _, err := server.root.Stat(path); err == nil && of {
			l.file(server, "reading "+path, path, policy.Read, need{})
		}
	}
	local := strings.HasSuffix(base, "getty")
	if !local {
		l.file(server, "using /dev/ptmx", "/dev/ptmx", policy.Read|policy.Write, need{})
		l.start(server, server.process.Binary, server.name, "")
		if helper, ok := l.accounts.named(base); ok {
			l.becomes(server, nil, account{}, helper.uid)
		}
	}
	last := server
	for _, path := range l.options.Places.Sessions {
		if strings.HasSuffix(path, "/login") != local {
			continue
		}
		if next, ok := l.start(last, path, path, ""); ok && !strings.HasSuffix(path, "auth") {
			last = next
		}
	}
	seen := map[uint32]bool{}
	for _, user := range l.accounts.people(l.options.Caller, administrators(hostroot.Host(), "/etc/group")) {
		if seen[user.uid] {
			continue
		}
		seen[user.uid] = true
		session := last
		if user.uid != 0 {
			l.becomes(last, nil, account{}, user.uid)
		}
		session.process.UID = user.uid
		shell, ok := l.start(session, user.shell, fmt.Sprintf("a shell of %s after a login by %s", user.name, base), fmt.Sprintf("/user.slice/user-%d.slice/session-1.scope", user.uid))
		if ok {
			l.commands(shell)
		}
	}
}
