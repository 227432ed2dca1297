package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newManCommand returns the command that packages are made with. It is hidden:
// who has a package has the pages.
func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages of the commands and of their files into a directory",
		Example: `  ebpfguard man dist/man && man dist/man/ebpfguard-status.1`,
		Hidden:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("man takes one directory; write for example dist/man")
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("man: %w; choose another directory", err)
			}
			for _, root := range []*cobra.Command{cmd.Root(), newPluginCommand()} {
				if err := writeManPages(args[0], root); err != nil {
					return err
				}
			}
			return writeFormatPages(args[0])
		},
	}
}

// writeManPages writes the page of the command and of those below it.
func writeManPages(dir string, cmd *cobra.Command) error {
	path := filepath.Join(dir, manName(cmd)+".1")
	if err := os.WriteFile(path, []byte(manPage(cmd)), 0o644); err != nil {
		return fmt.Errorf("man: %w; choose another directory", err)
	}
	for _, c := range manCommands(cmd) {
		if err := writeManPages(dir, c); err != nil {
			return err
		}
	}
	return nil
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manCommands returns the commands below one that have a page.
func manCommands(cmd *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			list = append(list, c)
		}
	}
	return list
}

// manPage returns a page in man(7)'s macros. It has no date: the same source
// gives the same bytes.
func manPage(cmd *cobra.Command) string {
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	var b strings.Builder
	b.WriteString(manHead(manName(cmd), 1, cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n%s\n", roff(cmd.UseLine()))
	if len(manCommands(cmd)) > 0 {
		b.WriteString(".SH COMMANDS\n")
	}
	for _, c := range manCommands(cmd) {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(c.Name()), roff(c.Short))
	}
	if cmd.Long != "" {
		b.WriteString(".SH DESCRIPTION\n" + manText(cmd.Long))
	}
	b.WriteString(".SH OPTIONS\n")
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { b.WriteString(manFlag(f)) })
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { b.WriteString(manFlag(f)) })
	if cmd.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(atMargin(cmd.Example)))
	}
	var also []string
	if cmd.HasParent() {
		also = append(also, `\fB`+roff(manName(cmd.Parent()))+`\fR(1)`)
	}
	for _, c := range manCommands(cmd) {
		also = append(also, `\fB`+roff(manName(c))+`\fR(1)`)
	}
	for _, format := range formats {
		also = append(also, `\fB`+roff(format.name)+`\fR(5)`)
	}
	fmt.Fprintf(&b, ".SH SEE ALSO\n%s\n", strings.Join(also, ",\n"))
	return b.String()
}

// manText returns text whose paragraphs are filled; what has lines that are moved in, such as a list,
// stays as it is written.
func manText(text string) string {
	var b strings.Builder
	for block := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(block, " ") || strings.Contains(block, "\n ") {
			fmt.Fprintf(&b, ".PP\n.nf\n%s\n.fi\n", roff(atMargin(block)))
		} else {
			fmt.Fprintf(&b, ".PP\n%s\n", roff(block))
		}
	}
	return b.String()
}

// atMargin returns text whose lines are moved in by two blanks less: man has a margin of its own.
func atMargin(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "  "), "\n  ", "\n")
}

// manHead returns how a page begins.
func manHead(name string, section int, short string) string {
	// A name that is broken at a line's end cannot be copied, and most names here are long.
	return fmt.Sprintf(".TH %q %d \"\" \"ebpfguard\" \"ebpfguard\"\n.nh\n.ad l\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), section, roff(name), roff(short))
}

func manFlag(f *pflag.Flag) string {
	if f.Hidden {
		return ""
	}
	value, usage := pflag.UnquoteUsage(f)
	name := `\fB\-\-` + roff(f.Name) + `\fR`
	if f.Shorthand != "" {
		name = `\fB\-` + f.Shorthand + `\fR, ` + name
	}
	if value != "" {
		name += ` \fI` + roff(value) + `\fR`
	}
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" && f.DefValue != "[]" {
		usage += " (default " + f.DefValue + ")"
	}
	return fmt.Sprintf(".TP\n%s\n%s\n", name, roff(usage))
}

// roff writes text so that roff does not take it for something else.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "\\(ga", "^", `\(ha`, "~", `\(ti`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
