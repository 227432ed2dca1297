package bpf

// The compiled object is committed, so users need no clang. The types and constants that C
// and Go share are generated from the object's type information into internal/abi.
//
//go:generate go tool bpf2go -go-package bpf -output-stem guard -target bpfel -cc clang -cflags "-O2 -g -Wall -Werror -D__TARGET_ARCH_x86" -no-global-types Guard ../../bpf/ebpfguard.bpf.c
//go:generate go run ../abi/generate guard_bpfel.o ../abi/layout.go
