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

// Nobody may take port 22; what is refused is printed.
func Example() {
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if errors.Is(err, ebpfguard.ErrNotSupported) {
		log.Fatal(err) // says what to do
	} else if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	bind, err := m.AttachSocketBind()
	if err != nil {
		log.Fatal(err)
	}
	alerts := bind.Alerts(context.Background())
	err = bind.AddPolicy(ebpfguard.SocketBind{
		Subject: ebpfguard.Everyone(),
		Allow:   ebpfguard.AllPorts(),
		Deny:    ebpfguard.Ports(22),
	})
	if err != nil {
		log.Fatal(err)
	}
	for alert, err := range alerts {
		if err != nil {
			log.Print(err)
			continue
		}
		fmt.Println(alert.PID, alert.Binary, alert.Port)
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
