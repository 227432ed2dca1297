package main

import (
	"fmt"
	"io"
	"strings"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

// printWarnings prints the daemon's warnings about a change that it made.
func printWarnings(w io.Writer, warnings []string) {
	for _, warning := range warnings {
		fmt.Fprintln(w, printable(warning))
	}
}

// printChanges prints what a change did, or on a dry run what it would do and
// the difference.
func printChanges(w io.Writer, c *pb.Changes, dryRun bool) error {
	var b strings.Builder
	if dryRun && c.GetDiff() != "" {
		b.WriteString(strings.TrimRight(c.GetDiff(), "\n") + "\n\n")
	}
	for _, group := range []struct {
		word  string
		names []string
	}{{"added", c.GetAdded()}, {"changed", c.GetChanged()}, {"removed", c.GetRemoved()}} {
		for _, name := range group.names {
			fmt.Fprintf(&b, "%-9s %s\n", group.word, printable(name))
		}
	}
	changed := len(c.GetAdded()) + len(c.GetChanged()) + len(c.GetRemoved())
	unchanged := ""
	if n := len(c.GetUnchanged()); n > 0 && changed > 0 {
		unchanged = fmt.Sprintf(", %d unchanged", n)
	}
	switch {
	case changed == 0 && dryRun:
		fmt.Fprintf(&b, "nothing would change: revision %d is in force\n", c.GetRevision())
	case changed == 0:
		fmt.Fprintf(&b, "nothing changed: revision %d is in force\n", c.GetRevision())
	case dryRun:
		fmt.Fprintf(&b, "nothing changed (--dry-run): %d to add, %d to change, %d to remove%s\n",
			len(c.GetAdded()), len(c.GetChanged()), len(c.GetRemoved()), unchanged)
	default:
		fmt.Fprintf(&b, "revision %d is in force: %d added, %d changed, %d removed%s\n", c.GetRevision(),
			len(c.GetAdded()), len(c.GetChanged()), len(c.GetRemoved()), unchanged)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
