// Package examples holds policies to start from.
package examples

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

// attempt is an operation and what an example makes of it.
type attempt struct {
	process   policy.Process
	object    policy.Object
	want      policy.Verdict
	operation policy.Operation
}

func by(binary string) policy.Process { return policy.Process{Binary: binary} }

// in is a process in a container.
func in(image, binary string, ancestors ...string) policy.Process {
	return policy.Process{Binary: binary, Ancestors: ancestors, Containers: []policy.Container{{Image: image}}}
}

func bind(binary, address string, port uint16, protocol policy.Protocol, want policy.Verdict) attempt {
	return attempt{by(binary), policy.Socket{Address: netip.MustParseAddr(address), Port: port, Protocol: protocol}, want, policy.SocketBind}
}

func connect(process policy.Process, address string, port uint16, want policy.Verdict) attempt {
	return attempt{process, policy.Socket{Address: netip.MustParseAddr(address), Port: port, Protocol: policy.TCP}, want, policy.SocketConnect}
}

func open(process policy.Process, access policy.Access, want policy.Verdict, names ...string) attempt {
	return attempt{process, policy.File{Names: policy.Names{Path: names[0], Aliases: names[1:]}, Access: access}, want, policy.FileOpen}
}

func start(process policy.Process, path string, want policy.Verdict) attempt {
	return attempt{process, policy.Program{Names: policy.Names{Path: path}}, want, policy.BprmCheckSecurity}
}

func mount(o policy.Operation, target string, flags policy.MountFlags, want policy.Verdict) attempt {
	return attempt{by("/usr/bin/mount"), policy.Mount{Target: policy.Names{Path: target}, Flags: flags}, want, o}
}

// withData is an attempt to mount with a data string, too.
func withData(a attempt, data string) attempt {
	a.object = a.object.(policy.Mount).WithData(data)
	return a
}

func become(process policy.Process, from, to uint32, want policy.Verdict) attempt {
	return attempt{process, policy.Credentials{FromUID: from, FromGID: from, To: to}, want, policy.TaskFixSetuid}
}

const (
	nginx = "/usr/sbin/nginx"
	read  = policy.Read
	write = policy.Write
)

