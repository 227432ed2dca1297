# Everything a developer runs. `make` alone lists the targets.

SHELL := /bin/sh
GO ?= go

# What the kernel tests run on: "all", or names of the table such as 5.10,6.12.
KERNELS ?= all
# What the kernel tests match, as in go test -run.
RUN ?=
# The kernel of the demo, of fuzzing, of real workloads and of one test.
KERNEL ?= 6.12
# The architecture of the kernels, also of those above: amd64, or arm64 in emulation.
ARCH ?= amd64
# The one test that make vm runs; NAME/SUBTEST for a part of it.
TEST ?=

# The packages with tests of the build tag vm. One guest a kernel runs them in turn.
VM_TESTS ?= ./test/kernel/... ./test/coverage/vm ./cmd/ebpfguard/vm ./internal/bpf ./internal/vmtest
# Those of them that take long, many since they load the guard again and again: these run on the oldest kernel and the
# newest; what differs least between kernels on a usual one alone. make test-full runs them on all.
VM_ENDS ?= ./test/kernel/manager,./test/kernel/storm,./test/kernel/subjects,./test/kernel/takeover,./internal/bpf
VM_ONCE ?= ./test/kernel/alerts,./test/kernel/examples,./test/kernel/load,./cmd/ebpfguard/vm
# What these tests need in the guest.
VM_PACKAGES ?= dash,bash,coreutils,grep,sed,jq,curl,openssh-server,openssh-client,nginx-light,passwd,sudo,util-linux,mount,e2fsprogs
VM_MODULES ?= sctp,smc?,overlay,fuse?,loop,erofs?,binfmt_misc,l2tp_ip?,dccp?,dccp_ipv4?,rds?,rds_tcp?
# Where the tests' output goes as well, for the table of coverage.
VM_OUTPUT ?= bin/test-vm.log

FUZZ ?= Fuzz
FUZZTIME ?= 30s
# The kernels on which the guard is run in a container.
CONTAINER_KERNELS ?= 6.1,6.12,7
# What is measured: names of kernels, regular expressions of setups and workloads, the most rules.
BENCH_KERNELS ?= 6.1,6.12,7
BENCH_SETUPS ?=
BENCH_WORKLOADS ?=
BENCH_RULES ?= 10000

.PHONY: help
help: ## list the targets
	@echo "usage: make TARGET [VARIABLE=value]"
	@echo
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-15s %s\n", $$1, $$2 }'

.PHONY: demo
demo: ## see a rogue sshd refused by a real kernel (KERNEL=6.12, or HOST=1 for this machine's)
	@GO='$(GO)' KERNEL='$(KERNEL)' HOST='$(HOST)' demo/run

.PHONY: demo-containers
demo-containers: ## see containers of containerd and of Podman refused what a policy forbids, by a guard on the host, then in a container (KERNEL=6.12)
	@GO='$(GO)' KERNEL='$(KERNEL)' demo/containers

.PHONY: demo-k8s
demo-k8s: ## see a pod's sshd refused on a real Kubernetes node, by the chart, a ClusterPolicy and nothing else (KERNEL=6.12); builds Kubernetes, once
	@GO='$(GO)' KERNEL='$(KERNEL)' demo/kubernetes

.PHONY: test
test: ## unit tests, the kernel tests on every kernel, and some with containers on one (KERNELS=6.1,6.12 RUN=Bind ARCH=arm64)
	@scripts/install-tools $(VM_TOOLS) check
	$(GO) test work
	@$(MAKE) --no-print-directory test-vm
	$(if $(WITH_CONTAINERS),@$(MAKE) --no-print-directory test-containers-short)

comma = ,
# Tests that were chosen by name, and other kernels, need no containers.
WITH_CONTAINERS = $(if $(RUN),,$(and $(filter amd64,$(ARCH)),$(filter all $(KERNEL),$(subst $(comma), ,$(KERNELS)))))

VM_TOOLS = vm $(filter arm64,$(ARCH))

