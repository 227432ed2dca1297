package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

const header = `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: p}
`

// ruled returns a policy whose rule begins on line 7 with the given lines.
func ruled(lines string) string {
	return header + "spec:\n  subject: {}\n  rules:\n  - " + strings.ReplaceAll(lines, "\n", "\n    ") + "\n"
}

func TestParse(t *testing.T) {
	const text = `# The example of the documentation.
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: no-rogue-sshd}
spec:
  mode: enforce            # or audit
  subject: {}              # every process
  rules:
  - operation: socket_bind
    allow: all
    deny: {ports: [22, 2200-2299]}
    message: "nobody listens for ssh here"
    severity: high
    tags: [ssh, "T1021.004"]
    alert_limit: 100
---
# nothing
---
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: lan/only}
spec:
  mode: audit
  subject: {binaries: [/usr/sbin/sshd, /opt/a b]}
  rules:
  - operation: socket_bind
    deny:
    - all
    - addresses: &lan [10.0.0.0/8, "::1", 192.168.1.1, "::ffff:10.0.0.0/104"]
      protocols: [tcp, udp, udplite, sctp, dccp, icmp, raw]
    allow:
    - addresses: *lan
`
	lan := addresses("10.0.0.0/8", "::1/128", "192.168.1.1/32", "10.0.0.0/8")
	want := []Policy{
		{
			Name: "no-rogue-sshd", Mode: ModeEnforce, Subject: Subject{Everyone: true}, Source: "dir/a.yaml:2:1",
			Rules: []Rule{{
				Operation: SocketBind,
				Allow:     patterns{all()}, Deny: patterns{both(ports(22), portRange(2200, 2299))},
				Message: "nobody listens for ssh here", Severity: SeverityHigh, Tags: []string{"ssh", "T1021.004"}, AlertLimit: 100,
				Source: "dir/a.yaml:9:5",
			}},
		},
		{
			Name: "lan/only", Mode: ModeAudit, Subject: Subject{Binaries: []string{"/usr/sbin/sshd", "/opt/a b"}}, Source: "dir/a.yaml:19:1",
			Rules: []Rule{{
				Operation: SocketBind,
				Allow:     patterns{lan},
				Deny:      patterns{all(), both(lan, protocol(TCP, UDP, UDPLite, SCTP, DCCP, ICMP, Raw))},
				Source:    "dir/a.yaml:26:5",
			}},
		},
	}
	got, err := Parse("dir/a.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, ignoreSource[2]); diff != "" {
		t.Error(diff)
	}
}

