package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/change"
)

const kernelCmdline = "/etc/kernel/cmdline"

// kernelInstall is systemd-boot with entries, or unified kernel images, that kernel-install makes.
type kernelInstall struct {
	System
	program string
	kernels []kernel
}

// kernel is one that is installed, with its boot entry or unified image.
type kernel struct{ version, image, entry string }

func (s System) kernelInstall() (loader, error) {
	k := &kernelInstall{System: s, program: s.tool("kernel-install")}
	for _, dir := range s.glob("/lib/modules/*") {
		version := path.Base(dir)
		var entries []string
		for _, root := range []string{"/boot", "/efi", "/boot/efi"} {
			entries = append(entries, s.glob(root+"/loader/entries/*-"+version+".conf", root+"/loader/entries/*-"+version+"+*.conf",
				root+"/EFI/Linux/*-"+version+".efi", root+"/EFI/Linux/*-"+version+"+*.efi")...)
		}
		for _, image := range []string{"/lib/modules/" + version + "/vmlinuz", "/boot/vmlinuz-" + version} {
			if len(entries) > 0 && s.exists(image) {
				k.kernels = append(k.kernels, kernel{version, image, entries[0]})
				break
			}
		}
	}
	if k.program == "" || len(k.kernels) == 0 {
		return nil, unknown("systemd-boot boots this machine, but its entries were not made by kernel-install; change the line that begins with options, in the .conf files of loader/entries")
	}
	return k, nil
}

func (k *kernelInstall) name() string { return "systemd-boot, with entries made by kernel-install" }

func (k *kernelInstall) enable() (*Plan, error) {
	cmdline, err := k.cmdline()
	if err != nil {
		return nil, err
	}
	current, set := parameter(cmdline)
	list, err := k.wanted(current, set)
	if err != nil {
		return nil, err
	}
	plan := &Plan{commands: k.update(), verify: func() (string, error) { return k.verify(list) }}
	if set && current == list {
		if _, err := k.verify(list); err == nil {
			return k.already(list), nil
		}
		return plan, k.removeTrial(plan)
	}
	r := record{Is: list, Created: !k.exists(kernelCmdline)}
	if set {
		r.Was = &current
	}
	if err := plan.add(k.change(kernelCmdline, withParameter(cmdline, list), 0o644)); err != nil {
		return nil, err
	}
	if err := plan.add(k.remember(r)); err != nil {
		return nil, err
	}
	return plan, k.removeTrial(plan)
}

func (k *kernelInstall) disable() (*Plan, error) {
	plan := &Plan{}
	r, err := k.recall()
	if err != nil {
		return nil, err
	}
	if r != nil {
		cmdline, err := k.read(kernelCmdline)
		if err != nil {
			return nil, err
		}
		if current, _ := parameter(cmdline); current != r.Is {
			return nil, r.changed(kernelCmdline)
		}
		before := withoutParameter(cmdline, r.Is)
		if r.Was != nil {
			before = withParameter(cmdline, *r.Was)
		}
		f, err := k.change(kernelCmdline, before, 0o644)
		f.Remains = !r.Created
		if err := plan.add(f, err); err != nil {
			return nil, err
		}
		if err := plan.add(k.removal(recordFile)); err != nil {
			return nil, err
		}
		plan.commands = k.update()
	}
	if err := k.removeTrial(plan); err != nil {
		return nil, err
	}
	if len(plan.files) == 0 && len(plan.commands) == 0 {
		plan.Done = nothingToTakeBack
	}
	return plan, nil
}

// cmdline returns the command line of later boots, from the first place in which kernel-install finds one.
func (k *kernelInstall) cmdline() (string, error) {
	for _, name := range []string{kernelCmdline, "/usr/lib/kernel/cmdline"} {
		text, err := k.read(name)
		if !errors.Is(err, fs.ErrNotExist) {
			if strings.Count(strings.TrimSpace(text), "\n") > 0 {
				err = unknown(name + " has several lines")
			}
			return text, err
		}
	}
	running, err := k.read("/proc/cmdline")
	var words []string
	for _, word := range strings.Fields(running) {
		if !strings.HasPrefix(word, "BOOT_IMAGE=") && !strings.HasPrefix(word, "initrd=") {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ") + "\n", err
}

func (k *kernelInstall) update() []Command {
	var commands []Command
	for _, kernel := range k.kernels {
		commands = append(commands, Command{k.program, "add", kernel.version, kernel.image})
	}
	return commands
}

// verify looks for the parameter in the entries; a unified image holds its command line as plain text.
func (k *kernelInstall) verify(list string) (string, error) {
	for _, kernel := range k.kernels {
		text, err := k.read(kernel.entry)
		if err != nil {
			return "", err
		}
		if !strings.Contains(text, "lsm="+list) {
			return "", fmt.Errorf("%s does not have lsm=%s: look for what else sets the kernel command line, with bootctl list", kernel.entry, list)
		}
	}
	return fmt.Sprintf("%d of %d boot entries have lsm=%s", len(k.kernels), len(k.kernels), list), nil
}

// try plans a copy of the entry that is running, and systemd-boot's choice that counts once.
func (k *kernelInstall) try() (*Plan, error) {
	bootctl, id := k.tool("bootctl"), k.variable("LoaderEntrySelected")
	var entry string
	for _, root := range []string{"/boot", "/efi", "/boot/efi"} {
		if name := root + "/loader/entries/" + id; strings.HasSuffix(id, ".conf") && k.exists(name) {
			entry = name
		}
	}
	if bootctl == "" || entry == "" {
		return nil, noSystemdTrial("it needs bootctl and a .conf file of the entry that is running, which a unified kernel image does not have")
	}
	old, err := k.removal(entry) // for its text and its mode
	if err != nil {
		return nil, err
	}
	var text []string
	cmdline, sorted := "", false
	for _, line := range change.Lines(old.Before) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "title":
		case "sort-key":
			sorted = true
		case "options":
			cmdline += " " + value
			text = append(text, line)
		default:
			text = append(text, line)
		}
	}
	if !sorted {
		return nil, noSystemdTrial(entry + " has no sort-key, so nothing keeps a copy of it from becoming the default")
	}
	list, err := k.wanted(parameter(cmdline))
	if err != nil {
		return nil, err
	}
	text = append(text, "title Trial of ebpfguard", "sort-key zzzz-ebpfguard", "options lsm="+list+" "+trialExtra)
	plan := &Plan{commands: []Command{{bootctl, "set-oneshot", trial + ".conf"}}, undo: []Command{}}
	plan.verify = func() (string, error) { return onlyNext, nil }
	return plan, plan.add(k.change(path.Dir(entry)+"/"+trial+".conf", mark+strings.Join(text, "\n")+"\n", old.Mode))
}

func noSystemdTrial(why string) error {
	return fmt.Errorf("a trial boot is not possible: %s; enable without --try changes every boot, and in the menu of systemd-boot the parameter can be taken out with the key e", why)
}

// removeTrial adds to the plan what ends a trial. systemd-boot passes over a choice whose entry is gone.
func (k *kernelInstall) removeTrial(plan *Plan) error {
	for _, name := range k.glob("/boot/loader/entries/"+trial+".conf", "/efi/loader/entries/"+trial+".conf", "/boot/efi/loader/entries/"+trial+".conf") {
		if err := plan.add(k.removal(name)); err != nil {
			return err
		}
	}
	return nil
}
