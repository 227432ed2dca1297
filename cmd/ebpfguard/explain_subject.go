package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard/policy"
)

// processFlags describe the process.
type processFlags struct {
	binary, script, uid, cgroup string
	ancestors                   []string
	unknown                     bool
}

func (p *processFlags) add(f *pflag.FlagSet) {
	f.StringVar(&p.binary, "binary", "", "process: the `path` of its program; by default one that no policy names")
	f.StringVar(&p.script, "script", "", "process: the `path` of the script that the program runs")
	f.StringArrayVar(&p.ancestors, "ancestor", nil, "process: the `path` of a program or script that it descends from (can be repeated)")
	f.StringVar(&p.uid, "uid", "0", "process: its real user, a `name` or number")
	f.StringVar(&p.cgroup, "cgroup", "", "process: the `path` of its control group, such as /system.slice/nginx.service")
	f.BoolVar(&p.unknown, "unknown", false, "process: it cannot be identified")
}

func (p *processFlags) process(users func(string) (uint32, error)) (policy.Process, error) {
	result := policy.Process{Binary: p.binary, Script: p.script, Ancestors: p.ancestors, Cgroup: p.cgroup, Unknown: p.unknown}
	paths := map[string][]string{"binary": {p.binary}, "script": {p.script}, "ancestor": p.ancestors, "cgroup": {p.cgroup}}
	for _, name := range []string{"binary", "script", "ancestor", "cgroup"} {
		for _, path := range paths[name] {
			if err := policy.CheckCleanPath(path, pathExamples[name]); err != nil {
				return result, fmt.Errorf("--%s %w", name, err)
			}
		}
	}
	var err error
	if result.UID, err = policy.ParseAccount(p.uid, users); err != nil {
		return result, fmt.Errorf("--uid %w", err)
	}
	return result, nil
}

// pathExamples are what to write instead of what is no path.
var pathExamples = map[string]string{
	"binary": "/usr/sbin/sshd", "script": "/usr/local/bin/backup.sh", "ancestor": "/usr/sbin/sshd", "cgroup": "/system.slice/nginx.service",
}
