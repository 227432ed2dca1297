package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// policyFiles are the files and directories of policies that a command is given, by flags.
type policyFiles []string

// add adds the flag -f, which can be repeated, to the command. --policy is its former name.
func (p *policyFiles) add(cmd *cobra.Command, usage string) {
	cmd.Flags().VarP(p, "file", "f", usage+" `FILE|DIR|-` (can be repeated); - is the standard input")
	cmd.Flags().VarP(p, "policy", "p", "the same as --file")
	_ = cmd.Flags().MarkHidden("policy")
}

// and returns the files of the flags and those of the arguments.
func (p policyFiles) and(args []string) ([]string, error) {
	files := append([]string(p), args...)
	if len(files) == 0 {
		return nil, usagef("no policy is given; name a file or directory, or - for the standard input")
	}
	return files, nil
}

// Set implements pflag.Value. Both flags add to one list, in the order in which they are given.
func (p *policyFiles) Set(file string) error {
	*p = append(*p, file)
	return nil
}

// String implements pflag.Value.
func (p *policyFiles) String() string { return strings.Join(*p, ",") }

// Type implements pflag.Value.
func (p *policyFiles) Type() string { return "files" }
