package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestResults(t *testing.T) {
	const output = `# far
{"setup":"no guard","workload":"make","round":0,"value":1000000}
{"setup":"no guard","workload":"make","round":0,"value":9000000}
{"setup":"no guard","workload":"make","round":0,"value":2000000}
{"setup":"policies","workload":"make","round":0,"value":2040000}
{"setup":"no guard","workload":"make","round":1,"value":1000000}
nothing to us
{"setup":"policies","workload":"make","round":1,"value":1010000}
`
	all := results{}
	var rest bytes.Buffer
	if err := readResults(strings.NewReader(output), "6.12", all, &rest); err != nil {
		t.Fatal(err)
	}
	if rest.String() != "nothing to us\n" {
		t.Errorf("the rest: %q", rest.String())
	}
	want := "| make | 1.5 (2.0, 1.0) | – | **+1.50 %** (+2.00, +1.00) | – | – | 68.67 % |\n"
	if got := markdown(all); !strings.Contains(got, want) {
		t.Errorf("no %q in:\n%s", want, got)
	}
	if err := readResults(strings.NewReader("{"), "6.12", all, &rest); err == nil {
		t.Error("half a line is taken for a result")
	}
}
