package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard/policy"
)

// addDescription adds the flags that describe a process or an object.
func addDescription(cmd *cobra.Command, flags []*policy.Flag) {
	f := cmd.Flags()
	for _, flag := range flags {
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
		switch {
		case flag.Words != nil && flag.Form == policy.FlagList:
			completeList(cmd, flag.Name, fixed(flag.Words))
		case flag.Words != nil:
			completeWords(cmd, flag.Name, flag.Words)
		case strings.HasSuffix(flag.Name, "uid"):
			completeNames(cmd, flag.Name, "/etc/passwd")
		case strings.HasSuffix(flag.Name, "gid"):
			completeNames(cmd, flag.Name, "/etc/group")
		}
	}
}

// givenOf returns those of the flags that are given, with their values.
func givenOf(given *pflag.FlagSet, flags []*policy.Flag) map[string][]string {
	values := map[string][]string{}
	for _, flag := range flags {
		f := given.Lookup(flag.Name)
		if !f.Changed {
			continue
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values[f.Name] = list.GetSlice()
		} else {
			values[f.Name] = []string{f.Value.String()}
		}
	}
	return values
}
