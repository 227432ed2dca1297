/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * task_fix_setuid: a process changes its identity.
 *
 * The families of setuid(2) and setgid(2) and setgroups(2, since 5.15 or so) ask a
 * hook of their own; each id that changes is judged by itself, what changes
 * nothing is not. A process that is not root gains root's powers as well by a
 * set-user-ID program or one with file capabilities (bprm_creds_from_file), by
 * raising capabilities that it kept (capset), and in a user namespace that it
 * makes (userns_create, since 6.1): all of these are judged as "to user 0".
 */
#ifndef EBPFGUARD_HOOKS_TASK_FIX_SETUID_H
#define EBPFGUARD_HOOKS_TASK_FIX_SETUID_H

#include "../verdict.h"

/* judge_ids judges one id that changes, once: from_uid << 32 | from_gid, to_uid << 32 |
 * to_gid, of which one is NO_ID. */
__noinline __u64 judge_ids(__u32 id, __u64 begun, __u64 from, __u64 to)
{
	struct key keys[MAX_KEYS] = {
		INTERVAL(TABLE_FROM_UIDS, from >> 32),
		INTERVAL(TABLE_FROM_GIDS, from),
		INTERVAL(TABLE_TO_UIDS, to >> 32),
		INTERVAL(TABLE_TO_GIDS, to),
	};

	return judge_keys(id, begun, keys);
}

/* decide_id judges one id that changes and concludes. */
static __always_inline int decide_id(__u32 hook, __u32 method, __u64 from, __u64 to)
{
	struct scratch *scratch;
	__u64 answer;
	int try;

	answer = JUDGE(try, OPERATION_TASK_FIX_SETUID, judge_ids, from, to);
	if ((__u32)answer == NO_RULE_ALLOW)
		return 0;
	scratch = current_scratch();
	if (scratch) {
		__builtin_memset(&scratch->object, 0, sizeof(scratch->object));
		scratch->object.from_uid = from >> 32;
		scratch->object.from_gid = from;
		scratch->object.to = (__u32)to == NO_ID ? to >> 32 : to;
		scratch->object.method = method;
	}
	return conclude(answer, OPERATION_TASK_FIX_SETUID, hook, NULL);
}

static __always_inline __u64 ids_of(const struct cred *cred)
{
	return (__u64)BPF_CORE_READ(cred, euid.val) << 32 | BPF_CORE_READ(cred, egid.val);
}

static __always_inline int decide_uid(enum hook_id hook, enum method_id method, __u64 from,
				      __u32 uid)
{
	return decide_id(hook, method, from, (__u64)uid << 32 | NO_ID);
}

static __always_inline int decide_gid(enum hook_id hook, enum method_id method, __u64 from,
				      __u32 gid)
{
	return decide_id(hook, method, from, (__u64)NO_ID << 32 | gid);
}

/* is_news reports whether an id changes to one that another id did not just
 * change to: what is judged already. */
static __always_inline bool is_news(__u32 id, __u32 before, __u32 other, __u32 other_before)
{
	return id != before && (id != other || other == other_before);
}

SEC("lsm/task_fix_setuid")
int BPF_PROG(task_fix_setuid, struct cred *new, const struct cred *old, int flags, int ret)
{
	__u64 from;
	__u32 uid = new->uid.val, euid = new->euid.val, suid = new->suid.val;
	__u32 fsuid = new->fsuid.val;

	if (ret)
		return ret;
	if (uid == old->uid.val && euid == old->euid.val && suid == old->suid.val &&
	    fsuid == old->fsuid.val)
		return 0; /* changes nothing */
	if (is_unrestricted(OPERATION_TASK_FIX_SETUID))
		return 0;
	from = ids_of(old);
	if (uid != old->uid.val && decide_uid(HOOK_TASK_FIX_SETUID, METHOD_SETUID, from, uid))
		return -EPERM;
	if (is_news(euid, old->euid.val, uid, old->uid.val) &&
	    decide_uid(HOOK_TASK_FIX_SETUID, METHOD_SETUID, from, euid))
		return -EPERM;
	if (is_news(suid, old->suid.val, uid, old->uid.val) &&
	    is_news(suid, old->suid.val, euid, old->euid.val) &&
	    decide_uid(HOOK_TASK_FIX_SETUID, METHOD_SETUID, from, suid))
		return -EPERM;
	if (is_news(fsuid, old->fsuid.val, euid, old->euid.val) &&
	    decide_uid(HOOK_TASK_FIX_SETUID, METHOD_SETUID, from, fsuid))
		return -EPERM;
	return 0;
}

SEC("lsm/task_fix_setgid")
int BPF_PROG(task_fix_setgid, struct cred *new, const struct cred *old, int flags, int ret)
{
	__u64 from;
	__u32 gid = new->gid.val, egid = new->egid.val, sgid = new->sgid.val;
	__u32 fsgid = new->fsgid.val;

	if (ret)
		return ret;
	if (gid == old->gid.val && egid == old->egid.val && sgid == old->sgid.val &&
	    fsgid == old->fsgid.val)
		return 0; /* changes nothing */
	if (is_unrestricted(OPERATION_TASK_FIX_SETUID))
		return 0;
	from = ids_of(old);
	if (gid != old->gid.val && decide_gid(HOOK_TASK_FIX_SETGID, METHOD_SETGID, from, gid))
		return -EPERM;
	if (is_news(egid, old->egid.val, gid, old->gid.val) &&
	    decide_gid(HOOK_TASK_FIX_SETGID, METHOD_SETGID, from, egid))
		return -EPERM;
	if (is_news(sgid, old->sgid.val, gid, old->gid.val) &&
	    is_news(sgid, old->sgid.val, egid, old->egid.val) &&
	    decide_gid(HOOK_TASK_FIX_SETGID, METHOD_SETGID, from, sgid))
		return -EPERM;
	if (is_news(fsgid, old->fsgid.val, egid, old->egid.val) &&
	    decide_gid(HOOK_TASK_FIX_SETGID, METHOD_SETGID, from, fsgid))
		return -EPERM;
	return 0;
}

