#!/bin/sh
# Writes go.mod and go.sum of this module for a release of Kubernetes:
#
#   test/cluster/kubernetes/mod.sh 1.37.2
#
# k8s.io/kubernetes replaces the modules of its staging folder by that folder, which its archive lacks: here they are
# replaced by their releases. The versions of everything else are those that it requires itself.
set -eu
cd "$(dirname "$0")"
version=$1
minor=$(echo "$version" | cut -d. -f2)
export GOWORK=off GOFLAGS=-mod=mod
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
theirs=$(cd "$work" && go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')
cat >"$work/go.mod" <<X
// The programs of Kubernetes that the tests run, as its authors release them: nothing here is linked with ours, so this
// module is none of go.work. internal/vmtest/tools builds them, which takes ten minutes of a processor, once. mod.sh
// writes this file.
//
// ldflags: -X k8s.io/component-base/version.gitVersion=v$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor
module github.com/ebpfguard/ebpfguard/test/cluster/kubernetes

$(sed -n '/^go /p;/^godebug /p' "$theirs")

tool (
$(for command in kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet; do echo "	k8s.io/kubernetes/cmd/$command"; done)
)

require k8s.io/kubernetes v$version

replace (
$(sed -n "s,^\t\(k8s.io/[a-z-]*\) => ./staging.*,\t\1 => \1 v0.${version#1.},p" "$theirs")
)
X
cp "$work/go.mod" go.mod
: >go.sum
go mod tidy
