package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard/api/client"
	"github.com/ebpfguard/ebpfguard/internal/duration"
)

// socketVariable names the daemon's socket, unless --socket does.
const socketVariable = "EBPFGUARD_SOCKET"

// questionTime is how long the daemon may take to answer a question. What
// changes the set may take as long as it does.
const questionTime = 15 * time.Second

// remote is a daemon on this machine.
type remote struct{ socket string }

// add adds the flag --socket to the command and to those below it.
func (r *remote) add(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&r.socket, "socket", "",
		"the daemon's socket, a `path` (default $"+socketVariable+", or "+client.DefaultSocket+")")
}

func (r *remote) path() string {
	return cmp.Or(r.socket, os.Getenv(socketVariable), client.DefaultSocket)
}

// ask calls the daemon with a question.
func (r *remote) ask(cmd *cobra.Command, f func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), questionTime)
	defer cancel()
	return r.call(ctx, cmd, f)
}

// change calls the daemon with what may take long; an interrupt ends the call.
func (r *remote) change(cmd *cobra.Command, f func(context.Context, *client.Client) error) error {
	ctx, cancel := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	return r.call(ctx, cmd, f)
}

func (r *remote) call(ctx context.Context, cmd *cobra.Command, f func(context.Context, *client.Client) error) error {
	guard, err := client.Dial(r.path())
	if err == nil {
		defer guard.Close()
		err = f(ctx, guard)
	}
	return r.explain(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "), err)
}

// explain adds to an error what was called, and what only a command knows.
func (r *remote) explain(what string, err error) error {
	var usage *usageError
	switch {
	case err == nil, errors.Is(err, errReported), errors.As(err, &usage):
		return err
	case noDaemonRuns(err):
		return fmt.Errorf("%s: %w (--socket or $%s)", what, err, socketVariable)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: the daemon did not answer within %s; enforcement goes on, see 'journalctl -u ebpfguard'", what, duration.Text(questionTime))
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: interrupted; see 'ebpfguard get' for what is in force", what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// noDaemonRuns reports whether the error says that nothing serves the socket.
func noDaemonRuns(err error) bool {
	return errors.Is(err, client.ErrNoDaemon) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED))
}

// complete completes arguments with names that the daemon knows.
func (r *remote) complete(names func(context.Context, *client.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
		defer cancel()
		var found []string
		err := r.call(ctx, cmd, func(ctx context.Context, guard *client.Client) (err error) {
			found, err = names(ctx, guard)
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return without(found, given), cobra.ShellCompDirectiveNoFileComp
	}
}
