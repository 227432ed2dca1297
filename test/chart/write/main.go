// Command write writes what is made of the chart, and what the chart has copies of. `-values FILE` renders the chart to the
// standard output instead, with that file's values.
package main

import (
	"flag"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"

	"github.com/ebpfguard/ebpfguard/test/chart"
)

func main() {
	root := flag.String("root", "../..", "`folder` of the checkout")
	values := flag.String("values", "", "render to the standard output with the values of `FILE`")
	flag.Parse()
	if err := run(*root, *values); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(root, file string) error {
	if file == "" {
		return chart.Write(root)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(data, &values); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	r, err := chart.Render(root, values)
	if err != nil {
		return err
	}
	for _, m := range r.Manifests {
		fmt.Printf("---\n%s", m)
	}
	for _, h := range r.Hooks {
		fmt.Printf("---\n%s\n", h.Manifest)
	}
	return nil
}
