package v1alpha1

// PolicySpec says what processes may do. It is the spec of a policy on a host (docs/semantics.md), and a host reads it
// as it is. The other way round a schema needs one form where the host's YAML has several, so of that it takes the long
// one only:
//
//   - allow and deny are lists of patterns: [{ports: [22]}], not {ports: [22]};
//   - everything is [{all: true}], not all;
//   - a label has a list of values: {app: [web]}, not {app: web};
//   - it has no addresses_from, which names a file of the host, no processes and no ids of containers, which are those
//     of one host at one time, and no until, which is in a host's time;
//   - it has no delegated: every Policy is, and a ClusterPolicy that is overridable;
//   - mode and verdict are filled in.
//
// It also has limits, which a host does not: 64 rules, 32 patterns in allow and deny each, 256 values of a key, but 1024
// addresses, 48 ports, and 64 ids, types, images and selectors. `kubectl ebpfguard convert` makes objects of a host's files.
type PolicySpec struct {
	// Mode is enforce, or audit: what would be refused passes, with an alert.
	// +kubebuilder:validation:Enum=enforce;audit
	// +kubebuilder:default=enforce
	Mode string `json:"mode,omitempty"`
	// Subject says which processes the policy is about. An empty one is everyone that a policy of its kind can be about.
	Subject Subject `json:"subject"`
	// Rules say what is refused, and what is allowed all the same.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Rules []Rule `json:"rules"`
}

// Rule says what of one operation is refused and allowed.
//
// +kubebuilder:validation:XValidation:rule="has(self.allow) || has(self.deny)",message="the rule neither allows nor denies anything; add allow or deny"
// +kubebuilder:validation:XValidation:rule="!has(self.revoke) || self.operation in ['file_open', 'socket_bind', 'socket_connect']",fieldPath=".revoke",message="revoke is about files and sockets that are open already, so it belongs to file_open, socket_bind and socket_connect; leave it out"
// +kubebuilder:validation:XValidation:rule="self.operation == 'file_open' || (!has(self.allow) || self.allow.all(p, !has(p.access) && !has(p.kinds))) && (!has(self.deny) || self.deny.all(p, !has(p.access) && !has(p.kinds)))",message="access and kinds belong to file_open; leave them out, or write a rule of that operation"
// +kubebuilder:validation:XValidation:rule="self.operation == 'bprm_check_security' || (!has(self.allow) || self.allow.all(p, !has(p.fileless) && !has(p.no_args))) && (!has(self.deny) || self.deny.all(p, !has(p.fileless) && !has(p.no_args)))",message="fileless and no_args belong to bprm_check_security; leave them out, or write a rule of that operation"
// +kubebuilder:validation:XValidation:rule="self.operation in ['file_open', 'bprm_check_security'] || (!has(self.allow) || self.allow.all(p, !has(p.paths))) && (!has(self.deny) || self.deny.all(p, !has(p.paths)))",message="paths belongs to file_open and bprm_check_security; name targets for sb_mount, sb_remount and sb_umount, or write a rule of another operation"
// +kubebuilder:validation:XValidation:rule="self.operation in ['sb_mount', 'sb_remount', 'sb_umount'] || (!has(self.allow) || self.allow.all(p, !has(p.targets) && !has(p.types) && !has(p.flags))) && (!has(self.deny) || self.deny.all(p, !has(p.targets) && !has(p.types) && !has(p.flags)))",message="targets, types and flags belong to sb_mount, sb_remount and sb_umount; leave them out, or write a rule of such an operation"
// +kubebuilder:validation:XValidation:rule="self.operation in ['sb_mount', 'sb_remount'] || (!has(self.allow) || self.allow.all(p, !has(p.sources))) && (!has(self.deny) || self.deny.all(p, !has(p.sources)))",message="sources belongs to sb_mount and sb_remount; when something is unmounted they are not known: name targets or types"
// +kubebuilder:validation:XValidation:rule="self.operation == 'task_fix_setuid' || (!has(self.allow) || self.allow.all(p, !has(p.from) && !has(p.to))) && (!has(self.deny) || self.deny.all(p, !has(p.from) && !has(p.to)))",message="from and to belong to task_fix_setuid; leave them out, or write a rule of that operation"
// +kubebuilder:validation:XValidation:rule="self.operation in ['socket_bind', 'socket_connect'] || (!has(self.allow) || self.allow.all(p, !has(p.addresses) && !has(p.ports) && !has(p.protocols))) && (!has(self.deny) || self.deny.all(p, !has(p.addresses) && !has(p.ports) && !has(p.protocols)))",message="addresses, ports and protocols belong to socket_bind and socket_connect; leave them out, or write a rule of such an operation"
// +kubebuilder:validation:XValidation:rule="self.operation != 'sb_mount' || (!has(self.allow) || self.allow.all(p, !has(p.flags) || p.flags.all(f, !(f in ['detach', 'force'])))) && (!has(self.deny) || self.deny.all(p, !has(p.flags) || p.flags.all(f, !(f in ['detach', 'force']))))",message="detach and force are flags of sb_umount; leave them out, or write a rule of that operation"
// +kubebuilder:validation:XValidation:rule="self.operation != 'sb_remount' || (!has(self.allow) || self.allow.all(p, !has(p.flags) || p.flags.all(f, !(f in ['new', 'move', 'shared', 'private', 'slave', 'unbindable', 'pivot', 'detach', 'force'])))) && (!has(self.deny) || self.deny.all(p, !has(p.flags) || p.flags.all(f, !(f in ['new', 'move', 'shared', 'private', 'slave', 'unbindable', 'pivot', 'detach', 'force']))))",message="the flags of sb_remount are bind, rec, ro, rw, nosuid, suid, nodev, dev, noexec, exec, noatime and sync; leave out the others"
// +kubebuilder:validation:XValidation:rule="self.operation != 'sb_umount' || (!has(self.allow) || self.allow.all(p, !has(p.flags) || p.flags.all(f, f in ['detach', 'force']))) && (!has(self.deny) || self.deny.all(p, !has(p.flags) || p.flags.all(f, f in ['detach', 'force'])))",message="the flags of sb_umount are detach and force; leave out the others"
type Rule struct {
	// Operation is what a process does.
	// +kubebuilder:validation:Enum=bprm_check_security;file_open;sb_mount;sb_remount;sb_umount;socket_bind;socket_connect;task_fix_setuid
	Operation string `json:"operation"`
	// Allow is what is allowed, also where a less specific pattern denies it.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Allow []Pattern `json:"allow,omitempty"`
	// Deny is what is refused.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Deny []Pattern `json:"deny,omitempty"`
	// Verdict is what a match of deny means: deny, kill (the process as well) or audit (it passes, with an alert).
	// +kubebuilder:validation:Enum=deny;kill;audit
	// +kubebuilder:default=deny
	Verdict string `json:"verdict,omitempty"`
	// Revoke also refuses the use of what is open already (file_open, socket_bind, socket_connect).
	Revoke bool `json:"revoke,omitempty"`
	// Message is free text for the alert.
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// Severity is for the alert.
	// +kubebuilder:validation:Enum=info;low;medium;high;critical
	Severity string `json:"severity,omitempty"`
	// Tags are for the alert.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	Tags []string `json:"tags,omitempty"`
	// AlertLimit is the most alerts a second.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	AlertLimit int32 `json:"alert_limit,omitempty"`
}
