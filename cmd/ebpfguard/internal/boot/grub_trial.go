package boot

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/change"
)

const (
	// trial is what the boot entry of a trial is called, for GRUB and for systemd-boot.
	trial = "ebpfguard-trial"
	// trialExtra makes a kernel that panics restart the machine, which then boots as before.
	trialExtra = "panic=30"
)

var entryHead = regexp.MustCompile(`^menuentry '[^']*' (.*)\$menuentry_id_option '[^']*' \{$`)

// try plans an entry of its own in custom.cfg, which grub.cfg reads, and GRUB's next_entry, which counts once.
func (g *grub) try() (*Plan, error) {
	config, err := g.read(g.config)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(config, "next_entry") || !strings.Contains(config, "custom.cfg") {
		return nil, g.noTrial(g.config + " has no support for an entry that counts once (next_entry and custom.cfg)")
	}
	reboot, probe := g.tool("grub-reboot", "grub2-reboot"), g.tool("grub-probe", "grub2-probe")
	if reboot == "" || probe == "" {
		return nil, g.noTrial("grub-reboot or grub-probe is not installed")
	}
	if err := g.forgets(probe); err != nil {
		return nil, err
	}
	if old, err := g.read(g.custom()); err == nil && !strings.HasPrefix(old, mark) {
		return nil, g.noTrial(g.custom() + " has entries of yours, and the one for the trial would have to go there")
	}
	entry, err := g.trialEntry(config)
	if err != nil {
		return nil, err
	}
	plan := &Plan{commands: []Command{{reboot, trial}}, undo: []Command{}}
	plan.verify = func() (string, error) { return onlyNext, nil }
	return plan, plan.add(g.change(g.custom(), mark+entry, 0o600))
}

// onlyNext says what a trial is, and what it is not.
const onlyNext = "the next boot, and only that, has the parameter. If the kernel panics, the machine restarts after 30 seconds and boots as before; " +
	"if it hangs, you have to reset it. When it works, run 'ebpfguard enable' to keep the parameter"

func (g *grub) noTrial(why string) error {
	return fmt.Errorf("a trial boot is not possible: %s; enable without --try changes every boot, and in GRUB's menu the parameter can be taken out with the key e", why)
}

// forgets fails where GRUB cannot write: there next_entry would count for every boot.
func (g *grub) forgets(probe string) error {
	dir := g.path(path.Dir(g.config))
	abstraction, err := g.Run(Command{probe, "--target=abstraction", dir})
	if err != nil {
		return err
	}
	system, err := g.Run(Command{probe, "--target=fs", dir})
	if err != nil {
		return err
	}
	system = strings.TrimSpace(system)
	if abstraction = strings.TrimSpace(abstraction); abstraction != "" {
		return g.noTrial("GRUB cannot write to " + path.Dir(g.config) + " at boot (it is on " + abstraction + "), so the trial would repeat for ever")
	}
	if !slices.Contains([]string{"ext2", "fat", "xfs"}, system) {
		return g.noTrial("GRUB cannot write to " + path.Dir(g.config) + " at boot (it is on " + system + "), so the trial would repeat for ever")
	}
	return nil
}

func (g *grub) custom() string { return path.Dir(g.config) + "/custom.cfg" }

// trialEntry returns a copy of the boot entry of the running kernel, with the parameter.
func (g *grub) trialEntry(config string) (string, error) {
	release, err := g.release()
	if err != nil {
		return "", err
	}
	var entry []string
	for _, line := range change.Lines(config) {
		if strings.HasPrefix(line, "menuentry ") { // those in submenus are indented
			entry = nil
		}
		entry = append(entry, line)
		if line != "}" || !entryHead.MatchString(entry[0]) {
			continue
		}
		for i, l := range entry {
			if !isLinux(l) || !strings.HasSuffix(strings.Fields(l)[1], "vmlinuz-"+release) {
				continue
			}
			current, set := parameter(l)
			list, err := g.wanted(current, set)
			if err != nil {
				return "", err
			}
			entry[0] = entryHead.ReplaceAllString(entry[0], "menuentry 'Trial of ebpfguard' ${1}$$menuentry_id_option '"+trial+"' {")
			entry[i] = withParameter(l, list) + " " + trialExtra
			return strings.Join(entry, "\n") + "\n", nil
		}
	}
	return "", g.noTrial("found no entry for the running kernel, " + release + ", at the top of the menu in " + g.config)
}

// removeTrial adds to the plan what ends a trial.
func (g *grub) removeTrial(plan *Plan) error {
	if text, err := g.read(g.custom()); err != nil || !strings.HasPrefix(text, mark) {
		return nil
	}
	environment := path.Dir(g.config) + "/grubenv"
	if text, err := g.read(environment); err == nil && strings.Contains(text, "next_entry="+trial+"\n") {
		plan.commands = append(plan.commands, Command{g.tool("grub-editenv", "grub2-editenv"), g.path(environment), "unset", "next_entry"})
	}
	return plan.add(g.removal(g.custom()))
}
