package oci

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// HookFile is the name of the file that has Podman and CRI-O call the hook.
const HookFile = "ebpfguard.json"

// HookDirs are where Podman and CRI-O look for such files; a file of the latter stands for one of the same
// name in the former.
var HookDirs = []string{"/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"}

// DockerConfig is the file of Docker's daemon, and DockerRuntime the name that the runtime with the hook
// has there.
const (
	DockerConfig  = "/etc/docker/daemon.json"
	DockerRuntime = "ebpfguard"
)

// Hooked reports whether Podman and CRI-O call the hook before a container's first program runs.
func Hooked() bool {
	return slices.ContainsFunc(HookDirs, func(dir string) bool {
		_, err := hostroot.Host().Stat(filepath.Join(dir, HookFile))
		return err == nil
	})
}

// DockerHooked reports whether Docker calls the hook for containers that ask for no other runtime.
func DockerHooked() bool {
	data, err := hostroot.Host().ReadFile(DockerConfig)
	if err != nil {
		return false
	}
	var config struct {
		Default string `json:"default-runtime"`
	}
	return json.Unmarshal(data, &config) == nil && strings.TrimSpace(config.Default) == DockerRuntime
}
