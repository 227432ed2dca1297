/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The alert about a decision: who asked, what it is about, and the paths of both. */
#ifndef EBPFGUARD_ALERT_H
#define EBPFGUARD_ALERT_H

#include "enrich.h"

static __always_inline __u32 namespace_of(struct ns_common *ns)
{
	return BPF_CORE_READ(ns, inum);
}

/* fill_context writes who asks into an alert. */
static __always_inline void fill_context(struct alert *alert)
{
	struct task_struct *task = current_task();
	struct subject *subject = task_get(&tasks, task);
	struct nsproxy *nsproxy = BPF_CORE_READ(task, nsproxy);
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	__u64 ids = bpf_get_current_pid_tgid();
	struct pid_namespace *pid_ns = NULL;

	alert->time = bpf_ktime_get_boot_ns();
	alert->pid = ids >> 32;
	alert->tid = ids;
	alert->ppid = BPF_CORE_READ(task, real_parent, tgid);
	alert->start = start_of(task);
	alert->inode = inode_of_program(task);
	ids = bpf_get_current_uid_gid();
	alert->uid = ids;
	alert->gid = ids >> 32;
	alert->cgroup = bpf_get_current_cgroup_id();
	alert->first_container = subject ? subject->first_container : CONTAINER_HOST;
	alert->last_container = subject ? subject->last_container : CONTAINER_HOST;
	bpf_get_current_comm(alert->comm, sizeof(alert->comm));
	alert->mnt_ns = namespace_of(&BPF_CORE_READ(nsproxy, mnt_ns)->ns);
	alert->net_ns = namespace_of(&BPF_CORE_READ(nsproxy, net_ns)->ns);
	alert->user_ns = namespace_of(&BPF_CORE_READ(task, cred, user_ns)->ns);
	/* The namespace in which the task has its pid is that of the deepest level. */
	bpf_probe_read_kernel(&pid_ns, sizeof(pid_ns),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				      level * bpf_core_type_size(struct upid) +
				      bpf_core_field_offset(struct upid, ns));
	alert->pid_ns = namespace_of(&pid_ns->ns);
}

/* fill_object writes what it is about into an alert, but for its path. */
static __always_inline void fill_object(struct alert *alert, const struct object *object)
{
	alert->flags = object->flags;
	alert->from_uid = object->from_uid;
	alert->from_gid = object->from_gid;
	alert->to = object->to;
	alert->method = object->method;
	__builtin_memcpy(alert->type, object->type, sizeof(alert->type));
}

/* copy_source appends the source of a mount. */
static __always_inline __u32 copy_source(struct alert_buffer *buffer, __u32 from, __u64 source)
{
	__u64 at = from;
	long length;

	barrier_var(at); /* the verifier has to see one register */
	if (!source || at > 3 * MAX_PATH)
		return from;
	length = bpf_probe_read_kernel_str(&buffer->paths[at], MAX_NAME + 1, (void *)source);
	return length > 1 && length <= MAX_NAME + 1 ? from + length - 1 : from;
}

/* send_alert reports whether the alert reached the ring buffer. The object is
 * scratch->object unless it is a socket. */
static __always_inline bool send_alert(__u32 revision, enum operation_id id, enum hook_id hook,
				       __u32 verdict, const struct socket_object *socket)
{
	struct task_struct *task = current_task();
	struct alert_buffer *buffer = current_alert_buffer();
	struct scratch *scratch = current_scratch();
	__u32 binary, parent, path, end;
	struct alert *alert;
	__u64 size;

	if (!buffer || !scratch) /* no memory: the alert is lost, the verdict stands */
		return false;
	alert = &buffer->alert;
	alert->operation = id;
	alert->hook = hook;
	alert->verdict = verdict;
	alert->revision = revision;
	fill_context(alert);
	binary = copy_file(0, BPF_CORE_READ(task, mm, exe_file));
	parent = end = path = copy_file(binary, BPF_CORE_READ(task, real_parent, mm, exe_file));
	if (socket) {
		alert->socket = *socket;
	} else {
		fill_object(alert, &scratch->object);
		path = copy_path(parent, scratch->object.mnt, scratch->object.dentry);
		end = copy_source(buffer, path, scratch->object.source);
	}
	alert->binary_length = binary;
	alert->parent_length = parent - binary;
	alert->path_length = path - parent;
	alert->source_length = end - path;
	alert->ancestors = 0;
	size = sizeof(*alert) + (enrich ? append_ancestors(end) : end);
	barrier_var(size); /* the verifier has to see one register */
	if (size > sizeof(*alert) + sizeof(buffer->paths))
		return false; /* never: the paths fit */
	return !bpf_ringbuf_output(&alerts, buffer, size, 0);
}

#endif
