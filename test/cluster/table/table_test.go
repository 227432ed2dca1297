package main

import (
	"strings"
	"testing"
)

const output = `node: containerd and kubelet were started
versions: Kubernetes v1.2.3, containerd 4.5.6, Linux 6.12.1
=== RUN   TestOne
    one_test.go:1: seen: refused 3 times
--- PASS: TestOne (12.34s)
=== RUN   TestTwo
=== RUN   TestTwo/part
--- FAIL: TestTwo (5.00s)
    --- PASS: TestTwo/part (1.50s)
FAIL
`

func TestPage(t *testing.T) {
	r, err := parse(output)
	if err != nil {
		t.Fatal(err)
	}
	text, err := page([]test{{"TestOne", "does one"}, {"TestTwo", "does two"}, {"TestThree", "does three"}}, []result{r})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"- Kubernetes v1.2.3, containerd 4.5.6, Linux 6.12.1\n", "| test | what it does | 6.12.1 |\n",
		"| `TestOne` | does one | ok, 12 s: refused 3 times |\n", "| `TestTwo` | does two | **failed** |\n", "|  | part | ok, 2 s |\n",
		"| `TestThree` | does three | not run |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	r, err = parse(output + "--- PASS: TestTwo (7.00s)\n--- PASS: TestOne (1.00s)\n")
	if err != nil {
		t.Fatal(err)
	}
	text, err = page([]test{{"TestOne", "does one"}, {"TestTwo", "does two"}}, []result{r})
	if err != nil || !strings.Contains(text, "| does two | ok when run again, 7 s |\n") || !strings.Contains(text, "| does one | ok, 1 s: refused") {
		t.Errorf("run again: %v\n%s", err, text)
	}
	if _, err := parse("ok\n"); err == nil {
		t.Error("an output of something else is read without an error")
	}
}

func TestComments(t *testing.T) {
	tests, err := comments("../node")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range tests {
		if one.comment == "" {
			t.Errorf("%s has no comment, which the page shows", one.name)
		}
	}
}
