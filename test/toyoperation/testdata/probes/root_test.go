package ebpfguard

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestToyAlert expects that an alert of the kernel is told as text and JSON.
func TestToyAlert(t *testing.T) {
	op := operationByID(uint32(abi.OperationTaskSetnice))
	if op != &taskSetnice {
		t.Fatalf("its number leads to %v", op)
	}
	alert := op.alert(AlertContext{Operation: op.name, Verdict: policy.Deny}, record{Alert: abi.Alert{Flags: 30}})
	data, err := json.Marshal(alert)
	if err != nil || !strings.HasSuffix(string(data), `"object":{"level":30}}`) {
		t.Errorf("%s, %v", data, err)
	}
	if text := alert.String(); !strings.Contains(text, "deny task_setnice to level 30") {
		t.Error(text)
	}
}
