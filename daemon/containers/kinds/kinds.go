//go:generate go test -run ^TestDocs$ -update .

// Package kinds lists the kinds of sources of containers that a configuration can ask for.
package kinds

import (
	"log/slog"
	"slices"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/daemon/containers/docker"
	"github.com/ebpfguard/ebpfguard/daemon/containers/machines"
	"github.com/ebpfguard/ebpfguard/daemon/containers/nri"
	"github.com/ebpfguard/ebpfguard/daemon/containers/oci"
)

// All are all kinds of sources, in the order in which help texts list them.
var All = slices.Concat([]containers.Kind{
	{
		Name: "nri", Usage: "what containerd and CRI-O start for Kubernetes", Key: "socket", Places: []string{nri.DefaultSocket},
		New: func(place string, _ *slog.Logger) containers.Source { return nri.New(nri.Options{Socket: place}) },
	},
}, docker.Kinds, []containers.Kind{oci.Kind}, machines.Kinds)
