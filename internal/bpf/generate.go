package bpf

// The layout of tables and alerts is generated from bpf/abi.h: C and Go share
// one definition. The compiled object is committed, so users need no clang.
//
//go:generate go tool bpf2go -go-package bpf -output-stem guard -target bpfel -cc clang -cflags "-O2 -g -Wall -Werror -D__TARGET_ARCH_x86" -type abi_sizes -type operation_id -type hook_id -type protocol_id -type port_values -type id_values -type class_values -type state_flags -type entry_tags -type dimension_id -type row_flags -type force_flags -type table_id -type subjects_flags -type access_flags -type trait_flags -type mount_flags -type means_id -type verdict_bits -type verdict_id -type line -type revision -type subjects -type state -type entry -type operation -type table -type tables -type interval -type interval6 -type operation_counters -type rule_counters -type socket_object -type alert -type ancestor -type execution Guard ../../bpf/ebpfguard.bpf.c