var examples = map[string][]attempt{
	"no-rogue-sshd.yaml": {
		bind("/usr/sbin/sshd", "0.0.0.0", 22, policy.TCP, policy.Deny),
		bind("/tmp/x", "::", 22, policy.TCP, policy.Deny),
		bind("/usr/sbin/sshd", "0.0.0.0", 2222, policy.TCP, policy.Allow),
		bind(nginx, "0.0.0.0", 80, policy.TCP, policy.Allow),
	},
	"containers.yaml": {
		start(in("nginx:1.27", nginx), "/bin/bash", policy.Deny),
		start(in("nginx:1.27", "/tmp/x", nginx), "/bin/sh", policy.Deny),
		start(in("nginx:1.27", "/docker-entrypoint.sh"), "/bin/sh", policy.Allow),
		start(in("nginx:1.27", nginx), nginx, policy.Allow),
		start(in("postgres", nginx), "/bin/sh", policy.Allow),
		start(by(nginx), "/bin/sh", policy.Allow),
		connect(in("postgres", "/usr/bin/curl"), "169.254.169.254", 80, policy.Deny),
		connect(in("postgres", "/usr/bin/curl"), "169.254.169.253", 53, policy.Allow),
		connect(by("/usr/bin/curl"), "169.254.169.254", 80, policy.Allow),
	},
	"only-sshd-on-22.yaml": {
		bind("/usr/sbin/sshd", "0.0.0.0", 22, policy.TCP, policy.Allow),
		bind("/tmp/sshd", "0.0.0.0", 22, policy.TCP, policy.Deny),
		bind("/tmp/sshd", "0.0.0.0", 23, policy.TCP, policy.Allow),
	},
	"only-web-ports.yaml": {
		bind(nginx, "0.0.0.0", 80, policy.TCP, policy.Allow),
		bind(nginx, "::", 443, policy.UDP, policy.Allow),
		bind(nginx, "::", 80, policy.UDP, policy.Deny),
		bind(nginx, "0.0.0.0", 4444, policy.TCP, policy.Deny),
		bind("/usr/sbin/sshd", "0.0.0.0", 4444, policy.TCP, policy.Allow),
	},
	"loopback-only.yaml": {
		bind("/usr/bin/redis-server", "127.0.0.1", 6379, policy.TCP, policy.Allow),
		bind("/usr/bin/redis-server", "::1", 6379, policy.TCP, policy.Allow),
		bind("/usr/bin/redis-server", "0.0.0.0", 6379, policy.TCP, policy.Deny),
		bind("/usr/bin/redis-server", "::", 6379, policy.TCP, policy.Deny),
		bind(nginx, "0.0.0.0", 80, policy.TCP, policy.Allow),
	},
	"audit-first.yaml": {
		bind(nginx, "0.0.0.0", 80, policy.TCP, policy.Allow),
		bind("/usr/sbin/ftpd", "0.0.0.0", 21, policy.TCP, policy.Audit),
		bind("/usr/sbin/ftpd", "0.0.0.0", 2121, policy.TCP, policy.Allow),
	},
	"protect-passwords.yaml": {
		open(by("/usr/bin/cat"), read, policy.Deny, "/etc/shadow"),
		open(by("/usr/bin/cat"), read, policy.Deny, "/tmp/link", "/etc/shadow"),
		open(by("/usr/bin/cat"), read, policy.Allow, "/etc/passwd"),
		open(by("/usr/bin/passwd"), read|write, policy.Allow, "/etc/shadow"),
		open(by("/usr/sbin/useradd"), read|write, policy.Allow, "/etc/shadow"),
		open(by("/usr/lib/openssh/sshd-session"), read, policy.Allow, "/etc/shadow"),
	},
	"no-fileless-programs.yaml": {
		{by("/usr/bin/bash"), policy.Program{Fileless: true}, policy.Kill, policy.BprmCheckSecurity},
		{by("/usr/sbin/runc"), policy.Program{Fileless: true}, policy.Allow, policy.BprmCheckSecurity},
		{by("/usr/sbin/runc"), policy.Program{Names: policy.Names{Path: "/usr/bin/ls"}, NoArgs: true}, policy.Kill, policy.BprmCheckSecurity},
		{by("/usr/bin/bash"), policy.Program{Names: policy.Names{Path: "/usr/bin/ls"}, NoArgs: true}, policy.Kill, policy.BprmCheckSecurity},
		start(by("/usr/bin/bash"), "/usr/bin/ls", policy.Allow),
		start(by("/usr/bin/bash"), "/tmp/x/y", policy.Deny),
		start(by("/usr/bin/bash"), "/home/me/Downloads/setup", policy.Deny),
		start(by("/usr/bin/bash"), "/home/me/bin/setup", policy.Allow),
	},
	"removable-media.yaml": {
		mount(policy.SbMount, "/media/stick", policy.MountNew|policy.MountNoSUID|policy.MountNoDev, policy.Allow),
		mount(policy.SbMount, "/media/stick", policy.MountNew|policy.MountNoSUID|policy.MountDev, policy.Deny),
		mount(policy.SbMount, "/mnt", policy.MountBind, policy.Deny),
		mount(policy.SbMount, "/var/lib/x", policy.MountNew|policy.MountSUID|policy.MountDev, policy.Allow),
	},
	"keep-read-only.yaml": {
		mount(policy.SbRemount, "/usr", policy.MountReadWrite, policy.Deny),
		mount(policy.SbRemount, "/usr", policy.MountReadOnly, policy.Allow),
		withData(mount(policy.SbRemount, "/usr", policy.MountReadOnly, policy.Deny), "rw"),
		withData(mount(policy.SbRemount, "/usr", policy.MountReadOnly, policy.Deny), "errors=remount-ro,rw,ro"),
		withData(mount(policy.SbRemount, "/usr", policy.MountReadOnly, policy.Allow), "errors=remount-ro"),
		mount(policy.SbRemount, "/", policy.MountReadWrite, policy.Allow),
	},
	"keep-logs.yaml": {
		mount(policy.SbUmount, "/var/log/audit", 0, policy.Deny),
		mount(policy.SbUmount, "/var/log/audit", policy.MountDetach, policy.Deny),
		mount(policy.SbUmount, "/mnt", policy.MountDetach, policy.Audit),
		mount(policy.SbUmount, "/mnt", 0, policy.Allow),
	},
	"no-way-back-to-root.yaml": {
		become(by(nginx), 0, 33, policy.Allow),
		become(by(nginx), 33, 0, policy.Kill),
		become(policy.Process{Binary: "/usr/bin/sudo", Ancestors: []string{nginx, "/usr/bin/sh"}}, 33, 0, policy.Kill),
		become(by("/usr/bin/sudo"), 1000, 0, policy.Allow),
	},
	"no-metadata-service.yaml": {
		connect(by("/usr/bin/curl"), "169.254.169.254", 80, policy.Deny),
		connect(by("/usr/bin/curl"), "fd00:ec2::254", 80, policy.Deny),
		connect(by("/usr/bin/curl"), "1.1.1.1", 80, policy.Allow),
		connect(by("/usr/bin/python3.11"), "169.254.169.254", 80, policy.Deny),
		connect(policy.Process{Binary: "/usr/bin/python3.11", Script: "/usr/bin/cloud-init"}, "169.254.169.254", 80, policy.Allow),
	},
	"blocklist.yaml": {
		connect(by("/usr/bin/curl"), "198.51.100.7", 443, policy.Deny),
		connect(by("/usr/bin/curl"), "198.51.100.8", 443, policy.Allow),
		connect(by("/usr/bin/curl"), "2001:db8:bad::1", 443, policy.Deny),
	},
	"web-server.yaml": {
		bind(nginx, "0.0.0.0", 443, policy.TCP, policy.Allow),
		bind(nginx, "::", 443, policy.UDP, policy.Allow),
		bind(nginx, "0.0.0.0", 4444, policy.TCP, policy.Deny),
		open(by(nginx), read, policy.Allow, "/var/www/html/index.html"),
		open(by(nginx), write, policy.Deny, "/var/www/html/index.html"),
		open(by(nginx), write, policy.Allow, "/var/log/nginx/access.log"),
		open(by(nginx), read, policy.Deny, "/etc/shadow"),
		open(by(nginx), policy.Exec, policy.Deny, "/var/log/nginx/x"),
		start(by(nginx), "/bin/sh", policy.Deny),
		start(policy.Process{Binary: "/x", Ancestors: []string{nginx}}, "/bin/sh", policy.Deny),
		connect(by(nginx), "127.0.0.1", 3306, policy.Deny),
		connect(by("/usr/bin/curl"), "127.0.0.1", 80, policy.Allow),
		open(by("/usr/bin/cat"), read, policy.Allow, "/etc/shadow"),
	},
	"self-protection.yaml": {
		open(by("/usr/bin/bash"), write, policy.Deny, "/proc/sys/kernel/ftrace_enabled"),
		open(by("/usr/bin/bash"), write, policy.Deny, "/mnt/sys/kernel/ftrace_enabled", "/proc/sys/kernel/ftrace_enabled"),
		open(by("/usr/bin/bash"), read, policy.Allow, "/proc/sys/kernel/ftrace_enabled"),
		open(by("/usr/bin/cp"), write, policy.Deny, "/usr/local/bin/ebpfguard"),
	},
	"kernel-helpers.yaml": {
		open(by("/usr/bin/bash"), write, policy.Deny, "/proc/sys/kernel/core_pattern"),
		open(by("/usr/bin/bash"), write, policy.Deny, "/proc/sys/fs/binfmt_misc/register"),
		open(by("/usr/bin/bash"), write, policy.Deny, "/sys/fs/cgroup/rdma/x/release_agent"),
		open(by("/usr/bin/bash"), read, policy.Allow, "/proc/sys/kernel/core_pattern"),
		open(by("/usr/lib/systemd/systemd-sysctl"), write, policy.Deny, "/proc/sys/kernel/core_pattern"),
		open(policy.Process{Binary: "/usr/lib/systemd/systemd-sysctl", Cgroup: "/system.slice/systemd-sysctl.service"}, write, policy.Allow, "/proc/sys/kernel/core_pattern"),
		{by("/usr/bin/mount"), policy.Mount{Target: policy.Names{Path: "/mnt"}, Type: "cgroup", Flags: policy.MountNew}, policy.Deny, policy.SbMount},
		{by("/usr/bin/mount"), policy.Mount{Target: policy.Names{Path: "/mnt"}, Type: "cgroup2", Flags: policy.MountNew}, policy.Allow, policy.SbMount},
	},
	"original.yaml": {
		open(by("/usr/bin/cat"), read, policy.Deny, "/root/s3cr3tdir/a/b"),
		open(by("/usr/bin/cat"), read, policy.Allow, "/root/other"),
		open(by("/usr/bin/myapp"), read, policy.Allow, "/etc/myapp/config"),
		open(by("/usr/bin/myapp"), read, policy.Deny, "/etc/passwd"),
		bind("/usr/bin/python", "0.0.0.0", 8081, policy.TCP, policy.Deny),
		connect(by("/usr/bin/tomcat"), "172.16.0.1", 80, policy.Deny),
		mount(policy.SbMount, "/mnt", policy.MountNew, policy.Allow),
		{by("/tmp/x"), policy.Mount{Target: policy.Names{Path: "/mnt"}, Flags: policy.MountNew}, policy.Deny, policy.SbMount},
		become(by("/usr/bin/sudo"), 1000, 0, policy.Allow),
		become(by("/tmp/x"), 1000, 0, policy.Deny),
	},
}

// TestExamples holds each example against what its comment says.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(examples) {
		t.Errorf("%d files for %d examples: %v", len(files), len(examples), files)
	}
	for file, attempts := range examples {
		t.Run(file, func(t *testing.T) {
			set, err := policy.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, warning := range policy.Warnings(set) {
				t.Error(warning)
			}
			for _, a := range attempts {
				request := policy.Request{Process: a.process, Operation: a.operation, Object: a.object}
				if got := policy.Decide(set, request); got.Verdict != a.want {
					t.Errorf("want %v:\n%v", a.want, policy.Explain(set, request))
				}
			}
		})
	}
	// They do not contradict each other by name.
	if _, err := policy.Load("."); err != nil {
		t.Error(err)
	}
}
