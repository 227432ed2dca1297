package vmtest

import (
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

// TestArgs is what `go test` passed to a test binary, made fit for the guest.
type TestArgs struct {
	Args []string
	// Outputs maps the guest's profile files to where `go test` expects them.
	Outputs map[string]string
	// Timeout is that of -test.timeout, zero when there is none.
	Timeout time.Duration
}

// MapTestArgs replaces the flags that name paths of the host. Profiles are written inside the guest and come back;
// the log of opened files and the fuzzing cache are dropped, since both describe the host's file system, and the folder
// of raw coverage data is, since the test binary makes one of its own.
func MapTestArgs(args []string, dir string) TestArgs {
	mapped := TestArgs{Outputs: make(map[string]string)}
	outputDir := dir
	for _, arg := range args {
		if value, ok := strings.CutPrefix(arg, "-test.outputdir="); ok && value != "" {
			outputDir = value
		}
	}
	for i, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if arg == "-args" || arg == "--" || !strings.HasPrefix(arg, "-") {
			mapped.Args = append(mapped.Args, args[i:]...)
			break
		}
		switch name {
		case "-test.testlogfile", "-test.outputdir", "-test.fuzzcachedir", "-test.gocoverdir":
			continue
		case "-test.coverprofile", "-test.cpuprofile", "-test.memprofile", "-test.blockprofile",
			"-test.mutexprofile", "-test.trace":
			if !ok || value == "" {
				break
			}
			guest := path.Join(wire.OutputDir, strings.TrimPrefix(name, "-test."))
			if !filepath.IsAbs(value) {
				value = filepath.Join(outputDir, value)
			}
			mapped.Outputs[guest] = value
			arg = name + "=" + guest
		case "-test.timeout":
			// A value that does not parse is the test binary's to complain about.
			mapped.Timeout, _ = time.ParseDuration(value)
		}
		mapped.Args = append(mapped.Args, arg)
	}
	return mapped
}
