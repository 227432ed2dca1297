package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/daemon/config"
)

func newCheckCommand() *cobra.Command {
	format := outputText
	var place hostPlace
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Show what this kernel can enforce, and how to enable what it lacks",
		Long: `Show what this kernel can enforce, and how to enable what it lacks.

Tries everything that enforcement needs, which takes root, and leaves nothing
behind. It looks what is missing here: in a container, or without some
capabilities, a GAP makes policies or alerts worth less. Then it lists for each
operation the hooks that this kernel has, what they cover, and what is not
covered. The exit code is 1 if this kernel cannot enforce at all.`,
		Example: `  sudo ebpfguard check
  sudo ebpfguard check --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, err := place.find()
			if err != nil {
				return fmt.Errorf("check: %w", err)
			}
			return check(cmd.OutOrStdout(), ebpfguard.ProbeFor(ebpfguard.Options{HostRoot: root, PinPath: config.Default().Pins, Enrich: true}), format)
		},
	}
	place.add(cmd.Flags())
	outputFlag(cmd.Flags(), &format, "the `format`: text or json", outputText, outputJSON)
	return cmd
}

// check prints the report and returns errReported when the kernel cannot enforce.
func check(w io.Writer, report ebpfguard.Report, format output) error {
	var err error
	if format == outputJSON {
		err = printJSON(w, report)
	} else {
		_, err = io.WriteString(w, describe(report))
	}
	if err == nil && report.Err() != nil {
		err = errReported
	}
	return err
}

// describe says it in plain words: the verdict, what to do, and the details.
func describe(report ebpfguard.Report) string {
	var b strings.Builder
	b.WriteString(checkVerdict(report) + "\n")
	for _, c := range report.Checks {
		if !c.OK && c.Required && c.Remedy != "" {
			fmt.Fprintf(&b, "\nWhat to do:\n%s\n", wrap(c.Remedy))
		}
	}
	b.WriteString(describePlace(report))
	lsms := "unknown"
	if report.LSMs != nil {
		lsms = strings.Join(report.LSMs, ",")
	}
	fmt.Fprintf(&b, "\nkernel            %s\nsecurity modules  %s\n\n", report.Kernel, lsms)

	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CHECK\tRESULT\tDETAIL")
	for _, c := range report.Checks {
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.Name, checkResult(c), firstLine(c.Detail))
	}
	t.Flush()

	b.WriteString("\n")
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "OPERATION\tENFORCED\tHOOK\tON THIS KERNEL\tCOVERS")
	for _, o := range report.Operations {
		name, enforced := string(o.Operation), yesNo(o.Supported)
		for _, h := range o.Hooks {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", name, enforced, h.Name, yesNo(h.Available), covers(h))
			name, enforced = "", ""
		}
		if len(o.Hooks) == 0 {
			fmt.Fprintf(t, "%s\t%s\t\t\t\n", name, enforced)
		}
	}
	t.Flush()
	for _, o := range report.Operations {
		if o.Detail != "" && report.Enforcing {
			fmt.Fprintf(&b, "%s: %s\n", o.Operation, o.Detail)
		}
	}
	b.WriteString(describeGaps(report.Operations))
	return trimLines(b.String())
}

// covers says what a hook is for and, if this kernel lacks it, what that means.
func covers(h ebpfguard.HookSupport) string {
	switch {
	case h.Available:
		return h.Effect
	case h.Detail != "":
		return fmt.Sprintf("%s (%s)", h.Effect, h.Detail)
	}
	return h.Effect + " (NOT COVERED)"
}

// describeGaps lists what passes on this kernel whatever the policies say.
func describeGaps(operations []ebpfguard.OperationSupport) string {
	var b strings.Builder
	for _, o := range operations {
		if len(o.NotCovered) == 0 {
			continue
		}
		if b.Len() == 0 {
			b.WriteString("\nNot covered on this kernel, and why (docs/hooks.md):\n")
		}
		fmt.Fprintf(&b, "\n%s\n", o.Operation)
		for _, gap := range o.NotCovered {
			b.WriteString(wrapFrom("- ", gap.Effect+": "+gap.Reason) + "\n")
		}
	}
	return b.String()
}

// checkVerdict is the first line: whether the kernel can enforce, and if not, why.
func checkVerdict(report ebpfguard.Report) string {
	err := report.Err()
	if err == nil {
		var lacking []string
		for _, o := range report.Operations {
			if !o.Supported {
				lacking = append(lacking, string(o.Operation))
			}
		}
		if lacking != nil {
			return "This kernel can enforce ebpfguard policies, but not " + strings.Join(lacking, ", ") + "."
		}
		return "This kernel can enforce ebpfguard policies."
	}
	reason := err.Error()
	for _, c := range report.Checks {
		if !c.OK && c.Required && c.Detail != "" {
			reason = firstLine(c.Detail)
			break
		}
	}
	return "This kernel cannot enforce ebpfguard policies: " + strings.TrimSuffix(reason, ".") + "."
}

// describePlace lists what makes policies or alerts worth less where this process runs, with what to do.
func describePlace(report ebpfguard.Report) string {
	var b strings.Builder
	for _, c := range report.Checks {
		if !c.OK && c.Gap {
			if b.Len() == 0 {
				b.WriteString("\nMissing here; run and daemon refuse to start so, unless --allow-gaps is given:\n")
			}
			b.WriteString(wrapFrom("- ", c.Name+" "+c.Detail+"; "+c.Remedy) + "\n")
		}
	}
	return b.String()
}

func checkResult(c ebpfguard.Check) string {
	if !c.OK && c.Gap {
		return "GAP"
	}
	if !c.OK && !c.Required {
		return "no, not needed"
	}
	return yesNo(c.OK)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// wrap breaks the text into indented lines of at most 80 characters. It breaks no
// words: some are to be copied.
func wrap(text string) string { return wrapFrom("", text) }

// wrapFrom is wrap for the item of a list, which begins so.
func wrapFrom(bullet, text string) string {
	const width = 80
	indent := "  " + bullet
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(indent+line+" "+word) > width {
			lines = append(lines, indent+line)
			indent, line = strings.Repeat(" ", len(indent)), word
			continue
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, indent+line), "\n")
}

// trimLines removes the blanks that fill up the last column of a table.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}
