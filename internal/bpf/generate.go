package bpf

// The compiled objects are committed, so users need no clang: "guard" for Linux 6.2 and later, "older" for earlier
// kernels (bpf/maps.h). They have the same maps, programs and variables, so that the names of one do for both. The types and constants that C
// and Go share are generated from the object's type information into internal/abi. A quarter of what the compiler makes
// tells a linker about the lines of the source; it is removed.
//
//go:generate go tool bpf2go -go-package bpf -output-stem guard -target bpfel -cc clang -cflags "-O2 -g -Wall -Werror -D__TARGET_ARCH_x86" -no-global-types Guard ../../bpf/ebpfguard.bpf.c
//go:generate go tool bpf2go -go-package bpf -output-stem older -target bpfel -cc clang -cflags "-O2 -g -Wall -Werror -D__TARGET_ARCH_x86 -DBEFORE_6_2" -no-global-types Older ../../bpf/ebpfguard.bpf.c
//go:generate llvm-objcopy --remove-section .rel.BTF.ext guard_bpfel.o
//go:generate llvm-objcopy --remove-section .rel.BTF.ext older_bpfel.o
//go:generate go run ../abi/generate guard_bpfel.o ../abi/layout.go
