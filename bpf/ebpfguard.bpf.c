// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* All kernel programs, one object. A new operation adds one include. */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "hooks/bprm_check_security.h"
#include "hooks/file_open.h"
#include "hooks/file_open_ioctl.h"
#include "hooks/file_open_path.h"
#include "hooks/open_sockets.h"
#include "hooks/sb_mount.h"
#include "hooks/sb_mount_namespace.h"
#include "hooks/sb_remount.h"
#include "hooks/sb_umount.h"
#include "hooks/shared.h"
#include "hooks/socket_bind.h"
#include "hooks/socket_connect.h"
#include "hooks/task_fix_setuid.h"

/* The kernel offers LSM programs only to code that may be used under the GPL
 * (include/linux/license.h). */
char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* What Go shares (internal/abi): this brings the types into the object's BTF. */
struct abi {
	enum abi_sizes sizes;
	enum operation_id operation_id;
	enum hook_id hook;
	enum protocol_id protocol;
	enum verdict_bits verdict_bits;
	enum verdict_id verdict;
	enum port_values port_values;
	enum id_values id_values;
	enum state_flags state_flags;
	enum entry_tags entry_tags;
	enum dimension_id dimension_id;
	enum row_flags row_flags;
	enum slot slot;
	enum active_flags active_flags;
	enum table_id table_id;
	enum subjects_flags subjects_flags;
	enum active_words active_words;
	enum container_list container_list;
	enum container_number container_number;
	enum plane plane;
	enum node_kind node_kind;
	enum access_flags access_flags;
	enum file_kind file_kind;
	enum device_ids device_ids;
	enum trait_flags trait_flags;
	enum mount_flags mount_flags;
	enum method_id method_id;
	struct line line;
	struct container_class container_class;
	struct container_text_key container_text_key;
	struct container_text container_text;
	struct revision revision;
	struct subjects subjects;
	struct state state;
	struct entry entry;
	struct node node;
	struct atom_word atom_word;
	struct operation operation;
	struct operation_counters operation_counters;
	struct rule_counters rule_counters;
	struct table table;
	struct tables tables;
	struct interval interval;
	struct interval6 interval6;
	struct alert alert;
	struct ancestor ancestor;
	struct execution execution;
};
const struct abi *unused_abi __attribute__((unused));
