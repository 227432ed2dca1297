// Command table writes docs/kubernetes-tested.md: what the output of make test-k8s says.
//
//	go run ./test/cluster/table -write docs/kubernetes-tested.md bin/test-k8s-6.12.log bin/test-k8s-7.log
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	write := flag.String("write", "", "`file` to write the page to; else it is printed")
	tests := flag.String("tests", "test/cluster/node", "`folder` of the tests")
	flag.Parse()
	if err := run(*write, *tests, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func run(write, folder string, logs []string) error {
	documented, err := comments(folder)
	if err != nil {
		return err
	}
	var results []result
	for _, name := range logs {
		raw, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("%w; make test-k8s writes it", err)
		}
		r, err := parse(string(raw))
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		results = append(results, r)
	}
	text, err := page(documented, results)
	if err != nil {
		return err
	}
	if write == "" {
		fmt.Print(text)
		return nil
	}
	return os.WriteFile(write, []byte(text), 0o644)
}
