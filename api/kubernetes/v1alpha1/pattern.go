package v1alpha1

// Pattern selects objects of an operation: every key that is given must match, of a key's values one must. It has at
// least one key, of those that the operation has (docs/semantics.md).
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.all) || !(has(self.paths) || has(self.access) || has(self.kinds) || has(self.fileless) || has(self.no_args) || has(self.sources) || has(self.targets) || has(self.types) || has(self.flags) || has(self.from) || has(self.to) || has(self.addresses) || has(self.ports) || has(self.protocols))",message="all selects everything, so the other keys say nothing; leave out all or them"
// +kubebuilder:validation:XValidation:rule="!(has(self.paths) && has(self.kinds))",message="paths and kinds cannot be combined, since what is of a kind has no path; write two patterns"
// +kubebuilder:validation:XValidation:rule="!has(self.to) || !has(self.to.uids) || !has(self.to.gids)",fieldPath=".to",message="each id that changes is judged by itself, so a pattern cannot have both uids and gids in to; write two patterns"
type Pattern struct {
	// All selects every object. It is true, and stands alone.
	// +kubebuilder:validation:XValidation:rule="self",message="all: false selects nothing; write true or leave the pattern out"
	All bool `json:"all,omitempty"`

	// Paths are files, directories with all below them (a slash at the end) and globs with *, ? and ** (file_open,
	// bprm_check_security). They are absolute, without . and .. and empty components.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4095
	// +kubebuilder:validation:items:Pattern=`^(/([^/.]|[.][^/.]|[.][.][^/])[^/]*)*/?$`
	// +kubebuilder:validation:items:XValidation:rule="self.startsWith('/')",message="the path is not absolute; write the whole path, such as /etc/shadow, or /etc/ssl/ for a directory and all below"
	Paths []string `json:"paths,omitempty"`
	// Access is read, write or exec (file_open).
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:Enum=read;write;exec
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a == b))",message="an access is listed twice; remove one"
	Access []string `json:"access,omitempty"`
	// Kinds are files without a path (file_open): pipe, memfd, socket or deleted.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:Enum=pipe;memfd;socket;deleted
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a == b))",message="a kind is listed twice; remove one"
	Kinds []string `json:"kinds,omitempty"`

	// Fileless selects programs that no file of the system holds (bprm_check_security).
	// +kubebuilder:validation:XValidation:rule="self",message="fileless can only be true; leave it out to select programs with and without it"
	Fileless bool `json:"fileless,omitempty"`
	// NoArgs selects programs that are started without arguments (bprm_check_security).
	// +kubebuilder:validation:XValidation:rule="self",message="no_args can only be true; leave it out to select programs with and without it"
	NoArgs bool `json:"no_args,omitempty"`

	// Sources are devices, directories or other names such as tmpfs, with * within a component and ** (sb_mount,
	// sb_remount).
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4095
	Sources []string `json:"sources,omitempty"`
	// Targets are paths, as in paths (sb_mount, sb_remount, sb_umount).
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4095
	// +kubebuilder:validation:items:Pattern=`^(/([^/.]|[.][^/.]|[.][.][^/])[^/]*)*/?$`
	// +kubebuilder:validation:items:XValidation:rule="self.startsWith('/')",message="the target is not absolute; write the whole path, such as /mnt, or /mnt/ for a directory and all below"
	Targets []string `json:"targets,omitempty"`
	// Types are types of filesystems, such as ext4 (sb_mount, sb_remount, sb_umount).
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9_+-]+$`
	Types []string `json:"types,omitempty"`
	// Flags are some of those that the operation can have (sb_mount, sb_remount, sb_umount).
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=21
	// +kubebuilder:validation:items:Enum=new;bind;rec;move;shared;private;slave;unbindable;pivot;ro;rw;nosuid;suid;nodev;dev;noexec;exec;noatime;sync;detach;force
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a == b))",message="a flag is listed twice; remove one"
	Flags []string `json:"flags,omitempty"`

	// From is the identity before (task_fix_setuid).
	From *Identity `json:"from,omitempty"`
	// To is what it changes to (task_fix_setuid): users or groups.
	To *Identity `json:"to,omitempty"`

	// Addresses are addresses and CIDRs (socket_bind, socket_connect), such as 10.0.0.0/8 and ::1.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[0-9A-Fa-f:.]+(/(0|[1-9][0-9]{0,2}))?$`
	Addresses []string `json:"addresses,omitempty"`
	// Ports are numbers and ranges such as 2200-2299 (socket_bind, socket_connect).
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=48
	// +kubebuilder:validation:items:XIntOrString
	// +kubebuilder:validation:items:MaxLength=11
	// +kubebuilder:validation:items:XValidation:rule="type(self) == int ? int(self) >= 0 && int(self) <= 65535 : self.matches('^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$') && int(self.split('-')[0]) <= int(self.split('-')[1]) && int(self.split('-')[1]) <= 65535",message="this is no port; write a number from 0 to 65535 without quotes, or a range such as 2200-2299"
	Ports []Number `json:"ports,omitempty"`
	// Protocols are those of the sockets (socket_bind, socket_connect).
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Enum=tcp;udp;udplite;sctp;dccp;icmp;raw
	Protocols []string `json:"protocols,omitempty"`
}

// Identity are users or groups: numbers, ranges such as 1000-1999, and names of the node's.
//
// +kubebuilder:validation:MinProperties=1
type Identity struct {
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:XIntOrString
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:Pattern=`^((0|[1-9][0-9]{0,9})-(0|[1-9][0-9]{0,9})|([0-9][0-9-]*)?[^0-9:,/\s-][^:,/\s]*)$`
	UIDs []Number `json:"uids,omitempty"`
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:XIntOrString
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:Pattern=`^((0|[1-9][0-9]{0,9})-(0|[1-9][0-9]{0,9})|([0-9][0-9-]*)?[^0-9:,/\s-][^:,/\s]*)$`
	GIDs []Number `json:"gids,omitempty"`
}
