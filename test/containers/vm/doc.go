// Package vm has tests with real container runtimes, in a guest: containerd as its authors release it, with runc.
package vm
