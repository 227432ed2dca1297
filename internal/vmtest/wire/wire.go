// Package wire holds what the runner on the host and the init process in the guest tell each other.
package wire

import "runtime"

// KernelEnv is the environment variable that names the table's row to the processes of the guest.
const KernelEnv = "EBPFGUARD_VM_KERNEL"

// Paths and devices of the guest.
const (
	JobPath    = "/.vmtest/job.json"
	ModuleDir  = "/.vmtest/modules"
	OutputDir  = "/run/vmtest"
	RootDevice = "/dev/vda"
)

// OutputDevice and StatusDevice are serial ports. On arm64 the console is a port of another kind.
var (
	OutputDevice = map[string]string{"amd64": "/dev/ttyS1", "arm64": "/dev/ttyS0"}[runtime.GOARCH]
	StatusDevice = map[string]string{"amd64": "/dev/ttyS2", "arm64": "/dev/ttyS1"}[runtime.GOARCH]
)

// Job is what init reads from the initramfs.
type Job struct {
	// Programs run one after the other.
	Programs []Program
	Env      []string
	Modules  []string
	// Outputs are files or folders that the host wants back when the last program has ended.
	Outputs []string
	// Root is the disk with the root file system whose init shall run, and Files are what the job needs there. Empty:
	// the guest's own init runs the job.
	Root  string   `json:",omitempty"`
	Files []string `json:",omitempty"`
	// OwnInit says that the guest's own init runs the job with that root.
	OwnInit bool `json:",omitempty"`
	// Address is the guest's in the network that QEMU makes. Empty: there is none.
	Address string `json:",omitempty"`
}

// Program is a command of the job.
type Program struct {
	Path string
	Args []string
	Dir  string
}

// Mark begins a line on OutputDevice that is init's own and no output of a program: begin or end, a space, and the
// Ended of the program that it is about. It need not stand at the start of a line.
const Mark = "\x1e\x1evmtest "

// Begin and End are what follows a Mark.
const (
	Begin = "begin "
	End   = "end "
)

// Ended says how the program of that number in the job ended. At its begin only the number is known.
type Ended struct {
	Program int
	Exit    int `json:",omitempty"`
	// Error says why the program could not be run at all.
	Error string `json:",omitempty"`
}

// Started is the line that init sends on StatusDevice right before it starts the first program. A guest that ends
// without it failed to boot, and nothing of the job ran.
const Started = "started\n"

// Status is what init reports after Started, one JSON object, before it powers the guest off. A guest that cannot
// start the job at all reports it without Started.
type Status struct {
	// Error says why the job could not be done.
	Error string            `json:",omitempty"`
	Files map[string][]byte `json:",omitempty"`
}