func TestParseErrors(t *testing.T) {
	deny := func(pattern string) string { return ruled("operation: socket_bind\ndeny: " + pattern) }
	// In these the pattern begins at 8:11.
	port := func(p string) string { return deny("{ports: [" + p + "]}") }        // the value at 8:20
	address := func(a string) string { return deny("{addresses: [" + a + "]}") } // the value at 8:24
	subject := func(s string) string {
		return header + "spec:\n  subject: " + s + "\n  rules: [{operation: socket_bind, deny: all}]\n"
	}
	const rule0 = `policy "p": rule 0: `
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", `p.yaml:1:1: the file contains no policy; begin one with apiVersion: ebpfguard.io/v1alpha1`},
		{"comments only", "# a\n---\n# b\n", `p.yaml:1:1: the file contains no policy; begin one with apiVersion: ebpfguard.io/v1alpha1`},
		{"no YAML", "a: b: c", `p.yaml:1:1: not valid YAML: mapping values are not allowed in this context; indent this line as the others of its mapping, and write values with a colon in quotes`},
		{"a scalar", "hello", `p.yaml:1:1: a policy must be a mapping, not "hello"; write apiVersion: ebpfguard.io/v1alpha1`},
		{"an empty list", "[]", `p.yaml:1:1: the list contains no policy; add one or begin with apiVersion: ebpfguard.io/v1alpha1`},
		{"a list without tags", "- socket_bind: {}", `p.yaml:1:3: a policy in a list must be tagged with its operation, as in the original ebpfguard library; write - !socket_bind, or begin with apiVersion: ebpfguard.io/v1alpha1 instead of a list`},
		{"wrong version", "apiVersion: v1\nkind: Policy", `p.yaml:1:13: apiVersion is "v1", which this version does not know; write apiVersion: ebpfguard.io/v1alpha1`},
		{"wrong kind", "apiVersion: ebpfguard.io/v1alpha1\nkind: Pod", `p.yaml:2:7: kind is "Pod", which this version does not know; write kind: Policy`},
		{"everything missing", "{}", `p.yaml:1:1: apiVersion is missing; write apiVersion: ebpfguard.io/v1alpha1
p.yaml:1:1: kind is missing; write kind: Policy
p.yaml:1:1: metadata is missing; write metadata: {name: ...}
p.yaml:1:1: spec is missing; write spec: with subject and rules`},
		{"unknown field", header + "specs: {}", `p.yaml:4:1: unknown field "specs" of a policy; did you mean spec?`},
		{"unknown far field", subject("{}") + "status: {}", `p.yaml:7:1: unknown field "status" of a policy; choose from apiVersion, kind, metadata, spec`},
		{"duplicate key", subject("{}") + "kind: Policy", `p.yaml:7:1: field "kind" of a policy is already on line 2; remove one`},
		{"merge key", "<<: {}\n" + subject("{}"), `p.yaml:1:1: merge keys are not supported; write the fields of a policy out`},
		{"name not a string", strings.Replace(subject("{}"), "name: p", "name: 12", 1), `p.yaml:3:18: name must be a string, not 12; write "12" with the quotes`},
		{"bad name", strings.Replace(subject("{}"), "name: p", "name: P", 1), `p.yaml:3:18: "P" is no policy name; use a-z, 0-9, '-', '.', '_' and '/', first and last a letter or digit`},
		{"missing subject", header + "spec:\n  rules: [{operation: socket_bind, deny: all}]", `p.yaml:5:3: policy "p": subject is missing; write subject: {} for every process`},
		{"empty subject", subject(""), `p.yaml:5:11: policy "p": subject has no value; write subject: {} for every process or subject: {binaries: [...]}`},
		{"subject unknown", subject("{nodes: [a]}"), `p.yaml:5:13: policy "p": unknown field "nodes" of subject; did you mean pods?`},
		{"pod", subject("{pods: [a]}"), `p.yaml:5:20: policy "p": a pod must be a mapping, not "a"; write {namespaces: [shop]}, or {} for any pod`},
		{"pod field", subject("{pods: [{namespace: shop}]}"), `p.yaml:5:21: policy "p": unknown field "namespace" of a pod; did you mean namespaces?`},
		{"pod namespace", subject("{pods: [{namespaces: [Shop]}]}"), `p.yaml:5:34: policy "p": namespace "Shop" has the character 'S', which names in Kubernetes cannot have; write lower-case letters, digits, '-' and '.', or the wildcards '*' and '?', such as shop or shop-*`},
		{"pod name", subject("{pods: [{names: [shop/web]}]}"), `p.yaml:5:29: policy "p": pod name "shop/web" has the character '/', which names in Kubernetes cannot have; write lower-case letters, digits, '-' and '.', or the wildcards '*' and '?', such as web-0 or web-*`},
		{"pod owner", subject("{pods: [{owners: [web]}]}"), `p.yaml:5:30: policy "p": owner "web" is not KIND/NAME; write one such as Deployment/web or Job/*`},
		{"pod owner's kind", subject("{pods: [{owners: ['*/web']}]}"), `p.yaml:5:30: policy "p": owner "*/web" has the kind "*"; write a kind as manifests have it, without wildcards, such as Deployment/web or Job/*`},
		{"pod service account", subject("{pods: [{serviceAccounts: ['']}]}"), `p.yaml:5:39: policy "p": service account "" is empty; write one such as default`},
		{"pod labels", subject("{pods: [{labels: {app: []}}]}"), `p.yaml:5:35: policy "p": label app is an empty list; add a value or leave the field out`},
		{"pod without names", subject("{pods: [{names: []}]}"), `p.yaml:5:28: policy "p": names is an empty list; add a value or leave the field out`},
		{"subject containers", subject("{containers: [a]}"), `p.yaml:5:26: policy "p": a container must be a mapping, not "a"; write {images: [nginx]}, or {} for any container`},
		{"container field", subject("{containers: [{image: nginx}]}"), `p.yaml:5:27: policy "p": unknown field "image" of a container; did you mean images?`},
		{"container name", subject("{containers: [{names: [a/b]}]}"), `p.yaml:5:35: policy "p": container name "a/b" has a slash; write the name alone, such as web`},
		{"container image", subject("{containers: [{images: ['https://a/b']}]}"), `p.yaml:5:36: policy "p": image "https://a/b" has an empty part; write a reference such as docker.io/library/nginx:1.27`},
		{"container digest", subject("{containers: [{images: ['a@latest']}]}"), `p.yaml:5:36: policy "p": image "a@latest" has no digest after the @; write one such as @sha256:9c5…`},
		{"container id", subject("{containers: [{ids: ['4f2a']}]}"), `p.yaml:5:33: policy "p": container id "4f2a" is too short; write at least 12 characters of it`},
		{"container runtime", subject("{containers: [{runtimes: [Docker]}]}"), `p.yaml:5:38: policy "p": runtime "Docker" is none; write containerd, cri-o, docker, podman, systemd-nspawn, lxc or oci`},
		{"container labels", subject("{containers: [{labels: {}}]}"), `p.yaml:5:35: policy "p": labels are empty; write some, such as labels: {app: web}, or leave the field out`},
		{"container label", subject("{containers: [{labels: {app: 1}}]}"), `p.yaml:5:41: policy "p": the value of label app must be a string, not 1; write "1" with the quotes`},
		{"container label twice", subject("{containers: [{labels: {app: a, app: b}}]}"), `p.yaml:5:44: policy "p": field "app" of labels is already on line 5; remove one`},
		{"host and containers", subject("{host: true, containers: [{}]}"), `p.yaml:5:12: policy "p": the subject is the host and containers or pods at the same time, which no process is in; leave out one of them, or write two policies`},
		{"subject unknown", subject("{binarys: [a]}"), `p.yaml:5:13: policy "p": unknown field "binarys" of subject; did you mean binaries?`},
		{"binaries not a list", subject("{binaries: /bin/a}"), `p.yaml:5:23: policy "p": binaries must be a list, not "/bin/a"; write a list: [/bin/a]`},
		{"binaries empty", subject("{binaries: []}"), `p.yaml:5:23: policy "p": binaries is an empty list; add a value or leave the field out`},
		{"binary relative", subject("{binaries: [sshd]}"), `p.yaml:5:24: policy "p": binary "sshd" is not absolute; write the whole path, such as /usr/bin/sshd`},
		{"binary unclean", subject("{binaries: [/usr//bin/../sbin/sshd]}"), `p.yaml:5:24: policy "p": binary "/usr//bin/../sbin/sshd" is not a clean path; write /usr/sbin/sshd`},
		{"binary twice", subject("{binaries: [/a, /a]}"), `p.yaml:5:28: policy "p": binary "/a" is listed already on line 5; remove one`},
		{"processes not a list", subject("{processes: 4711}"), `p.yaml:5:24: policy "p": processes must be a list, not 4711; write a list: [4711]`},
		{"process without a start", subject("{processes: [{pid: 4711}]}"), `p.yaml:5:25: policy "p": the process has no start; write when it was started, {pid: 4711, start: 123450000000}, or another process might get its pid`},
		{"process without a pid", subject("{processes: [{start: 1}]}"), `p.yaml:5:25: policy "p": the process has no pid; write {pid: 4711, start: 123450000000}`},
		{"process with a name", subject("{processes: [{pid: 4711, start: 1, name: x}]}"), `p.yaml:5:47: policy "p": unknown field "name" of a process; choose from pid, start`},
		{"pid in quotes", subject("{processes: [{pid: \"4711\", start: 1}]}"), `p.yaml:5:31: policy "p": pid is "4711"; write a number up to 4194304`},
		{"pid octal", subject("{processes: [{pid: 010, start: 1}]}"), `p.yaml:5:31: policy "p": pid is 010; write a number up to 4194304`},
		{"pid too large", subject("{processes: [{pid: 4194305, start: 1}]}"), `p.yaml:5:31: policy "p": pid is 4194305; write a number up to 4194304`},
		{"start negative", subject("{processes: [{pid: 4711, start: -1}]}"), `p.yaml:5:44: policy "p": start is -1; write a number up to 18446744073709551615`},
		{"process twice", subject("{processes: [{pid: 4711, start: 10000000}, {pid: 4711, start: 10000001}]}"), `p.yaml:5:12: policy "p": process 4711 is listed twice; remove one`},
		{"until as a date", header + "spec: {until: 2030-01-01, subject: {}, rules: [{operation: socket_bind, deny: all}]}", `p.yaml:4:15: policy "p": until is 2030-01-01; write a number up to 18446744073709551615`},
		{"until 0", header + "spec: {until: 0, subject: {}, rules: [{operation: socket_bind, deny: all}]}", `p.yaml:4:15: policy "p": until is 0, which means no end; leave it out, or write nanoseconds of CLOCK_BOOTTIME`},
		{"mode", header + "spec: {mode: enforced, subject: {}, rules: [{operation: socket_bind, deny: all}]}", `p.yaml:4:14: policy "p": unknown mode "enforced"; did you mean enforce?`},
		{"no rules", header + "spec: {subject: {}}", `p.yaml:4:7: policy "p": rules is missing; write rules: with at least one operation`},
		{"empty rules", header + "spec: {subject: {}, rules: []}", `p.yaml:4:28: policy "p": rules is an empty list; add a value or leave the field out`},
		{"no operation", ruled("deny: all"), `p.yaml:7:5: ` + rule0 + `the rule has no operation; write operation: socket_bind`},
		{"the field operation misspelt", ruled("operaton: socket_bind\ndeny: all"), `p.yaml:7:5: ` + rule0 + `unknown field "operaton" of a rule; did you mean operation?`},
		{"deny misspelt", ruled("operation: socket_bind\ndenny: all"), `p.yaml:8:5: ` + rule0 + `unknown field "denny" of a rule; did you mean deny?`},
		{"no value of rules", header + "spec:\n  subject: {}\n  rules:\n", `p.yaml:6:9: policy "p": rules has no value; write a list`},
		{"no value of ports", deny("{ports: }"), `p.yaml:8:19: ` + rule0 + `ports has no value; write a list`},
		{"operation misspelt", ruled("operation: socket_bnd\ndeny: all"), `p.yaml:7:16: ` + rule0 + `unknown operation "socket_bnd"; did you mean socket_bind?`},
		{"no patterns", ruled("operation: socket_bind"), `p.yaml:7:5: ` + rule0 + `the rule neither allows nor denies anything; add allow or deny`},
		{"null pattern", deny(""), `p.yaml:8:10: ` + rule0 + `deny has no value; write deny: all or deny: {ports: [...]}`},
		{"scalar pattern", deny("22"), `p.yaml:8:11: ` + rule0 + `pattern must be a mapping, not 22; write deny: all or deny: {ports: [...]}`},
		{"tagged pattern", deny("!ports [22]"), `p.yaml:8:11: ` + rule0 + `the tag !ports is not known; remove it`},
		{"empty pattern list", deny("[]"), `p.yaml:8:11: ` + rule0 + `deny is an empty list; add a value or leave the field out`},
		{"empty pattern set", deny("{}"), `p.yaml:8:11: ` + rule0 + `the pattern names nothing; write all to select every socket`},
		{"unknown key", deny("{prots: [22]}"), `p.yaml:8:12: ` + rule0 + `unknown field "prots" of pattern; did you mean ports?`},
		{"ports not a list", deny("{ports: 22}"), `p.yaml:8:19: ` + rule0 + `ports must be a list, not 22; write a list: [22]`},
		{"ports empty", deny("{ports: []}"), `p.yaml:8:19: ` + rule0 + `ports is an empty list; add a value or leave the field out`},
		{"port too large", port("70000"), `p.yaml:8:20: ` + rule0 + `port 70000 is too large; write a number from 0 to 65535`},
		{"port far too large", port("99999999999999999999"), `p.yaml:8:20: ` + rule0 + `a port cannot be 99999999999999999999; write a number from 0 to 65535 or a range such as 2200-2299`},
		{"port negative", port("-1"), `p.yaml:8:20: ` + rule0 + `port -1 is not a plain decimal number; write a number from 0 to 65535 or a range such as 2200-2299`},
		{"port hexadecimal", port("0x16"), `p.yaml:8:20: ` + rule0 + `port 0x16 is not a plain decimal number; write a number from 0 to 65535 or a range such as 2200-2299`},
		{"port octal", port("022"), `p.yaml:8:20: ` + rule0 + `port 022 is not a plain decimal number; write a number from 0 to 65535 or a range such as 2200-2299`},
		{"port fractional", port("22.0"), `p.yaml:8:20: ` + rule0 + `a port cannot be 22.0; write a number from 0 to 65535 or a range such as 2200-2299`},
		{"port quoted", port(`"22"`), `p.yaml:8:20: ` + rule0 + `port "22" is a string; write it without the quotes`},
		{"port by name", port("ssh"), `p.yaml:8:20: ` + rule0 + `"ssh" is no port; write a number from 0 to 65535 or a range such as 2200-2299`},
		{"port range reversed", port("2299-2200"), `p.yaml:8:20: ` + rule0 + `port range 2299-2200 ends before it begins; write 2200-2299`},
		{"port range too large", port("1-70000"), `p.yaml:8:20: ` + rule0 + `port 70000 is too large; write a number from 0 to 65535`},
		{"port range octal", port("01-02"), `p.yaml:8:20: ` + rule0 + `port range "01-02" has leading zeros; remove them`},
		{"address", address("localhost"), `p.yaml:8:24: ` + rule0 + `"localhost" is no address; write an address or CIDR such as 10.0.0.0/8 or ::1`},
		{"address no string", address("10"), `p.yaml:8:24: ` + rule0 + `"10" is no address; write an address or CIDR such as 10.0.0.0/8 or ::1`},
		{"CIDR", address("10.0.0/8"), `p.yaml:8:24: ` + rule0 + `"10.0.0/8" is no CIDR; write an address or CIDR such as 10.0.0.0/8 or ::1`},
		{"CIDR length", address("10.0.0.0/33"), `p.yaml:8:24: ` + rule0 + `the length of "10.0.0.0/33" is wrong; write a number from 0 to 32 after the slash`},
		{"CIDR unmasked", address("10.1.0.0/8"), `p.yaml:8:24: ` + rule0 + `10.1.0.0/8 has bits set after the prefix; write 10.0.0.0/8 or 10.1.0.0`},
		{"CIDR mapped, unmasked", address(`"::ffff:10.1.0.0/104"`), `p.yaml:8:24: ` + rule0 + `10.1.0.0/8 has bits set after the prefix; write 10.0.0.0/8 or 10.1.0.0`},
		{"CIDR mapped, short", address(`"::ffff:0.0.0.0/95"`), `p.yaml:8:24: ` + rule0 + `::ffff:0.0.0.0/95 is an IPv4 address with a prefix shorter than 96 bits; write 0.0.0.0/0 for every IPv4 address or ::/0 for every IPv6 address`},
		{"zone", address(`"fe80::1%eth0"`), `p.yaml:8:24: ` + rule0 + `address "fe80::1%eth0" has a zone, which policies cannot match; remove the % and what follows`},
		{"protocol", deny("{protocols: [tpc]}"), `p.yaml:8:24: ` + rule0 + `unknown protocol "tpc"; did you mean tcp?`},
		{"protocol within tcp", deny("{protocols: [mptcp]}"), `p.yaml:8:24: ` + rule0 + `policies have no protocol "mptcp"; write tcp, which includes it`},
		{"severity", ruled("operation: socket_bind\ndeny: all\nseverity: hihg"), `p.yaml:9:15: ` + rule0 + `unknown severity "hihg"; did you mean high?`},
		{"message", ruled("operation: socket_bind\ndeny: all\nmessage: [a]"), `p.yaml:9:14: ` + rule0 + `message must be a string, not a list; write one`},
		{"tags", ruled("operation: socket_bind\ndeny: all\ntags: a"), `p.yaml:9:11: ` + rule0 + `tags must be a list, not "a"; write a list: [a]`},
		{"no limit of alerts", ruled("operation: socket_bind\ndeny: all\nalert_limit: 0"), `p.yaml:9:18: ` + rule0 + `alert_limit is 0; write 1 to 1000000 alerts a second, or leave it out for no limit`},
		{"a limit of alerts too large", ruled("operation: socket_bind\ndeny: all\nalert_limit: 4294967297"), `p.yaml:9:18: ` + rule0 + `alert_limit is 4294967297; write 1 to 1000000 alerts a second, or leave it out for no limit`},
		{"a limit of alerts in words", ruled("operation: socket_bind\ndeny: all\nalert_limit: \"10\""), `p.yaml:9:18: ` + rule0 + `alert_limit must be a number, not "10"; write how many alerts a second the rule may raise, 1 to 1000000`},
		{"all problems at once", ruled("operation: socket_bind\ndeny: {ports: [70000, x]}\nallow: {adresses: [10.0.0.0/8]}\nseverity: no"),
			`p.yaml:8:20: ` + rule0 + `port 70000 is too large; write a number from 0 to 65535
p.yaml:8:27: ` + rule0 + `"x" is no port; write a number from 0 to 65535 or a range such as 2200-2299
p.yaml:9:13: policy "p": rule 0: unknown field "adresses" of pattern; did you mean addresses?
p.yaml:10:15: ` + rule0 + `unknown severity "no"; choose from info, low, medium, high, critical`},
		{"duplicate name", subject("{}") + "---\n" + subject("{}"), `p.yaml:8:1: policy "p": the policy at p.yaml:1:1 has the same name; rename one of them`},
		{"the second document", subject("{}") + "---\nkind: [", `p.yaml:8:1: not valid YAML: did not find expected node content; write values that begin with a colon in quotes, such as "::1", and close every bracket`},
		{"an IPv6 address without quotes", address("::1"), `p.yaml:8:5: not valid YAML: did not find expected node content; write values that begin with a colon in quotes, such as "::1", and close every bracket`},
		{"a tab", ruled("operation: socket_bind\n\tdeny: all\nseverity: low"), `p.yaml:8:6: not valid YAML: found a tab character that violates indentation; indent with spaces, not with tabs`},
		{"a bracket not closed", deny("{ports: [22") + "    severity: low\n", `p.yaml:8:5: not valid YAML: did not find expected ',' or ']'; close every bracket, and write values with brackets in quotes`},
		{"a bracket not closed, later", deny("{ports: [22,\n  23\n  24: {}\n"), `p.yaml:9:7: not valid YAML: did not find expected ',' or ']'; close every bracket, and write values with brackets in quotes`},
		{"braces in a list", deny("{paths: [/a/{b,c}, /x]}") + "    severity: low\n", `p.yaml:8:5: not valid YAML: did not find expected ',' or ']'; close every bracket, and write values with brackets in quotes`},
		{"a space too few", strings.Replace(deny("all"), "    deny", "   deny", 1) + "    severity: low\n", `p.yaml:8:4: not valid YAML: did not find expected key; indent this line as the others of its list or mapping, and close no bracket that is not open`},
		{"no such anchor", deny("*x") + "    severity: low\n", `p.yaml:8:5: not valid YAML: unknown anchor 'x' referenced; look at this line and the ones before it`},
		{"a control character", deny("all\x01") + "    severity: low\n", `p.yaml:8:5: not valid YAML: control characters are not allowed; look at this line and the ones before it`},
		{"in a large file", strings.Repeat("#"+strings.Repeat(" ", 1<<10)+"\n", 1<<10) + "a: b: c", `p.yaml:1025:1: not valid YAML: mapping values are not allowed in this context; indent this line as the others of its mapping, and write values with a colon in quotes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := Parse("p.yaml", []byte(tt.text))
			if err == nil {
				t.Fatalf("no error for\n%s", tt.text)
			}
			if set != nil {
				t.Errorf("policies beside an error: %v", set)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("%s\n%s", tt.text, diff)
			}
		})
	}
}

func TestParseAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  subject: {}\n  rules:\n")
	b.WriteString("  - &rule\n    operation: socket_bind\n    deny:\n    - &set\n      ports: [" + strings.Repeat("1, ", 300) + "1]\n")
	b.WriteString(strings.Repeat("    - *set\n", 300) + strings.Repeat("  - *rule\n", 300))
	_, err := Parse("p.yaml", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "aliases of this file expand to too much; write the values out") {
		t.Errorf("%.300v", err)
	}
}

func TestParseBoundsProblems(t *testing.T) {
	_, err := Parse("p.yaml", []byte(ruled("operation: socket_bind\ndeny: {ports: ["+strings.Repeat("x, ", 1000)+"x]}")))
	if n := len(strictyaml.Unjoin(err)); n != strictyaml.MaxProblems+1 {
		t.Errorf("%d problems", n)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, policy string) {
		t.Helper()
		text := strings.Replace(ruled("operation: socket_bind\ndeny: all"), "name: p", "name: "+policy, 1)
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("good/b.yaml", "second")
	write("good/a.yml", "first")
	write("good/c.txt", "none")
	write("good/sub/d.yaml", "none")
	write("bad/a.yaml", "first")
	write("bad/b.yaml", "UPPER")
	write("none/c.txt", "none")
	in := func(name string) string { return filepath.Join(dir, name) }

	set, err := Load(in("good"), in("bad/a.yaml"))
	want := fmt.Sprintf(`%s:1:1: policy "first": the policy at %s:1:1 has the same name; rename one of them`, in("bad/a.yaml"), in("good/a.yml"))
	if err == nil || err.Error() != want || set != nil {
		t.Errorf("the same name in two files: %v, %v", set, err)
	}
	set, err = Load(in("good"))
	if err != nil || len(set) != 2 || set[0].Name != "first" || set[1].Name != "second" {
		t.Errorf("a directory: %v, %v", set, err)
	}
	for _, tt := range []struct {
		paths []string
		want  string
	}{
		{[]string{in("bad/a.yaml"), in("good") + "/../bad/a.yaml"}, "load policies: " + in("good") + "/../bad/a.yaml is given twice; name it once"},
		{[]string{in("good"), in("good/b.yaml")}, "load policies: " + in("good/b.yaml") + " is given twice; name it once"},
		{nil, "load policies: no file is given; name a file or directory"},
		{[]string{in("good"), in("bad/b.yaml")}, in("bad/b.yaml") + ":3:18: \"UPPER\" is no policy name"},
		{[]string{in("none")}, in("none") + " holds no *.yaml, *.yml or *.json file; add one or name another directory"},
		{[]string{in("nowhere")}, "no such file or directory; check the path"},
	} {
		if set, err := Load(tt.paths...); err == nil || !strings.Contains(err.Error(), tt.want) || set != nil {
			t.Errorf("Load(%v) = %v, %v; want %s", tt.paths, set, err, tt.want)
		}
	}
}

// TestLoadJSON reads JSON as people and programs indent it.
func TestLoadJSON(t *testing.T) {
	dir := t.TempDir()
	text := "{\n\t\"apiVersion\": \"ebpfguard.io/v1alpha1\",\n\t\"kind\": \"Policy\",\n\t\"metadata\": {\"name\": \"j\"},\n" +
		"\t\"spec\": {\n\t\t\"subject\": {},\n\t\t\"rules\": [{\"operation\": \"file_open\", \"deny\": {\"paths\": [\"/etc/shadow\"]}, \"message\": \"a \\u00e4 \\\"b\\\"\"}]\n\t}\n}\n"
	for name, content := range map[string]string{"a.json": text, "b.json~": "{", "c.jsonl": "{"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := Load(dir)
	if err != nil || len(set) != 1 || set[0].Name != "j" || set[0].Rules[0].Message != "a ä \"b\"" {
		t.Errorf("%v, %v", set, err)
	}
	for escape, want := range map[string]string{
		`\/`:           `not valid YAML: found unknown escape character; in double quotes write \\ for a backslash, and / for the \/ of JSON`,
		`\ud83d\ude00`: `not valid YAML: found invalid Unicode character escape code; write the character itself, and not the two \u escapes that JSON has for it`,
	} {
		if _, err := Parse("x.json", []byte(strings.Replace(text, `\u00e4`, escape, 1))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", escape, err)
		}
	}
}

func TestUnread(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"a.yaml", "b.json", "c.yaml.bak", "d.yml~", "e.yaml.disabled", "f.txt", "README", // as meant
		"lists/x.txt", ".old/a.yaml", "..data/a.yaml", "deep/er/a.yaml", "empty.yaml.d/x",
		"G.YAML", "h.Json", ".I.YAML", "sub/a.json", "sub.yaml/a.yml",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(filepath.Join(dir, "sub"), filepath.Join(dir, "zlink")), os.Symlink("nowhere", filepath.Join(dir, "dangling"))); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range Unread(dir, filepath.Join(dir, "a.yaml"), filepath.Join(dir, "none"), "-") {
		got = append(got, strings.TrimPrefix(w.String(), dir+"/"))
	}
	const below = ": warning: its policies are not read, since a directory stands for its own files only; move them up, or begin its name with a dot if they are not meant"
	want := []string{
		"G.YAML: warning: it is not read; write .yaml in small letters", "h.Json: warning: it is not read; write .json in small letters",
		"sub" + below, "sub.yaml" + below, "zlink" + below,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(ruled("operation: socket_bind\nallow: all\ndeny: {ports: [22, 2200-2299]}\nmessage: a\ntags: [b]\nalert_limit: 10"))
	f.Add(ruled("operation: socket_bind\ndeny: [all, {addresses: [10.0.0.0/8, \"::1\"], protocols: [tcp]}]\nseverity: low"))
	f.Add(originalText)
	f.Add(ruled("operation: file_open\nallow: {paths: [/a/, \"/b/*/c?\"], access: [read]}\ndeny: all\nverdict: kill\nrevoke: true"))
	f.Add(ruled("operation: task_fix_setuid\ndeny: {from: {uids: [1-5, a], gids: [0]}, to: {uids: [0]}}"))
	f.Add(ruled("operation: sb_mount\ndeny: {sources: [/dev/, \"*\"], targets: [/a], types: [ext4], flags: [ro, new]}"))
	f.Add(header + "spec:\n  subject: {binaries: [/a/], descendants: true, users: [0], cgroups: [/a]}\n  rules:\n  - operation: bprm_check_security\n    deny: {fileless: true, no_args: true, paths: [/]}")
	f.Add(header + "spec: &a\n  mode: audit\n  subject: {binaries: [/bin/a]}\n  rules: *a\n---\n[]")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := Parse("p.yaml", []byte(text))
		if err != nil {
			if set != nil || err.Error() == "" {
				t.Errorf("%v, %v", set, err)
			}
			return
		}
		again, err := Parse("p.yaml", Format(set))
		if err != nil {
			t.Fatalf("%s\n%v", Format(set), err)
		}
		if diff := cmp.Diff(set, again, ignoreSource); diff != "" {
			t.Errorf("%s\n%s", Format(set), diff)
		}
	})
}

// TestParseMarks reads what editors of other systems write: byte-order marks, also
// where files were joined, and lines that end in CR LF.
func TestParseMarks(t *testing.T) {
	one := "\uFEFFapiVersion: ebpfguard.io/v1alpha1\r\nkind: Policy\r\nmetadata: {name: NAME}\r\nspec:\r\n  subject: {}\r\n  rules:\r\n  - operation: file_open\r\n    deny: {paths: [/etc/x]}\r\n"
	set, err := Parse("p.yaml", []byte(strings.Replace(one, "NAME", "a", 1)+"\uFEFF---\r\n"+strings.Replace(one, "NAME", "b", 1)))
	if err != nil || len(set) != 2 || set[1].Name != "b" || set[1].Rules[0].Deny[0].String() != "{paths: [/etc/x]}" {
		t.Errorf("%v, %v", set, err)
	}
	_, err = Parse("p.yaml", []byte(strings.Replace(strings.Replace(one, "NAME", "a", 1), "subject", "subjects", 1)))
	if err == nil || !strings.HasPrefix(err.Error(), "p.yaml:5:3: ") {
		t.Errorf("the place of a problem: %v", err)
	}
}