SUITE = $(GO) run ./internal/vmtest/suite -tags vm -arch '$(ARCH)' -packages '$(VM_PACKAGES)' -modules '$(VM_MODULES)' \
	-add bin/$(ARCH)/ebpfguard:/usr/bin/ebpfguard -add examples:/src/examples -add bin/$(ARCH)/programs:/src/programs -add demo:/src/demo $(VM_ENV)

.PHONY: test-vm
test-vm: bin/$(ARCH)/ebpfguard bin/$(ARCH)/programs ## the kernel tests alone
	@scripts/install-tools $(VM_TOOLS)
	$(SUITE) -kernels '$(KERNELS)' -ends '$(VM_ENDS)' -once '$(VM_ONCE)' -run '$(RUN)' -output '$(VM_OUTPUT)' $(VM_TESTS)
	@if [ '$(ARCH)' = amd64 ] && grep -q '^ *coverage: ' '$(VM_OUTPUT)'; then \
		$(GO) run ./test/coverage/table -check docs/coverage.md $(if $(filter all,$(KERNELS)),,-partial) '$(VM_OUTPUT)'; \
	fi

.PHONY: vm
vm: bin/$(ARCH)/ebpfguard bin/$(ARCH)/programs ## one kernel test on one kernel (TEST=TestSocketBind KERNEL=6.12 ARCH=arm64)
	$(if $(TEST),,$(error make vm: give the name of a test, such as TEST=TestSocketBind))
	@scripts/install-tools $(VM_TOOLS)
	@$(SUITE) -kernels '$(KERNEL)' -test '$(TEST)' $(VM_TESTS)

# The guest's programs beside those that are built from their modules.
CONTAINERS_PACKAGES = runc,busybox-static

# What SHORT=1 runs of test-containers and of test-container: five minutes one after the other. To build the runtimes
# takes four minutes of a processor, once.
CONTAINERS_SHORT = ^Test(Told|RuntimeRestarts)$$
CONTAINER_SHORT = ^Test(Daemon|Gaps|Group)$$

.PHONY: test-containers-short
test-containers-short: ## the short part of test-containers and of test-container, side by side: what make test runs of them (KERNEL=6.12 JOBS=1)
	@$(MAKE) --no-print-directory -j'$(or $(JOBS),$(shell nproc))' --output-sync=target test-containers test-container SHORT=1 KERNELS='$(KERNEL)'

.PHONY: test-containers
test-containers: bin/amd64/ebpfguard bin/amd64/probe ## containers of containerd and runc, without and with the guard (KERNEL=6.12 RUN=NoWayOut); SHORT=1: some of it, EBPFGUARD_TEST_FULL=1: many times
	@scripts/install-tools vm
	runtimes=$$($(GO) run ./internal/vmtest/tools test/containers/runtimes) && \
	$(GO) run ./internal/vmtest/suite -tags vm -kernels '$(KERNEL)' -run '$(or $(RUN),$(if $(SHORT),$(CONTAINERS_SHORT)))' -packages '$(CONTAINERS_PACKAGES)' -modules overlay \
		-add "$$runtimes:/usr/local/bin" -add bin/amd64/ebpfguard:/usr/bin/ebpfguard -add bin/amd64/probe:/usr/local/libexec/probe \
		$(if $(EBPFGUARD_TEST_FULL),-env EBPFGUARD_TEST_FULL=1 -timeout 2h) $(VM_ENV) ./test/containers/vm

.PHONY: test-containers-systemd
test-containers-systemd: bin/amd64/ebpfguard bin/amd64/probe ## those of them that differ where systemd makes the control groups
	@scripts/install-tools systemd
	@$(GO) build -o bin/vmrun ./internal/vmtest/vmrun
	runtimes=$$($(GO) run ./internal/vmtest/tools test/containers/runtimes) && \
	CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 20m -tags vm -run '$(or $(RUN),^Test(Told|RunningAlready|FirstAction)$$)' \
		-exec "$(CURDIR)/bin/vmrun -kernel $(KERNEL) -systemd -packages $(CONTAINERS_PACKAGES) -modules overlay -add $$runtimes:/usr/local/bin \
		-add $(CURDIR)/bin/amd64/ebpfguard:/usr/bin/ebpfguard -add $(CURDIR)/bin/amd64/probe:/usr/local/libexec/probe" ./test/containers/vm

