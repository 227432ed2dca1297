package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func newCompletionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a completion script for a shell",
		Long: `Print the script with which a shell completes this command. It asks the running
daemon for the names of policies. The packages install these scripts.`,
		Example: `  # bash: for this shell, then for every shell
  source <(ebpfguard completion bash)
  ebpfguard completion bash \
      > /usr/share/bash-completion/completions/ebpfguard

  ebpfguard completion zsh > /usr/share/zsh/vendor-completions/_ebpfguard
  ebpfguard completion fish > ~/.config/fish/completions/ebpfguard.fish`,
		ValidArgs:             []string{"bash", "zsh", "fish"},
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			w, root := cmd.OutOrStdout(), cmd.Root()
			switch strings.Join(args, " ") {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			case "":
				return usagef("no shell is given; choose bash, zsh or fish")
			}
			return usagef("no completion for %q; choose one of bash, zsh or fish", strings.Join(args, " "))
		},
	}
}
