package ebpfguardv1alpha1

// The plugins are pinned in internal/tools/go.mod, protoc is Debian's (scripts/install-tools generate).
//
//go:generate sh generate.sh