.PHONY: test-full
test-full: ## make test, with all random comparisons and repetitions on every kernel: an hour and a half more
	@EBPFGUARD_TEST_FULL=1 $(MAKE) --no-print-directory test VM_ENV='-env EBPFGUARD_TEST_FULL=1'

.PHONY: test-toy
test-toy: ## add an operation by the list of docs/architecture.md, and see a kernel enforce it
	@scripts/install-tools vm generate
	$(GO) test -count=1 -tags vm_runner ./test/toyoperation

# The package is tested on a Debian with systemd; the upgrade is one to the same files with another version. A second
# machine boots with the files in place. The tour has a machine of its own, which has never seen the package.
DEB_TEST = CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 15m -tags vm_deb

DEB_VM = $(CURDIR)/bin/vmrun -kernel $(KERNEL) -systemd -packages passwd,rpm,sudo
DEB_INSTALLED = -add $(CURDIR)/bin/deb/usr/bin/ebpfguard:/usr/bin/ebpfguard -add $(CURDIR)/bin/deb/etc/ebpfguard:/etc/ebpfguard \
	-add $(CURDIR)/deploy/systemd/ebpfguard.service:/usr/lib/systemd/system/ebpfguard.service \
	-add $(CURDIR)/deploy/vm/testdata/policy.yaml:/etc/ebpfguard/policies.d/test.yaml \
	-add $(CURDIR)/deploy/vm/testdata/policy.yaml:/srv/forbidden

# What the day's server has from the start, and the packages that come and go.
DAY_PACKAGES = passwd,adduser,cron,cron-daemon-common,logrotate,runc,busybox-static,tar,procps,kmod,util-linux
DAY_ARCHIVES = openssh-server,nginx-light,rsyslog,chrony,memcached,at,sqlite3,nano,htop,tmux,rsync,sudo,zip,socat,bc,tree,less,netcat-openbsd,file,anacron

.PHONY: test-day
test-day: ## spend a day of a Debian server under all examples: install, users, cron, logs, backup, a container, upgrade, removal
	@scripts/install-tools systemd
	$(GO) run ./internal/tools/dist -arch amd64 -format deb -version 0.0.2 -out bin/debs/0.0.2
	@$(GO) build -o bin/vmrun ./internal/vmtest/vmrun
	$(DEB_TEST) -timeout 60m -run TestDay -exec '$(CURDIR)/bin/vmrun -kernel $(KERNEL) -systemd -packages $(DAY_PACKAGES) -archives $(DAY_ARCHIVES) -modules overlay -add $(CURDIR)/bin/debs:/src/debs -add $(CURDIR)/examples:/src/examples' ./deploy/vm

.PHONY: test-deb
test-deb: ## follow docs/tour.md on a Debian with systemd; install, crash, upgrade, purge the .deb and .rpm; boot with it
	@scripts/install-tools systemd
	@for version in 0.0.1 0.0.2; do \
		$(GO) run ./internal/tools/dist -arch amd64 -format deb,rpm -version $$version -out "bin/debs/$$version" || exit; \
	done
	@rm -rf bin/deb && dpkg-deb -x bin/debs/0.0.2/ebpfguard_*_amd64.deb bin/deb
	@$(GO) build -o bin/vmrun ./internal/vmtest/vmrun
	$(DEB_TEST) -run TestTour -exec '$(DEB_VM) -add $(CURDIR)/bin/debs:/src/debs -add $(CURDIR)/docs/tour.md:/src/docs/tour.md -add $(CURDIR)/docs/alerts.md:/src/docs/alerts.md' ./deploy/vm
	$(DEB_TEST) -run 'TestPackage|TestRPM' -exec '$(DEB_VM) -add $(CURDIR)/bin/debs:/src/debs' ./deploy/vm
	$(DEB_TEST) -run TestBoot -exec '$(DEB_VM) -append systemd.wants=ebpfguard.service $(DEB_INSTALLED)' ./deploy/vm

