package main

import (
	"bufio"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completeWords completes the value of a flag with words.
func completeWords(cmd *cobra.Command, flag string, words []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// completeList completes each word of a flag whose value is a list with commas.
func completeList(cmd *cobra.Command, flag string, words cobra.CompletionFunc) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		given := strings.Split(before, ",")
		found, directive := words(cmd, nil, typed[len(before):])
		var completed []string
		for _, word := range without(found, given) {
			completed = append(completed, before+word)
		}
		return completed, directive | cobra.ShellCompDirectiveNoSpace
	})
}

// fixed returns the words, whatever is typed.
func fixed(words []string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// completeNames completes the value of a flag with the users or groups of this machine.
func completeNames(cmd *cobra.Command, flag, database string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return namesIn(database), cobra.ShellCompDirectiveNoFileComp
	})
}

// namesIn returns the names in passwd(5) or group(5). Those of LDAP and SSSD are not asked for: a
// directory may hold thousands.
func namesIn(database string) []string {
	file, err := os.Open(database)
	if err != nil {
		return nil
	}
	defer file.Close()
	var names []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, _, ok := strings.Cut(lines.Text(), ":"); ok && name != "" && !strings.ContainsAny(name[:1], "#+-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// completeChoices completes all flags, of the command and those below it, that take one of a few words.
func completeChoices(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if words := choices(f); words != nil {
			completeWords(cmd, f.Name, words)
		}
	})
	for _, c := range cmd.Commands() {
		completeChoices(c)
	}
}

// choices returns the words that a flag takes, nil if it takes others too.
func choices(f *pflag.Flag) []string {
	words := strings.Split(f.Value.Type(), "|")
	if len(words) == 1 {
		return nil
	}
	return words
}
