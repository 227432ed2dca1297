package policy

import (
	"fmt"
)

// The flags of explain that describe a process.
var (
	flagBinary         = &Flag{Name: "binary", Usage: "process: the `path` of its program; by default one that no policy names", NotUnknown: true}
	flagScript         = &Flag{Name: "script", Usage: "process: the `path` of the script that the program runs", NotUnknown: true}
	flagAncestor       = &Flag{Name: "ancestor", Usage: "process: the `path` of a program or script that it descends from (can be repeated)", Form: FlagRepeated, NotUnknown: true}
	flagUID            = &Flag{Name: "uid", Usage: "process: its real user, a `name` or number", Default: "0"}
	flagCgroup         = &Flag{Name: "cgroup", Usage: "process: the `path` of its control group, such as /system.slice/nginx.service", NotUnknown: true}
	flagContainer      = &Flag{Name: "container", Usage: "process: the `name` of the container that it is in", NotUnknown: true}
	flagContainerID    = &Flag{Name: "container-id", Usage: "process: the `id` of that container", NotUnknown: true}
	flagImage          = &Flag{Name: "image", Usage: "process: that container's image, a `reference` such as nginx:1.27", NotUnknown: true}
	flagLabel          = &Flag{Name: "label", Usage: "process: a label of that container, as `KEY=VALUE` (can be repeated)", Form: FlagRepeated, NotUnknown: true}
	flagRuntime        = &Flag{Name: "runtime", Usage: "process: the `runtime` of that container, such as containerd", NotUnknown: true}
	flagPod            = &Flag{Name: "pod", Usage: "process: the Kubernetes pod of that container, as `NAMESPACE/NAME`", NotUnknown: true}
	flagPodLabel       = &Flag{Name: "pod-label", Usage: "process: a label of that pod, as `KEY=VALUE` (can be repeated)", Form: FlagRepeated, NotUnknown: true}
	flagServiceAccount = &Flag{Name: "service-account", Usage: "process: the `name` of that pod's service account", NotUnknown: true}
	flagOwner          = &Flag{Name: "owner", Usage: "process: what controls that pod, as `KIND/NAME` such as Deployment/web (can be repeated)", Form: FlagRepeated, NotUnknown: true}
	flagUnidentified   = &Flag{Name: "unidentified", Usage: "process: it is in a container of which nothing is known", Form: FlagSwitch, NotUnknown: true}
	flagUnknown        = &Flag{Name: "unknown", Usage: "process: it cannot be identified", Form: FlagSwitch}
)

// ProcessFlags returns the flags that describe a process.
func ProcessFlags() []*Flag {
	return []*Flag{flagBinary, flagScript, flagAncestor, flagUID, flagCgroup, flagContainer, flagContainerID, flagImage, flagLabel, flagRuntime, flagPod, flagPodLabel, flagServiceAccount, flagOwner, flagUnidentified, flagUnknown}
}

// DescribeProcess returns the process that the flags describe.
func DescribeProcess(d Description) (Process, error) {
	p := Process{
		Binary: d.text(flagBinary), Script: d.text(flagScript), Ancestors: d.list(flagAncestor), Cgroup: d.text(flagCgroup), Unknown: d.has(flagUnknown),
	}
	for _, flag := range ProcessFlags() {
		if p.Unknown && flag.NotUnknown && d.has(flag) {
			return p, fmt.Errorf("--%s and --%s exclude each other; leave one of them out", flag.Name, flagUnknown.Name)
		}
	}
	for _, path := range []struct {
		flag    *Flag
		example string
	}{
		{flagBinary, "/usr/sbin/sshd"}, {flagScript, "/usr/local/bin/backup.sh"},
		{flagAncestor, "/usr/sbin/sshd"}, {flagCgroup, "/system.slice/nginx.service"},
	} {
		for _, value := range d.list(path.flag) {
			if err := CheckCleanPath(value, path.example); err != nil {
				return p, fmt.Errorf("--%s %w", path.flag.Name, err)
			}
		}
	}
	c, err := describeContainer(d)
	if err != nil {
		return p, err
	}
	if c != nil {
		p.Containers = []Container{*c}
	}
	p.Unidentified = d.has(flagUnidentified)
	if c != nil && p.Unidentified {
		return p, fmt.Errorf("--%s excludes what is known of the container; leave one of them out", flagUnidentified.Name)
	}
	if p.UID, err = ParseAccount(d.text(flagUID), d.Users); err != nil {
		return p, fmt.Errorf("--uid %w", err)
	}
	return p, nil
}