# What runs containers on the guests of test-runtimes. Each has a machine of its own.
RUNTIME_TEST = CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 20m -tags vm_deb
RUNTIME_VM = $(CURDIR)/bin/vmrun -kernel $(KERNEL) -systemd -modules overlay -add $(CURDIR)/bin/amd64/ebpfguard:/usr/bin/ebpfguard -packages dbus,procps,busybox-static

.PHONY: test-runtimes
test-runtimes: ## Podman with crun and runc, Docker, systemd-nspawn and LXC tell of containers, by the OCI hook and by themselves; a quarter of an hour
	@scripts/install-tools systemd
	@$(MAKE) --no-print-directory bin/amd64/ebpfguard ARCH=amd64
	@$(GO) build -o bin/vmrun ./internal/vmtest/vmrun
	$(RUNTIME_TEST) -run '^TestMachines$$' -exec '$(RUNTIME_VM),systemd-container,lxc' ./daemon/containers/vm
	$(RUNTIME_TEST) -run '^TestDocker$$' -exec '$(RUNTIME_VM),docker.io,runc' ./daemon/containers/vm
	$(RUNTIME_TEST) -run '^TestPodman$$' -exec '$(RUNTIME_VM),podman,crun,runc' ./daemon/containers/vm
	$(RUNTIME_TEST) -run '^TestGuard$$' -exec '$(RUNTIME_VM),podman,crun,runc' ./daemon/containers/vm

# What the guest of test-container has: a runtime, and what acts on the host.
CONTAINER_PACKAGES = runc,coreutils

.PHONY: test-container
test-container: ## run the image as a container on a kernel, with and without each capability and mount (KERNELS=6.12 RUN=TestMissing)
	@scripts/install-tools $(VM_TOOLS)
	$(GO) run ./internal/tools/image -arch $(ARCH) -out bin/$(ARCH)/image -rootfs bin/$(ARCH)/rootfs
	$(GO) run ./internal/vmtest/suite -tags vm -arch '$(ARCH)' -kernels '$(if $(filter all,$(KERNELS)),$(CONTAINER_KERNELS),$(KERNELS))' \
		-packages '$(CONTAINER_PACKAGES)' -add bin/$(ARCH)/rootfs:/src/image $(VM_ENV) -run '$(or $(RUN),$(if $(SHORT),$(CONTAINER_SHORT)))' ./test/container

.PHONY: test-image
test-image: ## follow docs/containers.md with the image, Podman and Docker on a Debian with systemd; ten minutes
	@scripts/install-tools systemd
	$(GO) run ./internal/tools/image -arch amd64 -version 0.0.9 -out bin/amd64/image-0.0.9
	@$(GO) build -o bin/vmrun ./internal/vmtest/vmrun
	$(DEB_TEST) -run TestPodman -exec '$(IMAGE_VM) -packages dbus,podman,crun' ./test/container
	$(DEB_TEST) -run TestDocker -exec '$(IMAGE_VM) -packages dbus,docker.io' ./test/container

IMAGE_VM = $(CURDIR)/bin/vmrun -kernel $(KERNEL) -systemd -modules overlay -add $(CURDIR)/bin/amd64/image-0.0.9:/src/dist -add $(CURDIR)/docs/containers.md:/src/docs/containers.md

.PHONY: chart
chart: ## write deploy/kubernetes and what the Helm chart has copies of
	GOWORK=off $(GO) -C test/chart run ./write

.PHONY: test-chart
test-chart: ## lint the Helm chart, try each of its values, and compare deploy/kubernetes with it: ten seconds
	GOWORK=off $(GO) -C test/chart vet ./...
	GOWORK=off $(GO) -C test/chart test -count=1 ./...

.PHONY: test-k8s-fast
test-k8s-fast: ## what needs a control plane of Kubernetes and no node: two minutes, and once ten of a processor to build Kubernetes (RUN=TestUsers)
	@scripts/install-tools cluster
	@$(GO) run ./internal/vmtest/tools test/cluster/kubernetes >/dev/null
	@$(MAKE) --no-print-directory test-chart
	$(GO) test -count=1 -timeout 15m -tags k8s -run '$(RUN)' ./test/cluster/...

