package ebpfguard

import (
	"encoding/json"
	"strings"

	"github.com/ebpfguard/ebpfguard/policy"
)

// FileOpen is a policy for the operation file_open: a file is read, written,
// executed, or itself changed, made, renamed or removed.
// docs/hooks.md lists the ways to do so that are judged.
type FileOpen Rule[policy.FilePattern]

// FileOpenAlert tells that an access to a file was denied or audited.
type FileOpenAlert struct {
	AlertContext
	FileObject // Path, Access
}

// WithContext returns the alert with another context.
func (a FileOpenAlert) WithContext(c AlertContext) Alert {
	a.AlertContext = c
	return a
}

// Object returns the FileObject.
func (a FileOpenAlert) Object() any { return a.FileObject }

// MarshalJSON returns the alert as docs/alerts.md describes it.
func (a FileOpenAlert) MarshalJSON() ([]byte, error) { return a.marshal(a.FileObject) }

// String returns the alert as a line of text.
func (a FileOpenAlert) String() string { return a.AlertContext.text(a.FileObject.text()) }

// What the hooks of file_open judge. A move keeps what is denied under the old name,
// whatever access that is.
var (
	deniesWrite       = deniesAccess(policy.Write)
	deniesExec        = deniesAccess(policy.Exec)
	deniesReadOrWrite = deniesAccess(policy.Read | policy.Write)
	deniesAny         = deniesAccess(policy.AllAccess)
)

func deniesAccess(access policy.Access) func(policy.Rule) bool {
	return denies(func(p policy.FilePattern) bool { return p.Access == 0 || p.Access&access != 0 })
}

var fileOpen = operation{
	name: policy.FileOpen,
	hooks: []hook{
		{name: "file_open", effect: "open(2), creat(2), openat2(2), open_by_handle_at(2), exec, io_uring, overlayfs"},
		{name: "file_receive", effect: "a descriptor received over a Unix socket, pidfd_getfd(2)"},
		{name: "file_permission", effect: "use of a descriptor opened before (rules with revoke)", revoke: true},
		{name: "mmap_file", program: "revoke_mmap", effect: "mapping a descriptor opened before (rules with revoke)", revoke: true},
		{name: "file_truncate", effect: "ftruncate(2)", instead: "path_truncate is asked instead", needed: deniesWrite},
		{name: "file_ioctl", effect: "ioctl(2) that changes a file (chattr(1), fs-verity, encryption), or hands it to a loop device", needed: deniesReadOrWrite},
		{name: "file_ioctl_compat", effect: "ioctl(2) of 32-bit processes", instead: "file_ioctl is asked instead", needed: deniesReadOrWrite},
		{name: "mmap_file", effect: "mapping to be executed", needed: deniesExec},
		{name: "file_mprotect", effect: "making a mapping executable", needed: deniesExec},
		{name: "mmap_backing_file", effect: "mapping a file through overlayfs to be executed", instead: "file_open judges that when overlayfs opens the file below", needed: deniesExec},
		{name: "path_truncate", effect: "truncate(2), O_TRUNC", needed: deniesWrite},
		{name: "path_unlink", effect: "unlink(2)", needed: deniesWrite},
		{name: "path_rmdir", effect: "rmdir(2)", needed: deniesWrite},
		{name: "path_mkdir", effect: "mkdir(2)", needed: deniesWrite},
		{name: "path_mknod", effect: "creat(2), O_CREAT, mknod(2), binding a Unix socket", needed: deniesWrite},
		{name: "path_symlink", effect: "symlink(2)", needed: deniesWrite},
		{name: "path_link", effect: "link(2), from and to", needed: deniesAny},
		{name: "path_rename", effect: "rename(2), from and to, exchange", needed: deniesAny},
		{name: "path_chmod", effect: "chmod(2)", needed: deniesWrite},
		{name: "path_chown", effect: "chown(2)", instead: "inode_setattr is asked instead", needed: deniesWrite},
		{name: "inode_setattr", effect: "utimensat(2)", needed: deniesWrite},
		{name: "inode_setxattr", effect: "setxattr(2)", needed: deniesWrite},
		{name: "inode_removexattr", effect: "removexattr(2)", needed: deniesWrite},
		{name: "inode_set_acl", effect: "setting an ACL", instead: "inode_setxattr is asked instead", needed: deniesWrite},
		{name: "inode_remove_acl", effect: "removing an ACL", instead: "inode_removexattr is asked instead", needed: deniesWrite},
		{name: "inode_file_setattr", effect: "file_setattr(2)", instead: "the kernel has no file_setattr(2)", needed: deniesWrite},
	},
	open: []way{
		{effect: "what was opened or mapped before the policy came", reason: "a rule with revoke: true refuses the use of such descriptors; pages that are mapped stay"},
		{effect: "a hard link from before the policy to a file that only a directory or glob names", reason: "the file is known by that name and its directories; name the file itself"},
		{effect: "a file that another program opened and hands over through io_uring (a fixed file of its ring, IORING_OP_MSG_RING)", reason: "no hook is asked when it changes hands; a rule with revoke: true refuses its use"},
		{effect: "a descriptor that another thread exchanges while a loop device is given it", reason: "the hook is asked before the device takes it; forbid the loop devices (/dev/loop*)"},
	},
	alert: func(c AlertContext, r record) Alert { return FileOpenAlert{c, fileOf(r)} },
}

// AttachFileOpen loads and attaches what enforces file_open. Everything is allowed
// until a policy is added. If it is attached already, that and its policies stay as they are, and
// this returns another handle of it, see [Hook].
func (m *Manager) AttachFileOpen() (*Hook[FileOpen, FileOpenAlert], error) {
	return attach[FileOpen, FileOpenAlert](m, &fileOpen,
		func(p FileOpen) policy.Policy { return Rule[policy.FilePattern](p).policy(policy.FileOpen) },
		func(p policy.Policy, r policy.Rule) FileOpen { return FileOpen(ruleOf[policy.FilePattern](p, r)) })
}

// FileObject is the object of a [FileOpenAlert]: a file and what was wanted of it.
type FileObject struct {
	// Path is the file's path in the process's mount namespace; the last one
	// it had if it is deleted.
	Path string
	// Access is what the process wanted to do.
	Access policy.Access
}

// MarshalJSON writes the kinds of access as a list.
func (o FileObject) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Path   string   `json:"path"`
		Access []string `json:"access"`
	}{o.Path, strings.Split(o.Access.String(), ", ")})
}

func fileOf(r record) FileObject { return FileObject{r.path, policy.Access(r.Flags)} }

func (o FileObject) text() string { return o.Access.String() + " " + location(o.Path) }

// Files selects the files at these paths: exact ones, directories with all
// below them ("/etc/ssl/"), globs ("/home/*/.ssh/id_*", "/srv/**/*.key").
func Files(paths ...string) []policy.FilePattern { return []policy.FilePattern{{Paths: paths}} }

// AllFiles selects every file.
func AllFiles() []policy.FilePattern { return everything[policy.FilePattern](policy.FileOpen) }
