package ebpfguard_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// The keys are for nobody; each refused read is printed.
func Example() {
	ctx := context.Background()

	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if err != nil {
		log.Fatal(err) // names what the kernel lacks, and the remedy
	}
	defer m.Close()
	files, err := m.AttachFileOpen() // allows everything so far
	if err != nil {
		log.Fatal(err)
	}
	alerts := files.Alerts(ctx) // before the policy, so that no alert is missed
	err = files.AddPolicy(ebpfguard.FileOpen{
		Subject: ebpfguard.Everyone(),
		Deny:    ebpfguard.Files("/etc/ssl/private/"),
	}) // in force when this returns
	if err != nil {
		log.Fatal(err)
	}
	for alert, err := range alerts {
		if err != nil {
			log.Print(err) // some alerts were lost
			continue
		}
		fmt.Println(alert.PID, alert.Binary, alert.Access, alert.Path)
	}
}

// An error says what to do. This program also runs where no kernel can enforce.
func ExampleNewManager() {
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if errors.Is(err, ebpfguard.ErrNotSupported) {
		log.Print("goes on without enforcement: ", err)
		return
	} else if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	// Port 22 is for nobody.
	bind, err := m.AttachSocketBind()
	if err != nil {
		log.Fatal(err)
	}
	err = bind.AddPolicy(ebpfguard.SocketBind{
		Subject: ebpfguard.Everyone(),
		Allow:   ebpfguard.AllPorts(),
		Deny:    ebpfguard.Ports(22),
	})
	if err != nil {
		log.Fatal(err)
	}
}

// An exception names the object at least as specifically as the denial, and
// the subject more specifically.
func ExampleBinaries() {
	everyone := ebpfguard.SocketBind{
		Name:    "no-web-server",
		Subject: ebpfguard.Everyone(),
		Deny:    ebpfguard.Ports(80, 443),
	}
	nginx := ebpfguard.SocketBind{
		Name:    "but-nginx",
		Subject: ebpfguard.Binaries("/usr/sbin/nginx"),
		Allow:   ebpfguard.Ports(80, 443),
	}
	fmt.Println(everyone.Name, nginx.Name)
	// Output: no-web-server but-nginx
}

// Keys within a pattern are ANDed: only loopback addresses, and only TCP.
func ExampleSocketPatterns() {
	p := ebpfguard.SocketPatterns{{
		Ports:     []policy.PortRange{{First: 8000, Last: 8999}},
		Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Protocols: []policy.Protocol{policy.TCP},
	}}
	fmt.Println(p[0])
	// Output: {ports: [8000-8999], addresses: [127.0.0.0/8], protocols: [tcp]}
}

// Only login programs read the password hashes. A process that has the file open
// already can no longer read from it.
func ExampleFiles() {
	everyone := ebpfguard.FileOpen{
		Name:    "no-hashes",
		Subject: ebpfguard.Everyone(),
		Deny:    ebpfguard.Files("/etc/shadow", "/etc/gshadow"),
		Revoke:  true,
		Message: "password hashes are for login programs",
	}
	login := ebpfguard.FileOpen{
		Name:    "but-login",
		Subject: ebpfguard.Binaries("/usr/bin/login", "/usr/bin/passwd"),
		Allow:   ebpfguard.Files("/etc/shadow", "/etc/gshadow"),
	}
	fmt.Println(everyone.Deny[0], login.Allow[0])
	// Output: {paths: [/etc/shadow, /etc/gshadow]} {paths: [/etc/shadow, /etc/gshadow]}
}

// Nothing that a web server has started, directly or not, becomes root again. A
// process that tries is killed.
func ExampleDescendants() {
	p := ebpfguard.TaskFixSetuid{
		Subject: ebpfguard.Descendants("/usr/sbin/nginx"),
		Deny: []policy.CredentialsPattern{{
			From: policy.Identity{UIDs: policy.IDs{Ranges: []policy.IDRange{{First: 1, Last: policy.MaxID}}}},
			To:   policy.Identity{UIDs: policy.IDs{Names: []string{"root"}}},
		}},
		Verdict: policy.Kill,
	}
	fmt.Println(policy.Subject(p.Subject), p.Deny[0])
	// Output: {binaries: [/usr/sbin/nginx], descendants: true} {from: {uids: [1-4294967294]}, to: {uids: [root]}}
}

// The most specific object wins: these two programs may run, no other.
func ExamplePrograms() {
	p := ebpfguard.BprmCheckSecurity{
		Name:    "only-backups",
		Subject: ebpfguard.Subject{Users: policy.IDs{Names: []string{"backup"}}, Cgroups: []string{"/system.slice/backup.service"}},
		Allow:   ebpfguard.Programs("/usr/bin/tar", "/usr/bin/zstd"),
		Deny:    ebpfguard.AllPrograms(),
	}
	fmt.Println(policy.Subject(p.Subject), p.Allow[0], p.Deny[0])
	// Output: {users: [backup], cgroups: [/system.slice/backup.service]} {paths: [/usr/bin/tar, /usr/bin/zstd]} all
}

// A mount without nosuid has the flag suid, one without nodev has dev.
func ExampleSbMount() {
	p := ebpfguard.SbMount{
		Subject: ebpfguard.Everyone(),
		Deny:    []policy.MountPattern{{Targets: []string{"/media/"}, Flags: policy.MountSUID | policy.MountDev}},
	}
	fmt.Println(p.Deny[0])
	// Output: {targets: [/media/], flags: [suid, dev]}
}

// Addresses come from a file, as from a policy's addresses_from.
func ExampleSocketConnect() {
	const file = "examples/blocklist.txt"
	listed, err := policy.LoadAddresses(file)
	if err != nil {
		log.Fatal(err) // file:line: what is wrong
	}
	p := ebpfguard.SocketConnect{
		Subject: ebpfguard.Everyone(),
		Deny:    ebpfguard.SocketPatterns{{AddressesFrom: []string{file}, Listed: listed}},
	}
	fmt.Println(len(p.Deny[0].Listed), p.Deny[0])
}

// Decide needs no kernel and no root.
func ExampleSocketBind() {
	p := policy.Policy{
		Name:    "no-ssh",
		Subject: policy.Subject{Everyone: true},
		Rules:   []policy.Rule{{Operation: policy.SocketBind, Deny: []policy.Pattern{ebpfguard.Ports(22)[0]}}},
	}
	decision := policy.Decide([]policy.Policy{p}, policy.Request{
		Process:   policy.Process{Binary: "/usr/bin/nc"},
		Operation: policy.SocketBind,
		Object:    policy.Socket{Address: netip.MustParseAddr("::"), Port: 22, Protocol: policy.TCP},
	})
	fmt.Println(decision.Verdict)
	// Output: deny
}

// Policies in YAML are applied as one set.
func ExampleManager_Apply() {
	set, err := policy.Load("examples/no-rogue-sshd.yaml")
	if err != nil {
		log.Fatal(err) // file:line:column: what is wrong; what to do
	}
	fmt.Println(set[0].Name)
	// m.Apply(set) puts it into force in one step.
	// Output: no-rogue-sshd
}
