// Command up makes a cluster, runs a program that finds kubectl and helm and reaches it as the administrator, and ends
// the cluster with it:
//
//	go run ./test/cluster/up -version 0.0.9 -- sh
//
// The node has ebpfguard's image with that version and those of test/cluster/images.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/ebpfguard/ebpfguard/test/cluster"
)

func main() {
	kernel := flag.String("kernel", "6.12", "`name` of the node's kernel in internal/vmtest/kernels.go")
	version := flag.String("version", "0.0.9", "`version` of ebpfguard's image")
	verbose := flag.Bool("v", false, "tell what the node tells")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: up [flags] PROGRAM [ARGUMENT...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	o := cluster.Options{Kernel: *kernel, Versions: []string{*version}, Log: io.Discard}
	if *verbose {
		o.Log = os.Stderr
	}
	code, err := run(ctx, o, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "up:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(ctx context.Context, o cluster.Options, command []string) (int, error) {
	c, err := cluster.Up(ctx, o)
	if err != nil {
		return 1, err
	}
	defer c.Down(context.WithoutCancel(ctx))
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if cmd.Env, err = c.Environment(); err != nil {
		return 1, err
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}
