package docs

import _ "embed" // the pages of which the command makes manual pages

var (
	// Policies is policies.md.
	//
	//go:embed policies.md
	Policies string
	// Semantics is semantics.md.
	//
	//go:embed semantics.md
	Semantics string
	// Daemon is daemon.md.
	//
	//go:embed daemon.md
	Daemon string
)
