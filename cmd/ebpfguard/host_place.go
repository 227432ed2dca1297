package main

import (
	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// hostPlace is where the host's root directory is for this process.
type hostPlace struct{ root string }

func (p *hostPlace) add(f *pflag.FlagSet) {
	f.StringVar(&p.root, "host-root", hostroot.Auto, "in a container, look up the paths of policies below `DIR`, where the host's / is; auto finds it, empty is this process's own")
}

// find returns the path of the host's root directory for [ebpfguard.Options], and has all that looks at this machine look
// there.
func (p *hostPlace) find() (string, error) {
	name := p.root
	if name == hostroot.Auto {
		name, _ = ebpfguard.FindHostRoot() // what is missing is told, or refused, as one of the checks of the place
	}
	root, err := hostroot.Open(name)
	if err != nil {
		return "", err
	}
	hostroot.Use(root)
	return name, nil
}
