package daemon

import (
	"fmt"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

func TestContainerCounters(t *testing.T) {
	var c containerCounters
	web, db := &policy.Container{ID: "1", Name: "web", Pod: &policy.Pod{Namespace: "shop", Name: "web-1"}}, &policy.Container{ID: "2"}
	alert := func(container *policy.Container, unidentified bool, verdict policy.Verdict, count uint64) ebpfguard.Alert {
		return ebpfguard.FileOpenAlert{AlertContext: ebpfguard.AlertContext{
			Verdict: verdict, Count: count, Process: ebpfguard.Process{Container: container, Unidentified: unidentified},
		}}
	}
	alerts := []ebpfguard.Alert{
		alert(web, false, policy.Deny, 0), alert(web, false, policy.Audit, 0), alert(web, false, policy.Kill, 2),
		alert(db, false, policy.Deny, 1), alert(nil, true, policy.Deny, 0), alert(nil, false, policy.Deny, 9),
	}
	passed := 0
	for range c.count(func(yield func(ebpfguard.Alert, error) bool) {
		for _, a := range alerts {
			if !yield(a, nil) {
				return
			}
		}
		yield(nil, errRefused)
	}) {
		passed++
	}
	all, others := c.list()
	text := ""
	for _, n := range all {
		text += fmt.Sprint(n.GetNamespace(), "/", n.GetName(), " ", n.GetAudited(), " ", n.GetDenied(), " ", n.GetKilled(), "; ")
	}
	if want := "shop/web 1 3 2; / 0 1 0; /2 0 1 0; "; text != want || others != 0 || passed != len(alerts)+1 {
		t.Errorf("%s, %d others, %d passed on; want %s", text, others, passed, want)
	}
	for i := range 2 * maxCounted {
		c.add(alert(&policy.Container{Name: fmt.Sprint("c", i)}, false, policy.Deny, 1).Context())
	}
	if all, others = c.list(); len(all) != maxCounted || others != maxCounted+3 {
		t.Errorf("%d counters, %d others", len(all), others)
	}
}