.PHONY: test-k8s
test-k8s: ## install the chart on a real node, in a guest, with a real control plane, and try to get past it; half an hour (KERNEL=6.12 RUN=TestRecipes)
	@scripts/install-tools vm cluster
	@for module in test/cluster/kubernetes test/cluster/helm test/containers/runtimes; do $(GO) run ./internal/vmtest/tools $$module >/dev/null || exit; done
	@mkdir -p bin
	@$(GO) test -c -tags k8s_node -o bin/k8s.test ./test/cluster/node
	@# tee would hide the exit code.
	@{ (cd test/cluster/node && EBPFGUARD_TEST_KERNEL='$(KERNEL)' ../../../bin/k8s.test -test.v -test.timeout 3h -test.run '$(RUN)'; echo $$? >../../../bin/k8s.code) 2>&1 | tee '$(if $(RUN),bin/part-k8s.log,bin/test-k8s-$(KERNEL).log)'; }; exit $$(cat bin/k8s.code)

.PHONY: test-k8s-table
test-k8s-table: ## write docs/kubernetes-tested.md of what make test-k8s has left, one kernel after the other
	$(GO) run ./test/cluster/table -write docs/kubernetes-tested.md bin/test-k8s-*.log

.PHONY: mutate
mutate: ## remove what the caches' keys are made of, one by one: does a test fail each time? (KERNEL=6.12 RUN=place; an hour)
	@scripts/install-tools vm generate
	$(GO) run ./internal/vmtest/mutate -kernel '$(KERNEL)' -run '$(RUN)'

.PHONY: coverage
coverage: ## run every way on every kernel and write docs/coverage.md
	@$(MAKE) --no-print-directory test-vm VM_TESTS=./test/coverage/vm VM_OUTPUT=bin/coverage.log RUN=TestCoverage || true
	$(GO) run ./test/coverage/table -write docs/coverage.md bin/coverage.log

.PHONY: check
check: ## formatting, vet, staticcheck, generated code, unit tests with the race detector
	@scripts/install-tools check
	@GO='$(GO)' scripts/check

# A tool with more dependencies than all the rest, so it is in no go.mod.
BUF ?= github.com/bufbuild/buf/cmd/buf@v1.75.0

.PHONY: lint-api
lint-api: ## the rules of buf for api/ (building it takes two minutes)
	cd api && $(GO) run $(BUF) lint

.PHONY: generate
generate: ## compile the kernel programs and generate what Go shares with them
	@scripts/install-tools generate
	$(GO) generate work

.PHONY: build
build: bin/ebpfguard ## build bin/ebpfguard, static

.PHONY: man
man: bin/ebpfguard ## write the manual pages into dist/man
	bin/ebpfguard man dist/man

.PHONY: dist
dist: ## build dist/: static binaries, .deb, .rpm and archives for amd64 and arm64, with checksums
	$(GO) run ./internal/tools/dist

.PHONY: image
image: ## build the container image into dist/, without docker or root: an OCI layout for amd64 and arm64, and an archive of each
	$(GO) run ./internal/tools/image

.PHONY: dist-check
dist-check: ## build everything that dist and image do, twice, and compare
	$(GO) run ./internal/tools/dist -check
	$(GO) run ./internal/tools/image -check

# The go command knows better than make what is out of date.
.PHONY: bin/ebpfguard
bin/ebpfguard:
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/ebpfguard

# What the guests get.
.PHONY: bin/$(ARCH)/ebpfguard
bin/$(ARCH)/ebpfguard:
	CGO_ENABLED=0 GOARCH=$(ARCH) $(GO) build -trimpath -o $@ ./cmd/ebpfguard

.PHONY: bin/amd64/probe
bin/amd64/probe:
	CGO_ENABLED=0 GOARCH=amd64 $(GO) build -trimpath -ldflags='-s -w' -o $@ ./test/containers/probe

.PHONY: bin/$(ARCH)/programs
bin/$(ARCH)/programs:
	@mkdir -p $@
	CGO_ENABLED=0 GOARCH=$(ARCH) $(GO) build -trimpath -o $@ ./examples/go/...

