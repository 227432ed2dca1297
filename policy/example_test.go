package policy_test

import (
	"fmt"
	"net/netip"

	"github.com/ebpfguard/ebpfguard/policy"
)

const example = `
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: no-rogue-sshd}
spec:
  subject: {}
  rules:
  - operation: socket_bind
    allow: all
    deny: {ports: [22, 2200-2299]}
    message: "nobody listens for ssh here"
`

func ExampleDecide() {
	set, err := policy.Parse("ssh.yaml", []byte(example))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, port := range []uint16{22, 80} {
		d := policy.Decide(set, policy.Request{
			Process:   policy.Process{Binary: "/usr/bin/nc"},
			Operation: policy.SocketBind,
			Object:    policy.Socket{Address: netip.IPv4Unspecified(), Port: port, Protocol: policy.TCP},
		})
		fmt.Println(port, d.Verdict)
	}
	// Output:
	// 22 deny
	// 80 allow
}

func ExampleExplain() {
	set, err := policy.Parse("ssh.yaml", []byte(example))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(policy.Explain(set, policy.Request{
		Process:   policy.Process{Binary: "/usr/bin/nc"},
		Operation: policy.SocketBind,
		Object:    policy.Socket{Address: netip.IPv4Unspecified(), Port: 22, Protocol: policy.TCP},
	}))
	// Output:
	// deny: socket_bind of tcp 0.0.0.0:22 by /usr/bin/nc
	// decided by policy "no-rogue-sshd" rule 0 at ssh.yaml:8:5
	// message: nobody listens for ssh here
	// the patterns that match:
	//   deny  {ports: [22, 2200-2299]}
	//         policy "no-rogue-sshd" rule 0 at ssh.yaml:8:5: won
	//   allow all
	//         policy "no-rogue-sshd" rule 0 at ssh.yaml:8:5: less specific than policy "no-rogue-sshd" rule 0 (ports)
}

func ExampleValidate() {
	err := policy.Validate([]policy.Policy{{
		Name:    "no-rogue-sshd",
		Subject: policy.Subject{Binaries: []string{"/usr/bin/../bin/nc"}},
		Rules: []policy.Rule{{
			Operation: policy.SocketBind,
			Deny:      []policy.Pattern{policy.SocketPattern{Ports: []policy.PortRange{{First: 2299, Last: 2200}}}},
		}},
	}})
	fmt.Println(err)
	// Output:
	// policy "no-rogue-sshd": binary "/usr/bin/../bin/nc" is not a clean path; write /usr/bin/nc
	// policy "no-rogue-sshd": rule 0: deny[0]: port range 2299-2200 is empty; write 2200-2299
}

func ExamplePathPattern_Match() {
	for _, pattern := range []string{"/etc/shadow", "/etc/ssl/", "/home/*/.ssh/", "/**/*.pem"} {
		p, err := policy.ParsePathPattern(pattern)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(pattern, p.Match("/etc/ssl/key.pem"), p.Match("/home/me/.ssh/id"), p.Specificity())
	}
	// Output:
	// /etc/shadow false false 65536
	// /etc/ssl/ true false 258
	// /home/*/.ssh/ false true 3
	// /**/*.pem true false 1
}
