// Package kubernetes is the programs of Kubernetes that the tests run: see go.mod.
package kubernetes
