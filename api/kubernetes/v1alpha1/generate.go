package v1alpha1

// The generator is no dependency of this module: its version is here, and go.sum of nobody has it.
//
//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0 object crd paths=. output:crd:dir=../../../deploy/helm/ebpfguard/files/crds