/* group_at returns a supplementary group; NO_ID when there is none. */
static __always_inline __u32 group_at(const struct cred *cred, __u32 index)
{
	struct group_info *info = BPF_CORE_READ(cred, group_info);
	__u32 group = NO_ID;

	if (index >= (__u32)BPF_CORE_READ(info, ngroups))
		return NO_ID;
	bpf_probe_read_kernel(&group, sizeof(group),
			      (void *)info + bpf_core_field_offset(struct group_info, gid) +
				      index * sizeof(group));
	return group;
}

/* is_group_of reports whether a process is in a group already: the kernel keeps
 * groups sorted (kernel/groups.c, groups_sort). */
__noinline int is_group_of(__u64 cred, __u32 group)
{
	__u32 low = 0, high = BPF_CORE_READ((struct cred *)cred, group_info, ngroups);
	int i;

	for (i = 0; i < 17 && low < high; i++) { /* NGROUPS_MAX is 2^16 */
		__u32 middle = (low + high) / 2;
		__u32 value = group_at((struct cred *)cred, middle);

		if (value == group)
			return true;
		if (value < group)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* decide_group judges one of the new supplementary groups. */
__noinline int decide_group(__u64 new, __u64 old, __u32 index)
{
	__u32 group = group_at((struct cred *)new, index);

	if (group == NO_ID || is_group_of(old, group))
		return 0;
	return decide_gid(HOOK_TASK_FIX_SETGROUPS, METHOD_SETGROUPS, ids_of((struct cred *)old),
			  group);
}

SEC("lsm/task_fix_setgroups")
int BPF_PROG(task_fix_setgroups, struct cred *new, const struct cred *old, int ret)
{
	__u64 new_number = as_number(new), old_number = as_number(old);
	__u32 i;

	if (ret)
		return ret;
	for (i = 0; i < MAX_GROUPS; i++) {
		ret = decide_group(new_number, old_number, i);
		if (ret)
			return -EPERM;
	}
	/* More than can be judged: as any group, if a rule could refuse one. */
	if (group_at(new, MAX_GROUPS) != NO_ID)
		return decide_undecided(OPERATION_TASK_FIX_SETUID, HOOK_TASK_FIX_SETGROUPS);
	return 0;
}

/* capabilities_at reads a set of capabilities: two u32 before 6.3. Both have
 * the same place and, on little-endian machines, the same meaning. */
static __always_inline __u64 capabilities_at(const void *set)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), set);
	return value;
}

SEC("lsm/bprm_creds_from_file")
int BPF_PROG(bprm_creds_from_file, struct linux_binprm *bprm, const struct file *file, int ret)
{
	const struct cred *old = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), cred);
	const struct cred *new = bprm->cred;
	__u64 from = ids_of(old), more;

	if (ret)
		return ret;
	if (new->euid.val != BPF_CORE_READ(old, euid.val)) {
		if (decide_uid(HOOK_BPRM_CREDS_FROM_FILE, METHOD_SETUID_PROGRAM, from,
			       new->euid.val))
			return -EPERM;
	}
	if (new->egid.val != BPF_CORE_READ(old, egid.val)) {
		if (decide_gid(HOOK_BPRM_CREDS_FROM_FILE, METHOD_SETGID_PROGRAM, from,
			       new->egid.val))
			return -EPERM;
	}
	if (!(from >> 32) || !new->euid.val)
		return 0; /* root already, or judged above */
	more = capabilities_at(&new->cap_permitted) & ~capabilities_at(&old->cap_permitted);
	more |= capabilities_at(&new->cap_effective) & ~capabilities_at(&old->cap_effective);
	if (!more)
		return 0;
	return decide_uid(HOOK_BPRM_CREDS_FROM_FILE, METHOD_FILE_CAPABILITIES, from, 0);
}

SEC("lsm/capset")
int BPF_PROG(capset, struct cred *new, const struct cred *old, const kernel_cap_t *effective,
	     const kernel_cap_t *inheritable, const kernel_cap_t *permitted, int ret)
{
	__u64 from = ids_of(old);

	if (ret)
		return ret;
	if (!(from >> 32))
		return 0; /* root already */
	if (!(capabilities_at(effective) & ~capabilities_at(&old->cap_effective)))
		return 0; /* gains nothing */
	return decide_uid(HOOK_CAPSET, METHOD_CAPSET, from, 0);
}

SEC("lsm/userns_create")
int BPF_PROG(userns_create, const struct cred *cred, int ret)
{
	__u64 from = ids_of(cred);

	if (ret)
		return ret;
	if (!(from >> 32))
		return 0; /* root already */
	return decide_uid(HOOK_USERNS_CREATE, METHOD_USER_NAMESPACE, from, 0);
}

#endif
