// Package runtimes is the container runtimes that the tests run: see go.mod.
package runtimes
