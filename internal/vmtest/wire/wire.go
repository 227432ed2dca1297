// Package wire holds what the runner on the host and the init process in the guest tell each other.
package wire

// KernelEnv is the environment variable that names the table's row to the processes of the guest.
const KernelEnv = "EBPFGUARD_VM_KERNEL"

// Paths and devices of the guest.
const (
	JobPath      = "/.vmtest/job.json"
	ModuleDir    = "/.vmtest/modules"
	OutputDir    = "/run/vmtest"
	OutputDevice = "/dev/ttyS1"
	StatusDevice = "/dev/ttyS2"
	RootDevice   = "/dev/vda"
)

// Job is what init reads from the initramfs.
type Job struct {
	Path    string
	Args    []string
	Dir     string
	Env     []string
	Modules []string
	// Outputs are files or folders that the host wants back when the command has ended.
	Outputs []string
	// Root is the disk with the root file system whose init shall run, and Files are what the job needs there. Empty:
	// the guest's own init runs the job.
	Root  string   `json:",omitempty"`
	Files []string `json:",omitempty"`
}

// Started is the line that init sends on StatusDevice right before it starts the command. A guest that ends without it
// failed to boot, and nothing of the command ran.
const Started = "started\n"

// Status is what init reports after Started, one JSON object, before it powers the guest off. A guest that cannot
// start the command at all reports it without Started.
type Status struct {
	Exit int
	// Error says why the command could not be run at all.
	Error string            `json:",omitempty"`
	Files map[string][]byte `json:",omitempty"`
}
