// Package boot puts bpf into the kernel's parameter lsm= of the next boots, and takes it out again. It
// knows GRUB, boot entries that grubby manages, and systemd-boot with kernel-install; it refuses
// everything else. All it reads and writes is below one folder, so tests need no machine to break.
package boot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// System is the machine whose boot is changed.
type System struct {
	// Root is its root directory.
	Root string
	// Run runs a program and returns what it wrote to its standard output.
	Run func(command Command) (string, error)
	// Modules are the active security modules, nil when nobody knows them.
	Modules []string
}

// Command is a program, by its path, and its arguments.
type Command []string

func (c Command) String() string {
	words := slices.Clone(c)
	for i, word := range words {
		if word == "" || strings.ContainsAny(word, " $\"") {
			words[i] = "'" + word + "'"
		}
	}
	return strings.Join(words, " ")
}

// loader is a way to set the parameters of the kernel.
type loader interface {
	name() string
	enable() (*Plan, error)
	disable() (*Plan, error)
	// try plans one boot with the parameter, after which the machine boots as before.
	try() (*Plan, error)
}

// Enable plans the change after which every boot has bpf in lsm=.
func (s System) Enable() (*Plan, error) {
	if plan := s.byItself(); plan != nil {
		return plan, nil
	}
	plan, err := s.plan(loader.enable)
	return plan, s.byHand(err)
}

// Try plans one boot with bpf in lsm=.
func (s System) Try() (*Plan, error) {
	if slices.Contains(s.Modules, "bpf") {
		return &Plan{Done: "the bpf security module is active already, so there is nothing to try"}, nil
	}
	if plan, err := s.Enable(); err != nil || plan.Done != "" {
		return plan, err
	}
	return s.plan(loader.try)
}

// Disable plans what takes back Enable and Try.
func (s System) Disable() (*Plan, error) { return s.plan(loader.disable) }

// byHand adds to ErrUnknown what the user can do.
func (s System) byHand(err error) error {
	if !errors.Is(err, ErrUnknown) {
		return err
	}
	list, unknown := s.wanted("", false)
	if unknown != nil {
		return fmt.Errorf("%w; %w", err, unknown)
	}
	return fmt.Errorf("%w; by hand, add lsm=%s to the kernel command line (if it has lsm= already, add ,bpf there) and restart the machine", err, list)
}

func (s System) plan(step func(loader) (*Plan, error)) (*Plan, error) {
	l, err := s.loader()
	if err != nil {
		return nil, err
	}
	plan, err := step(l)
	if err != nil {
		return nil, err
	}
	plan.Loader = l.name()
	return plan, nil
}

// byItself returns the plan of a kernel that has bpf among its modules without lsm=, else nil.
func (s System) byItself() *Plan {
	cmdline, err := s.read("/proc/cmdline")
	if _, set := parameter(cmdline); err != nil || set || !slices.Contains(s.Modules, "bpf") {
		return nil
	}
	return &Plan{Done: "the bpf security module is active, and this kernel needs no parameter for that: nothing to do"}
}

// already is the plan when the next boots have the parameter.
func (s System) already(list string) *Plan {
	if slices.Contains(s.Modules, "bpf") {
		return &Plan{Done: "the bpf security module is active, and the next boots have lsm=" + list + ": nothing to do"}
	}
	return &Plan{Done: "the next boots have lsm=" + list + " already: restart the machine, then run 'ebpfguard check'"}
}

// wanted returns the value of lsm= that the next boot needs: the one of the boot loader's configuration
// with bpf at its end, else the modules that are active now, else those that the kernel was built with.
func (s System) wanted(configured string, set bool) (string, error) {
	modules := s.Modules
	if set {
		if modules = strings.Split(configured, ","); slices.Contains(modules, "bpf") {
			return configured, nil
		}
	} else if modules == nil {
		var err error
		if modules, err = s.builtIn(); err != nil {
			return "", err
		}
	}
	modules = slices.DeleteFunc(slices.Clone(modules), func(m string) bool { return m == "" })
	if !slices.Contains(modules, "bpf") {
		modules = append(modules, "bpf")
	}
	list := strings.Join(modules, ",")
	if !moduleList.MatchString(list) {
		return "", fmt.Errorf("%q is no list of security modules; set lsm= of the kernel command line by hand", list)
	}
	return list, nil
}

// builtIn returns CONFIG_LSM of the running kernel.
func (s System) builtIn() ([]string, error) {
	release, err := s.release()
	if err != nil {
		return nil, err
	}
	for _, path := range []string{"/boot/config-" + release, "/lib/modules/" + release + "/config"} {
		config, err := s.read(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(config) {
			if list, ok := strings.CutPrefix(strings.TrimSpace(line), "CONFIG_LSM="); ok {
				return strings.Split(strings.Trim(list, `"`), ","), nil
			}
		}
	}
	return nil, errors.New("the active security modules are not known; mount securityfs (mount -t securityfs securityfs /sys/kernel/security)")
}

func (s System) release() (string, error) {
	release, err := s.read("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(release), err
}

func (s System) path(name string) string { return filepath.Join(s.Root, name) }

func (s System) read(name string) (string, error) {
	data, err := os.ReadFile(s.path(name))
	return string(data), err
}

func (s System) exists(name string) bool {
	_, err := os.Stat(s.path(name))
	return err == nil
}

// glob returns the files of the system that match the patterns.
func (s System) glob(patterns ...string) []string {
	var names []string
	for _, pattern := range patterns {
		found, _ := filepath.Glob(s.path(pattern)) // the one error is a wrong pattern
		for _, name := range found {
			names = append(names, "/"+strings.TrimPrefix(strings.TrimPrefix(name, s.Root), "/"))
		}
	}
	return names
}

// tool returns the path of the first of the programs that is installed, else "".
func (s System) tool(names ...string) string {
	for _, name := range names {
		for _, dir := range []string{"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"} {
			if s.exists(dir + name) {
				return dir + name
			}
		}
	}
	return ""
}
