// Command tools builds the programs that a module's tool lines name, unless the cache has them, and prints the folder:
//
//	go run ./internal/vmtest/tools -arch amd64 test/containers/runtimes
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

func main() {
	arch := flag.String("arch", "amd64", "`architecture` of the programs")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: tools [flags] MODULE")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := vmtest.BuildTools(ctx, flag.Arg(0), *arch, func(s string) { fmt.Fprintln(os.Stderr, "tools:", s) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}
