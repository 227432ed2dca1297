package policy

import "testing"

// TestIdentified says when a policy concerns containers of which something is not known.
func TestIdentified(t *testing.T) {
	web := Container{ID: "1", Name: "web", Pod: &Pod{Namespace: "shop", Name: "web-0", UID: "u", ServiceAccount: "sa"}}
	with := func(change func(*Pod)) Process {
		c, pod := web, *web.Pod
		change(&pod)
		c.Pod = &pod
		return Process{Binary: "/bin/sh", Containers: []Container{c}}
	}
	known := with(func(*Pod) {})
	partial := with(func(p *Pod) { p.Partial, p.ServiceAccount = true, "" })
	fresh := with(func(p *Pod) { p.NewNamespace = true })
	nobody := Process{Binary: "/bin/sh", Unidentified: true}
	for _, c := range []struct {
		subject string
		process Process
		name    string
		want    string // yes, no or maybe
	}{
		{"{pods: [{}]}", known, "known", "yes"},
		{"{pods: [{}]}", nobody, "nothing known", "maybe"},
		{"{pods: [{}], identified: true}", known, "known", "yes"},
		{"{pods: [{}], identified: true}", nobody, "nothing known", "no"},
		{"{containers: [{}]}", nobody, "nothing known", "yes"},
		{"{containers: [{}], identified: true}", nobody, "nothing known", "no"},
		{"{pods: [{serviceAccounts: [sa]}]}", known, "known", "yes"},
		{"{pods: [{serviceAccounts: [sa]}]}", partial, "in part", "maybe"},
		{"{pods: [{serviceAccounts: [sa], names: [db]}]}", partial, "in part", "no"},
		{"{pods: [{serviceAccounts: [sa]}], identified: true}", partial, "in part", "no"},
		{"{pods: [{namespaces: [shop]}]}", partial, "in part", "yes"}, // nobody asks for what is not known
		{"{pods: [{namespaces: [bank]}]}", partial, "in part", "no"},
		{"{pods: [{namespaces: [bank]}]}", fresh, "in a new namespace", "no"},
		{"{pods: [{namespaces: [bank, '-']}]}", fresh, "in a new namespace", "maybe"},
		{"{pods: [{namespaces: [shop, '-']}]}", fresh, "in a new namespace", "yes"},
		{"{pods: [{namespaces: [bank, '-']}]}", known, "known", "no"},
	} {
		t.Run(c.subject+" "+c.name, func(t *testing.T) {
			set, err := Parse("p", []byte("apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  subject: "+c.subject+
				"\n  rules: [{operation: file_open, deny: {paths: [/a]}}]"))
			if err != nil {
				t.Fatal(err)
			}
			d := Decide(set, Request{Process: c.process, Operation: FileOpen, Object: File{Names: Names{Path: "/a"}, Access: Read}})
			got := "no"
			switch {
			case d.Verdict == Deny && d.Undecided:
				got = "maybe"
			case d.Verdict == Deny:
				got = "yes"
			}
			if got != c.want {
				t.Errorf("it is selected: %s, want %s; %+v", got, c.want, d)
			}
			text := Format(set)
			again, err := Parse("again", text)
			if err != nil || !Equal(again[0], set[0]) {
				t.Errorf("it is written as\n%s, which is read as %v: %v", text, again, err)
			}
		})
	}
}
