package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard/policy"
)

// addObjectFlags adds the flags that describe the object of an operation.
func addObjectFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	for _, flag := range policy.ObjectFlags() {
		switch flag.Form {
		case policy.FlagSwitch:
			f.Bool(flag.Name, false, flag.Usage)
		case policy.FlagRepeated:
			f.StringArray(flag.Name, nil, flag.Usage)
		case policy.FlagList:
			var values []string
			if flag.Default != "" {
				values = strings.Split(flag.Default, ",")
			}
			f.StringSlice(flag.Name, values, flag.Usage)
		default:
			f.String(flag.Name, flag.Default, flag.Usage)
		}
		if flag.Words != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, cobra.FixedCompletions(flag.Words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

// objectFlags returns the values of the flags that describe an object and are given.
func objectFlags(given *pflag.FlagSet) map[string][]string {
	values := map[string][]string{}
	given.Visit(func(f *pflag.Flag) {
		if len(policy.FlagOwners(f.Name)) == 0 {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values[f.Name] = list.GetSlice()
		} else {
			values[f.Name] = []string{f.Value.String()}
		}
	})
	return values
}
