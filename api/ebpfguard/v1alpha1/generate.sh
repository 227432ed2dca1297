#!/bin/sh
# Generates the Go side of guard.proto beside it.
set -eu
plugins=$(mktemp -d)
trap 'rm -rf "$plugins"' EXIT
for plugin in google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc; do
	go build -o "$plugins/" "$plugin"
done
cd ../..
PATH="$plugins:$PATH" protoc --go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative ebpfguard/v1alpha1/guard.proto
