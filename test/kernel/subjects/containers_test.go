//go:build vm

package subjects

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// groupOf returns the id of a control group.
func groupOf(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat("/sys/fs/cgroup" + path)
	guardtest.Check(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}

// tell tells the guard of a container for the length of the test.
func tell(t *testing.T, g *guardtest.FileGuard, path string, c policy.Container) {
	t.Helper()
	guardtest.Check(t, g.AddContainer(groupOf(t, path), c))
	t.Cleanup(func() { guardtest.Check(t, g.RemoveContainer(c.ID)) })
}

// testContainers selects by the container.
func testContainers(t *testing.T, g *guardtest.FileGuard) {
	dir := t.TempDir()
	secret := guardtest.WriteFile(t, dir+"/secret", "")
	for _, path := range []string{"/web", "/web/sub", "/web/inner", "/db", "/none"} {
		makeCgroup(t, path)
	}
	const self = "/proc/self/exe"
	web := policy.Container{ID: "web0000000000000", Name: "web", Image: "nginx:1.27", Labels: map[string]string{"app": "web"}, Runtime: "docker"}
	db := policy.Container{ID: "db00000000000000", Name: "db", Runtime: "docker"}
	named := func(name string) ebpfguard.Subject {
		return ebpfguard.Containers(policy.ContainerSelector{Names: []string{name}})
	}
	deny := func(s ebpfguard.Subject) policy.Policy { return guardtest.DenyFiles("test", s, secret) }
	refused := func(t *testing.T, d *guardtest.Doer, last, first string) {
		t.Helper()
		alert := g.Refused(t, d, "open", secret, "r")
		name := func(c *policy.Container) string {
			if c == nil {
				return ""
			}
			return c.Name
		}
		if name(alert.Container) != last || name(alert.FirstContainer) != first || alert.Unidentified {
			t.Errorf("alert %v of container %q, first %q; want %q and %q", alert, name(alert.Container), name(alert.FirstContainer), last, first)
		}
	}

	t.Run("selectors", func(t *testing.T) {
		tell(t, g, "/web", web)
		tell(t, g, "/db", db)
		for text, selected := range map[string]string{
			"{containers: [{names: [web]}]}":                      "/web /web/sub",
			"{containers: [{names: [web]}, {names: [db]}]}":       "/web /web/sub /db",
			"{containers: [{images: [nginx]}]}":                   "/web /web/sub",
			"{containers: [{labels: {app: web}, images: [sql]}]}": "",
			"{containers: [{runtimes: [docker]}]}":                "/web /web/sub /db",
			"{containers: [{}]}":                                  "/web /web/sub /db",
			"{host: true}":                                        "/ /none",
			"{containers: [{}], cgroups: [/web/sub]}":             "/web/sub",
		} {
			t.Run(text, func(t *testing.T) {
				set, err := policy.Parse("p", []byte("apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: test}\nspec:\n  subject: "+text+
					"\n  rules: [{operation: file_open, deny: {paths: ["+secret+"]}}]\n"))
				guardtest.Check(t, err)
				before := map[string]*guardtest.Doer{}
				for _, c := range []string{"/", "/none", "/web", "/web/sub", "/db"} {
					before[c] = startInCgroup(t, c, self)
				}
				g.Enforce(t, set...)
				for c, d := range before {
					for _, d := range []*guardtest.Doer{d, startInCgroup(t, c, self)} {
						if strings.Contains(" "+selected+" ", " "+c+" ") {
							g.Refused(t, d, "open", secret, "r")
						} else {
							d.Passed(t, "open", secret, "r")
						}
					}
				}
			})
		}
	})
	t.Run("pods", func(t *testing.T) {
		pod := func(namespace string, change func(*policy.Pod)) policy.Container {
			c := web
			c.Pod = &policy.Pod{Namespace: namespace, Name: "web-0", Labels: map[string]string{"tier": "front"}, ServiceAccount: "front", Owners: []string{"Deployment/web"}}
			change(c.Pod)
			return c
		}
		same := func(*policy.Pod) {}
		selecting := func(s policy.PodSelector) policy.Policy { return deny(ebpfguard.Pods(s)) }
		tell(t, g, "/db", db) // in no pod
		tell(t, g, "/web", pod("shop", same))
		d, bystander := startInCgroup(t, "/web", self), startInCgroup(t, "/db", self)
		for i, s := range []policy.PodSelector{
			{}, {Namespaces: []string{"sh*"}}, {Names: []string{"web-?"}}, {Labels: []policy.LabelSelector{{Key: "tier", Values: []string{"front"}}}},
			{Containers: []string{"web"}, Images: []string{"nginx"}}, {ServiceAccounts: []string{"front"}}, {Owners: []string{"Deployment/*"}},
		} {
			g.Enforce(t, selecting(s))
			alert := g.Refused(t, d, "open", secret, "r")
			if p := alert.Container.Pod; p == nil || p.Namespace != "shop" || p.Name != "web-0" {
				t.Errorf("selector %d: the alert is of the pod %+v", i, p)
			}
			bystander.Passed(t, "open", secret, "r")
			startInCgroup(t, "/none", self).Passed(t, "open", secret, "r")
		}
		for _, s := range []policy.PodSelector{
			{Namespaces: []string{"bank"}}, {Names: []string{"web"}}, {Labels: []policy.LabelSelector{{Key: "tier", Values: []string{"back"}}}},
			{Containers: []string{"init"}}, {ServiceAccounts: []string{"default"}}, {Owners: []string{"Job/*"}}, {Namespaces: []string{"shop"}, Images: []string{"redis"}},
		} {
			g.Enforce(t, selecting(s))
			d.Passed(t, "open", secret, "r")
		}
		// Labels change while it runs.
		back := selecting(policy.PodSelector{Labels: []policy.LabelSelector{{Key: "tier", Values: []string{"back"}}}})
		g.Enforce(t, back)
		d.Passed(t, "open", secret, "r")
		change := func(c policy.Container) {
			t.Helper()
			guardtest.Check(t, g.AddContainer(groupOf(t, "/web"), c))
			_, err := g.LabelContainers()
			guardtest.Check(t, err)
		}
		change(pod("shop", func(p *policy.Pod) { p.Labels = map[string]string{"tier": "back"} }))
		g.Refused(t, d, "open", secret, "r")
		change(pod("shop", same))
		d.Passed(t, "open", secret, "r")
		// Until the API server tells of it, it could be any for who asks for that: denials count, exceptions do not.
		partial := pod("shop", func(p *policy.Pod) { p.Partial, p.ServiceAccount, p.Owners = true, "", nil })
		change(partial)
		d.Passed(t, "open", secret, "r") // its labels are known
		identified := selecting(policy.PodSelector{ServiceAccounts: []string{"back"}})
		identified.Subject.Identified = true
		g.Enforce(t, identified)
		d.Passed(t, "open", secret, "r")
		g.Enforce(t, selecting(policy.PodSelector{ServiceAccounts: []string{"back"}}))
		g.Undecided(t, d, "open", secret, "r")
		bystander.Passed(t, "open", secret, "r")
		change(pod("shop", same))
		d.Passed(t, "open", secret, "r")
		g.Enforce(t, deny(ebpfguard.Everyone()), guardtest.AllowFiles("but", ebpfguard.Pods(policy.PodSelector{ServiceAccounts: []string{"front"}}), secret))
		d.Passed(t, "open", secret, "r")
		change(partial)
		g.Undecided(t, d, "open", secret, "r")
		g.Refused(t, bystander, "open", secret, "r")
		// A namespace's owner lifts what is delegated to him, nothing else.
		change(pod("shop", same))
		shop := ebpfguard.Pods(policy.PodSelector{Namespaces: []string{"shop"}})
		own, cluster := guardtest.AllowFiles("own", shop, secret), deny(ebpfguard.Everyone())
		own.Delegated = true
		g.Enforce(t, cluster, own)
		g.Refused(t, d, "open", secret, "r")
		g.Refused(t, bystander, "open", secret, "r")
		cluster.Delegated = true // overridable
		g.Enforce(t, cluster, own)
		d.Passed(t, "open", secret, "r")
		g.Refused(t, bystander, "open", secret, "r")
	})
	t.Run("told of after the policy", func(t *testing.T) {
		g.Enforce(t, deny(named("web")))
		early := startInCgroup(t, "/web", self)
		early.Passed(t, "open", secret, "r")
		tell(t, g, "/web", web)
		refused(t, startInCgroup(t, "/web", self), "web", "")
		early.Passed(t, "open", secret, "r") // it runs still
		early.Passed(t, "exec", self)
		refused(t, early, "web", "")
	})
	t.Run("told of while it runs", func(t *testing.T) {
		g.Enforce(t, deny(named("web")))
		d, bystander := startInCgroup(t, "/web/sub", self), startInCgroup(t, "/db", self)
		d.Passed(t, "open", secret, "r")
		tell(t, g, "/web", web)
		n, err := g.LabelContainers()
		guardtest.Check(t, err)
		if n == 0 {
			t.Error("nothing was labelled")
		}
		refused(t, d, "web", "")
		g.RefusedChild(t, d, secret)
		bystander.Passed(t, "open", secret, "r")
	})
	t.Run("never left", func(t *testing.T) {
		g.Enforce(t, deny(named("web")))
		tell(t, g, "/web", web)
		tell(t, g, "/db", db)
		d := startInCgroup(t, "/web", self)
		for _, path := range []string{"/", "/none", "/db", "/"} {
			moveToCgroup(t, d, path)
			d.Passed(t, "exec", self)
			g.Refused(t, d, "open", secret, "r")
			g.RefusedChild(t, d, secret)
			d.Passed(t, "spawn", self)
			g.Refused(t, d, "open", secret, "r")
		}
		d.Passed(t, "unshare")
		d.Passed(t, "exec", self)
		refused(t, d, "db", "web")
		d.Passed(t, "orphan", self)
		refused(t, d, "db", "web")
		g.Enforce(t, deny(named("db")))
		refused(t, d, "db", "web")
		g.Enforce(t, deny(ebpfguard.Host()))
		d.Passed(t, "open", secret, "r")
	})
	t.Run("nested", func(t *testing.T) {
		tell(t, g, "/web", web)
		tell(t, g, "/web/inner", db)
		g.Enforce(t, deny(named("web")))
		outer := startInCgroup(t, "/web", self)
		moveToCgroup(t, outer, "/web/inner")
		outer.Passed(t, "exec", self)
		refused(t, outer, "db", "web")
		startInCgroup(t, "/web/inner", self).Passed(t, "open", secret, "r") // a runtime on the host started it
		g.Enforce(t, deny(named("db")))
		refused(t, outer, "db", "web")
		refused(t, startInCgroup(t, "/web/inner", self), "db", "")
	})
	t.Run("changed", func(t *testing.T) {
		tell(t, g, "/web", web)
		g.Enforce(t, deny(named("renamed")))
		d, started := startInCgroup(t, "/web", self), startInCgroup(t, "/web", self)
		d.Passed(t, "open", secret, "r")
		started.Passed(t, "open", secret, "r")
		renamed := web
		renamed.Name = "renamed"
		guardtest.Check(t, g.AddContainer(groupOf(t, "/web"), renamed))
		started.Passed(t, "exec", self)
		refused(t, started, "renamed", "")
		_, err := g.LabelContainers()
		guardtest.Check(t, err)
		refused(t, d, "renamed", "")
		guardtest.Check(t, g.AddContainer(groupOf(t, "/web"), web))
		_, err = g.LabelContainers()
		guardtest.Check(t, err)
		d.Passed(t, "open", secret, "r")
	})
	t.Run("ended", func(t *testing.T) {
		g.Enforce(t, deny(named("web")))
		guardtest.Check(t, g.AddContainer(groupOf(t, "/web"), web))
		left := startInCgroup(t, "/web", self)
		guardtest.Check(t, g.RemoveContainer(web.ID))
		refused(t, left, "web", "")
		left.Passed(t, "exec", self)
		refused(t, left, "web", "")
		startInCgroup(t, "/web", self).Passed(t, "open", secret, "r")
	})
	t.Run("unidentified", func(t *testing.T) {
		other := guardtest.WriteFile(t, dir+"/other", "")
		scope := "/docker-" + policytest.ContainerID + ".scope"
		makeCgroup(t, scope)
		d := startInCgroup(t, scope, self)
		g.Enforce(t, deny(named("web")), guardtest.DenyFiles("all", ebpfguard.Everyone(), other),
			guardtest.AllowFiles("but", named("web"), other))
		if alert := g.Undecided(t, d, "open", secret, "r"); !alert.Unidentified || alert.Container != nil {
			t.Errorf("alert %v", alert)
		}
		g.Undecided(t, d, "open", other, "r")
		g.Undecided(t, startInCgroup(t, scope, self), "open", secret, "r")
		startInCgroup(t, "/", self).Passed(t, "open", secret, "r")
		moveToCgroup(t, d, "/")
		d.Passed(t, "exec", self)
		g.Undecided(t, d, "open", secret, "r")
		moveToCgroup(t, d, scope)
		g.Enforce(t, deny(ebpfguard.Containers()))
		g.Refused(t, d, "open", secret, "r")
		g.Enforce(t, deny(ebpfguard.Host()))
		d.Passed(t, "open", secret, "r")
		tell(t, g, scope, db)
		_, err := g.LabelContainers()
		guardtest.Check(t, err)
		g.Enforce(t, deny(named("web")))
		d.Passed(t, "open", secret, "r")
		g.Enforce(t, deny(named("db")))
		refused(t, d, "db", "")
	})
	t.Run("ten thousand", func(t *testing.T) {
		const many = 10_000
		g.Enforce(t, deny(named("web")))
		start := time.Now()
		for i := range many {
			guardtest.Check(t, g.AddContainer(1<<40+uint64(i), policy.Container{ID: fmt.Sprintf("%064x", i), Name: fmt.Sprint("other-", i), Image: "nginx"}))
		}
		added := time.Since(start)
		tell(t, g, "/web", web)
		refused(t, startInCgroup(t, "/web", self), "web", "")
		start = time.Now()
		g.Enforce(t, deny(named("web")), guardtest.DenyFiles("others", named("other-*"), secret))
		applied := time.Since(start)
		refused(t, startInCgroup(t, "/web", self), "web", "")
		startInCgroup(t, "/db", self).Passed(t, "open", secret, "r")
		start = time.Now()
		for i := range many {
			guardtest.Check(t, g.RemoveContainer(fmt.Sprintf("%064x", i)))
		}
		t.Logf("%d containers: %v to tell of one, %v to apply a set, %v to forget one", many, added/many, applied, time.Since(start)/many)
		if limit := 10 * time.Millisecond; added/many > limit {
			t.Errorf("it takes %v to tell of a container, more than %v", added/many, limit)
		}
	})
	t.Run("names of groups", func(t *testing.T) {
		g.Enforce(t, deny(ebpfguard.Containers()))
		for name, contained := range policytest.GroupNames {
			makeCgroup(t, "/"+name)
			d := startInCgroup(t, "/"+name, self)
			t.Run(name, func(t *testing.T) {
				if contained {
					g.Refused(t, d, "open", secret, "r")
				} else {
					d.Passed(t, "open", secret, "r")
				}
			})
			d.Stop()
		}
	})
}
