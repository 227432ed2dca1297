package main

import (
	"os"
	"os/signal"
	"syscall"
)

// signals returns what ends a container. The first process of a pid namespace ignores them otherwise.
func signals() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
	return c
}