.PHONY: bench
bench: ## count the instructions that the guard costs, measure the daemon's memory, and write docs/bench (BENCH_KERNELS=6.12 BENCH_RULES=100)
	@scripts/install-tools vm
	@scripts/install-tools generate
	$(GO) run ./bench -kernels '$(BENCH_KERNELS)' -setups '$(BENCH_SETUPS)' -workloads '$(BENCH_WORKLOADS)' -rules '$(BENCH_RULES)' -write docs/bench
	$(if $(BENCH_SETUPS)$(BENCH_WORKLOADS),,@$(MAKE) --no-print-directory bench-daemon)

.PHONY: bench-daemon
bench-daemon: ## measure the daemon's memory, fail when it is too much, and write docs/bench/daemon.md (BENCH_KERNELS=6.12)
	@scripts/install-tools vm
	@scripts/install-tools generate
	$(GO) run ./bench -kernels '$(BENCH_KERNELS)' -daemon docs/bench

.PHONY: bench-repeat
bench-repeat: ## measure twice and tell by how much the figures differ (BENCH_KERNELS=6.12 BENCH_RULES=10)
	@scripts/install-tools vm
	@scripts/install-tools generate
	$(GO) run ./bench -runs 2 -kernels '$(BENCH_KERNELS)' -setups '$(BENCH_SETUPS)' -workloads '$(BENCH_WORKLOADS)' -rules '$(BENCH_RULES)'

.PHONY: bench-memory
bench-memory: ## measure what the guard takes of memory and write docs/bench/memory.md (BENCH_KERNELS=6.12)
	@scripts/install-tools vm
	@scripts/install-tools generate
	$(GO) run ./bench -kernels '$(BENCH_KERNELS)' -memory docs/bench

# What is compared with bench/baseline.json: three minutes.
BENCH_HOT_FILES = ^open.close(, (depth|each|never seen before$$)| after a (rename|mount), depth 3| on overlayfs$$)
BENCH_HOT = -kernels 6.12 -setups 'no policies|^10 rules|^allow: all, 1000' -rules 1000 \
	-workloads '$(BENCH_HOT_FILES)|bind.close|connect|sendto|setuid|stat|^read$$|^write$$'

.PHONY: bench-check
bench-check: ## fail when a hot path costs more instructions than bench/baseline.json says
	@scripts/install-tools vm
	@scripts/install-tools generate
	$(GO) run ./bench $(BENCH_HOT) -check bench/baseline.json

.PHONY: bench-baseline
bench-baseline: ## write bench/baseline.json anew
	@scripts/install-tools vm
	@scripts/install-tools generate
	$(GO) run ./bench $(BENCH_HOT) -baseline bench/baseline.json

.PHONY: bench-real
bench-real: ## what the guard costs nginx, gcc, sqlite and scripts: some minutes a kernel; writes docs/bench/real.md (KERNEL=6.1)
	@scripts/install-tools vm
	$(GO) run ./bench/real -kernels '$(KERNEL)' -write docs/bench

.PHONY: bench-verifier
bench-verifier: ## write anew what the kernels' verifiers make of the programs (KERNELS=6.12)
	@scripts/install-tools vm
	@mkdir -p bin
	$(GO) run ./internal/vmtest/suite -kernels '$(KERNELS)' -run '^TestVerifier$$' -tags vm -icount -env EBPFGUARD_VERIFIER_NEW=1 \
		-output bin/verifier.log ./internal/bpf
	$(GO) run ./internal/verifier/table -write internal/bpf/testdata/verifier.json -table docs/bench/verifier.md bin/verifier.log

.PHONY: bench-go
bench-go: ## benchmarks of the pure-Go half: reading, compiling, deciding
	$(GO) test -run '^$$' -bench . -benchmem ./policy ./internal/compile

.PHONY: fuzz
fuzz: ## run each fuzz test for a while, FuzzKernel in a kernel (FUZZ=regexp FUZZTIME=30s KERNEL=6.12)
	@GO='$(GO)' scripts/fuzz '$(FUZZ)' '$(FUZZTIME)' '$(KERNEL)'

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist
