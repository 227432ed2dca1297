package main

import (
	"bytes"
	"os"
	"testing"
)

// TestDaemonTable: the table says what the figures do, and they are within the bounds.
func TestDaemonTable(t *testing.T) {
	all, err := readJSON("../docs/bench/daemon.json")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	printDaemon(&b, all)
	table, err := os.ReadFile("../docs/bench/daemon.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(table, b.Bytes()) {
		t.Errorf("daemon.md is not what daemon.json makes:\n%s", b.Bytes())
	}
	for kernel, figures := range all {
		f := footprintOf(figures)
		if f.Start == 0 || f.Idle == 0 || f.Storm == 0 {
			t.Errorf("%s lacks figures: %+v", kernel, f)
		}
		if err := f.Err(); err != nil {
			t.Errorf("%s: %v", kernel, err)
		}
	}
}
