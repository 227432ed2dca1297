package lockout

import (
	"bufio"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
)

// account is a line of /etc/passwd.
type account struct {
	name, shell string
	uid, gid    uint32
}

type accounts []account

// readAccounts reads passwd(5); what is wrong with it is left out.
func readAccounts(root *hostroot.Root, path string) accounts {
	file, err := root.OpenRegular(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	var all accounts
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 7 {
			continue
		}
		uid, err1 := strconv.ParseUint(fields[2], 10, 32)
		gid, err2 := strconv.ParseUint(fields[3], 10, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		all = append(all, account{fields[0], fields[6], uint32(uid), uint32(gid)})
	}
	return all
}

// user returns the account with a number, which may have no line.
func (a accounts) user(uid uint32) account {
	if i := slices.IndexFunc(a, func(x account) bool { return x.uid == uid }); i >= 0 {
		return a[i]
	}
	return account{uid: uid, gid: uid}
}

func (a accounts) named(name string) (account, bool) {
	i := slices.IndexFunc(a, func(x account) bool { return x.name == name })
	if i < 0 {
		return account{}, false
	}
	return a[i], true
}

// firstPerson is the least number of a person's account, see useradd(8).
const firstPerson = 1000

// people returns who logs in to mend things: root, who asks, and who may become root.
func (a accounts) people(caller uint32, administrators []string) []account {
	root := a.user(0)
	if root.shell == "" {
		root.name, root.shell = "root", "/bin/sh"
	}
	all := []account{root}
	line, _ := procfs.Lineage(caller)
	for _, p := range line {
		if uid, ok := procfs.User(p.PID); ok && uid >= firstPerson {
			if user := a.user(uid); canLogIn(user) {
				all = append(all, user)
			}
		}
	}
	for _, name := range administrators {
		if user, ok := a.named(name); ok && canLogIn(user) {
			all = append(all, user)
		}
	}
	return all
}

// administrators returns the members of the groups that sudo(8) lets become root by default.
func administrators(root *hostroot.Root, path string) []string {
	data, err := root.ReadFile(path)
	if err != nil {
		return nil
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) == 4 && slices.Contains([]string{"sudo", "wheel", "admin"}, fields[0]) && fields[3] != "" {
			names = append(names, strings.Split(fields[3], ",")...)
		}
	}
	return names
}

func canLogIn(a account) bool {
	return a.shell != "" && !slices.Contains([]string{"nologin", "false", "true"}, filepath.Base(a.shell))
}
