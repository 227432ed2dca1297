package boot

import (
	"errors"
	"fmt"
	"strings"
)

// mark begins every file and part of a file that this package writes for a boot loader.
const mark = "# Written by 'ebpfguard enable'; 'ebpfguard disable' removes it.\n"

// markEnd ends a part of a file.
const markEnd = "# End of what 'ebpfguard enable' wrote.\n"

const (
	grubSettings = "/etc/default/grub"
	grubDropIn   = "/etc/default/grub.d/ebpfguard.cfg"
)

// grub is GRUB with a configuration that grub-mkconfig writes.
type grub struct {
	System
	config string
	update Command
	// dropIns says that grub-mkconfig reads /etc/default/grub.d. Debian's and Ubuntu's do.
	dropIns bool
}

func (s System) grub(config string) (loader, error) {
	mkconfig := s.tool("grub-mkconfig", "grub2-mkconfig")
	if mkconfig == "" {
		return nil, unknown("GRUB boots this machine, but grub-mkconfig is not installed")
	}
	text, err := s.read(config)
	if err != nil {
		return nil, err
	}
	if strings.Contains(text, "blscfg") {
		return nil, unknown("GRUB reads boot entries of its own here (blscfg), which only grubby can change, and grubby is not installed")
	}
	script, err := s.read(mkconfig)
	if err != nil {
		return nil, err
	}
	g := &grub{System: s, config: config, dropIns: strings.Contains(script, "/default/grub.d/*.cfg"), update: Command{mkconfig, "-o", config}}
	if update := s.tool("update-grub"); update != "" && config == "/boot/grub/grub.cfg" {
		g.update = Command{update}
	}
	if !g.dropIns && !s.exists(grubSettings) {
		return nil, unknown("GRUB boots this machine, but there is no " + grubSettings)
	}
	return g, nil
}

func (g *grub) name() string { return "GRUB" }

func (g *grub) enable() (*Plan, error) {
	normal, all, err := g.settings()
	if err != nil {
		return nil, err
	}
	// Of the two, GRUB puts the variable for normal boots last, so what is set there counts.
	variable, configured := "GRUB_CMDLINE_LINUX", all
	if _, set := parameter(normal); set {
		variable, configured = "GRUB_CMDLINE_LINUX_DEFAULT", normal
	}
	current, set := parameter(configured)
	list, err := g.wanted(current, set)
	if err != nil {
		return nil, err
	}
	plan := &Plan{commands: []Command{g.update}, verify: func() (string, error) { return g.verify(list) }}
	if namesBPF(configured) {
		if _, err := g.verify(list); err == nil {
			return g.already(list), nil
		}
	} else if err := g.write(plan, fmt.Sprintf("%s=\"$%s lsm=%s\"\n", variable, variable, list)); err != nil {
		return nil, err
	}
	return plan, g.removeTrial(plan)
}

// write adds the line to GRUB's settings. It goes at their end, where no other line changes it.
func (g *grub) write(plan *Plan, line string) error {
	if g.dropIns {
		return plan.add(g.change(grubDropIn, mark+line, 0o644))
	}
	settings, err := g.read(grubSettings)
	if err != nil {
		return err
	}
	if settings, _, err = withoutBlock(settings); err != nil {
		return err
	}
	if !strings.HasSuffix(settings, "\n") {
		settings += "\n"
	}
	return plan.add(g.change(grubSettings, settings+mark+line+markEnd, 0o644))
}

func (g *grub) disable() (*Plan, error) {
	plan := &Plan{}
	if text, err := g.read(grubDropIn); err == nil {
		if !strings.HasPrefix(text, mark) {
			return nil, fmt.Errorf("%s was not written by 'ebpfguard enable'; look into it and remove it by hand", grubDropIn)
		}
		if err := plan.add(g.removal(grubDropIn)); err != nil {
			return nil, err
		}
	}
	if settings, err := g.read(grubSettings); err == nil {
		rest, found, err := withoutBlock(settings)
		if err != nil {
			return nil, err
		}
		if found {
			if err := plan.add(g.change(grubSettings, rest, 0o644)); err != nil {
				return nil, err
			}
		}
	}
	if len(plan.files) > 0 {
		plan.commands = []Command{g.update}
	}
	if err := g.removeTrial(plan); err != nil {
		return nil, err
	}
	if len(plan.files) == 0 && len(plan.commands) == 0 {
		plan.Done = nothingToTakeBack
	}
	return plan, nil
}

// nothingToTakeBack is what Disable says on a machine that Enable did not change.
const nothingToTakeBack = "'ebpfguard enable' changed nothing here that could be taken back"

// withoutBlock returns settings without the lines that this package wrote.
func withoutBlock(settings string) (rest string, found bool, err error) {
	before, after, found := strings.Cut(settings, mark)
	if !found {
		return settings, false, nil
	}
	_, after, complete := strings.Cut(after, markEnd)
	if !complete || strings.Contains(after, mark) {
		return "", false, fmt.Errorf("%s: the lines of 'ebpfguard enable' were changed since; remove them by hand", grubSettings)
	}
	return before + after, true, nil
}

// settingsScript reads GRUB's settings as grub-mkconfig does: they are shell scripts.
const settingsScript = `{ test ! -f "$1" || . "$1"
for x in "$2"/*.cfg; do test ! -e "$x" || . "$x"; done; } >&2
printf '%s\n%s\n' "$GRUB_CMDLINE_LINUX_DEFAULT" "$GRUB_CMDLINE_LINUX"`

// settings returns the parameters for normal boots, and those for all.
func (g *grub) settings() (normal, all string, err error) {
	dir := "/none"
	if g.dropIns {
		dir = g.path("/etc/default/grub.d")
	}
	out, err := g.Run(Command{"/bin/sh", "-e", "-c", settingsScript, "sh", g.path(grubSettings), dir})
	if err != nil {
		return "", "", fmt.Errorf("reading %s failed: %w", grubSettings, err)
	}
	normal, all, _ = strings.Cut(out, "\n")
	return normal, strings.TrimSuffix(all, "\n"), nil
}

// verify counts the boot entries that have the parameter. Those of other systems need not have it.
func (g *grub) verify(list string) (string, error) {
	text, err := g.read(g.config)
	if err != nil {
		return "", err
	}
	have, all := 0, 0
	for line := range strings.Lines(text) {
		if !isLinux(line) {
			continue
		}
		all++
		if found, _ := parameter(line); found == list {
			have++
		}
	}
	if have == 0 {
		return "", errors.New("no boot entry in " + g.config + " has lsm=" + list + ": look for what else sets lsm=, in " + grubSettings + ", /etc/default/grub.d and /etc/grub.d")
	}
	return fmt.Sprintf("%d of %d boot entries in %s have lsm=%s", have, all, g.config, list), nil
}

// isLinux reports whether a line of grub.cfg loads a Linux kernel.
func isLinux(line string) bool {
	fields := strings.Fields(line)
	return len(fields) > 1 && (fields[0] == "linux" || fields[0] == "linuxefi" || fields[0] == "linux16")
}
