package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// appArmor measures the workloads in a profile of AppArmor, which the kernel was
// booted with.
func appArmor(wanted func(string) bool) {
	for _, rules := range []int{10, 1000} {
		name := fmt.Sprintf("AppArmor, %d rules", rules)
		if !wanted(name) {
			continue
		}
		start := time.Now()
		// Without -O the parser simplifies expressions first, which makes the
		// same automaton and takes emulated guests minutes.
		parser := exec.Command("apparmor_parser", "--replace", "--skip-cache", "-O", "no-expr-simplify")
		parser.Stdin = strings.NewReader(profile(rules))
		if out, err := parser.CombinedOutput(); err != nil {
			fatal(fmt.Errorf("%s: %w: %s", name, err, out))
		}
		fmt.Fprintf(os.Stderr, "# %s loaded in %d million instructions\n", name, time.Since(start).Milliseconds())
		concerned := workload.always
		if rules > 10 {
			concerned = workload.calm
		}
		measure(name, concerned)
	}
}

// profile is AppArmor's of the workload: so many rules that match nothing that it
// does, and what lets it do all that. The parser takes mediation of the network
// from the abi.
func profile(rules int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "abi <abi/3.0>,\nprofile bench %s {\n  file,\n  network,\n  capability,\n  mount,\n  umount,\n", workloadPath)
	for i := range rules {
		fmt.Fprintf(&b, "  deny /srv/%d/data/%d rwx,\n", i%100, i)
	}
	b.WriteString("}\n")
	return b.String()
}

// landlock confines this process by a ruleset of Landlock and then executes the
// command in its place. That a file system is mounted cannot be allowed.
func landlock(command []string) {
	// The ruleset concerns one thread and what it executes.
	runtime.LockOSThread()
	must(errors.Join(restrict(), unix.Exec(command[0], command, os.Environ())))
}

// haveLandlock reports whether the kernel was built and booted with Landlock.
func haveLandlock() bool { return landlockVersion() > 0 }

func landlockVersion() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}

// landlockRulePort is LANDLOCK_RULE_NET_PORT, which x/sys lacks.
const landlockRulePort = 2

// restrict applies ten rules of files, and ten of ports where the kernel judges
// these: some let the workload do what it does, the others match nothing.
func restrict() error {
	ruleset := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1}
	size := unsafe.Sizeof(ruleset.Handled_access_fs)
	if landlockVersion() >= 4 {
		ruleset.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size += unsafe.Sizeof(ruleset.Handled_access_net)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&ruleset)), size, 0)
	if errno != 0 {
		return fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	const file = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE
	paths := map[string]uint64{
		dir: ruleset.Handled_access_fs, bound: ruleset.Handled_access_fs, overlaid: ruleset.Handled_access_fs, workloadPath: file,
	}
	for i := len(paths); i < 10; i++ {
		path := filepath.Join("/srv", fmt.Sprint(i))
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		paths[path] = file
	}
	for path, access := range paths {
		if err := addPath(fd, path, access); err != nil {
			return fmt.Errorf("landlock_add_rule %s: %w", path, err)
		}
	}
	for _, port := range []uint64{9, 8080, 8081, 20_002, 20_003, 20_004, 20_005, 20_006, 20_007, 20_008} {
		rule := struct{ access, port uint64 }{ruleset.Handled_access_net, port}
		_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, fd, landlockRulePort, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
		if errno != 0 && rule.access != 0 {
			return fmt.Errorf("landlock_add_rule of port %d: %w", port, errno)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("landlock_restrict_self: %w", errno)
	}
	return unix.Close(int(fd))
}

func addPath(ruleset uintptr, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
