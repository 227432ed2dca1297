package main

import (
	"bytes"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// columns are those of a terminal.
const columns = 80

// showUsage prints the usage of a command as cobra does, with flags that fit a terminal. A template of cobra's could say
// that, but as soon as one is set the linker has to keep every method of every type, which is 5 MB.
func showUsage(cmd *cobra.Command) error {
	var b bytes.Buffer
	out := cmd.OutOrStderr()
	cmd.SetOut(&b)
	err := new(cobra.Command).UsageFunc()(cmd) // cobra's own
	cmd.SetOut(out)
	if err != nil {
		return err
	}
	text := b.String()
	for _, flags := range []*pflag.FlagSet{cmd.LocalFlags(), cmd.InheritedFlags()} {
		if wide := strings.TrimRightFunc(flags.FlagUsages(), unicode.IsSpace); wide != "" {
			text = strings.Replace(text, wide, strings.TrimRightFunc(flags.FlagUsagesWrapped(columns), unicode.IsSpace), 1)
		}
	}
	// The same in fewer words, for names that are long.
	text = strings.Replace(text, " for more information about a command.", " for more about a command.", 1)
	_, err = io.WriteString(out, text)
	return err
}
