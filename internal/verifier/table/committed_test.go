package main

import (
	"os"
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/verifier"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// TestCommitted finds a table that was edited, or figures that were renewed
// without it: the kernel tests compare with the figures, people read the table.
func TestCommitted(t *testing.T) {
	figures, err := verifier.Read("../../bpf/" + verifier.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, kernel := range vmtest.Names() {
		k, err := vmtest.ByName(kernel)
		if err != nil {
			t.Fatal(err)
		}
		// What TestVerifier requires, too.
		if k.Offers("socket_bind") && len(figures[kernel]) == 0 {
			t.Errorf("%s has no figures of kernel %s; %s writes them", verifier.File, kernel, verifier.Renew)
		}
	}
	for kernel := range figures {
		if !slices.Contains(vmtest.Names(), kernel) {
			t.Errorf("%s has figures of kernel %s, which is not tested; %s forgets them", verifier.File, kernel, verifier.Renew)
		}
	}
	table, err := os.ReadFile("../../../docs/bench/verifier.md")
	if err != nil {
		t.Fatal(err)
	}
	if markdown(figures, vmtest.Names()) != string(table) {
		t.Errorf("docs/bench/verifier.md is not what %s says; %s writes both", verifier.File, verifier.Renew)
	}
}
