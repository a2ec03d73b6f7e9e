# SPDX-License-Identifier: Apache-2.0
# musl where its standard library is installed (hack/deps.sh tries), else the C library of the host.
TARGET  ?= $(shell hack/target.sh)
CREEL   := build/creel
PREFIX  ?= /usr/local
MANUAL  := build/manual
ZSHDIR  ?= $(PREFIX)/share/zsh/site-functions
export CREEL_COMMIT := $(shell git rev-parse HEAD 2>/dev/null)$(shell git diff --quiet HEAD 2>/dev/null || echo -dirty)

.PHONY: help demo build manual install uninstall deb test-packaging lint test test-unit test-integration test-cve fuzz-root test-conformance test-enosys test-e2e test-vm vm crash-matrix crash-matrix-vm races soak test-budget hot bench bench-seccomp fuzz sanitize clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## install what is missing, build, run a container that shows its isolation
	@hack/deps.sh build run
	@$(MAKE) --no-print-directory build
	@hack/demo.sh $(CREEL)

build: ## the release binary
	cargo build --release --locked --target $(TARGET) --bin creel
	@install -D -m 0755 target/$(TARGET)/release/creel $(CREEL)
	@ls -l $(CREEL) | awk '{print "built", $$NF, "(" $$5 " bytes, $(TARGET))"}'

manual: ## manual pages and shell completions, from the tables of flags
	cargo run --quiet --locked --package manual -- $(MANUAL)

install: build manual ## binary, manual pages, completions: below /usr/local, or PREFIX=, DESTDIR=
	install -D -m 0755 $(CREEL) $(DESTDIR)$(PREFIX)/sbin/creel
	install -d $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 0644 $(MANUAL)/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	install -D -m 0644 $(MANUAL)/completions/creel.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/creel
	install -D -m 0644 $(MANUAL)/completions/_creel $(DESTDIR)$(ZSHDIR)/_creel
	install -D -m 0644 $(MANUAL)/completions/creel.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/creel.fish

uninstall: ## takes away what install has put there, with the same PREFIX= and DESTDIR=
	rm -f $(DESTDIR)$(PREFIX)/sbin/creel $(DESTDIR)$(PREFIX)/share/man/man8/creel.8
	rm -f $(DESTDIR)$(PREFIX)/share/man/man8/creel-*.8
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/creel $(DESTDIR)$(ZSHDIR)/_creel
	rm -f $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/creel.fish

deb: ## a Debian package, in build/
	@hack/deps.sh build deb
	DEB_RULES_REQUIRES_ROOT=no debian/rules binary

test-packaging: ## make install and make deb into throw-away roots; lintian; a container with what was installed
	@hack/deps.sh build run deb packaging
	tests/packaging.sh

lint: ## format, clippy, the tree's rules
	hack/check.sh

test: ## unit and integration tests, conformance, managers; says what it skips
	@hack/deps.sh build run test
	@hack/test.sh $(CREEL)

test-unit: ## unit tests; those that need root say SKIP without it
	cargo test --locked --bin creel

test-integration: build ## real containers, as root
	RUNTIME=$(CURDIR)/$(CREEL) cargo test --locked --test '*'

test-cve: build ## the CVE suite; RUNTIME= takes any runtime, CVE= its options (CVE=--help)
	RUNTIME=$${RUNTIME:-$(CURDIR)/$(CREEL)} cargo test --locked --test cve -- --no-weak $(CVE)

fuzz-root: build ## races against the set-up of random roots; FUZZ='--seconds 1200'
	RUNTIME=$${RUNTIME:-$(CURDIR)/$(CREEL)} cargo test --locked --test race_fuzz -- --no-weak $(FUZZ)

test-conformance: build ## one case per rule of runtime-spec; RUNTIME= takes any runtime
	RUNTIME=$${RUNTIME:-$(CURDIR)/$(CREEL)} runtime-tools-tests/run.sh

test-enosys: build ## the same suites with newer system calls refused, as an older kernel does; SETS= picks
	@hack/deps.sh test
	hack/enosys.sh $(CREEL) $(SETS)

test-e2e: build ## under Docker with Swarm, containerd by ctr and by CRI, Podman as root and as an ordinary user
	@hack/deps.sh run test docker pods
	RUNTIME=$${RUNTIME:-$(CURDIR)/$(CREEL)} tests/e2e/docker.sh
	RUNTIME=$${RUNTIME:-$(CURDIR)/$(CREEL)} tests/e2e/containerd.sh
	RUNTIME=$${RUNTIME:-$(CURDIR)/$(CREEL)} tests/e2e/cri.sh
	RUNTIME=$${RUNTIME:-$(CURDIR)/$(CREEL)} tests/e2e/podman.sh
	RUNTIME=$${RUNTIME:-$(CURDIR)/$(CREEL)} tests/e2e/podman-rootless.sh

test-vm: ## the suite in a virtual machine (systemd, all of cgroup v2); VM_TESTS= picks, VM= is for hack/vm/vm test
	@hack/deps.sh build vm
	@$(MAKE) --no-print-directory build
	hack/vm/vm test $(VM) $(VM_TESTS)

vm: ## the virtual machine's image and snapshot, if they are not there
	@hack/deps.sh vm
	@hack/vm/vm image

crash-matrix: build ## every system call killed at and made to fail (docs/reliability.md); some minutes
	hack/crash-matrix/matrix.py --runtime $(CREEL) $(CRASH)

crash-matrix-vm: build ## the same in the virtual machine, with the systemd driver; an hour
	@hack/deps.sh vm
	hack/crash-matrix/matrix.py --prepare build/crash-matrix
	hack/vm/vm run -l 7200 $(CURDIR)/hack/crash-matrix/matrix.py --prepared build/crash-matrix --runtime $(CREEL) --systemd-cgroup $(CRASH)

races: build ## commands against each other on one container, 64 at a time; RACES='--rounds 5000'
	hack/races.py --runtime $(CREEL) $(RACES)

soak: build ## does anything grow? SOAK='--containers 10000 --alive 50'
	hack/soak.py --runtime $(CREEL) $(SOAK)

test-budget: build ## instructions and system calls of run, exec, state: not 3 percent more
	@hack/deps.sh build run test
	hack/bench/budget.py --creel $(CREEL) $(BUDGET)

hot: ## hack/hot/functions anew: what the linker puts side by side (docs/benchmarks.md)
	@hack/deps.sh build run bench
	hack/hot/list.py

bench: build ## all of docs/benchmarks.md's tables and chart, ten minutes; BENCH= for a part
	@hack/deps.sh run bench
	python3 hack/bench/bench.py --creel $(CREEL) $(or $(BENCH),--full)

bench-seccomp: build ## seccomp: compiling Docker's profile, loading it, living under it
	@hack/deps.sh run bench test
	cargo test --release --locked --bin creel -- --ignored --nocapture seccomp::tests::measure
	python3 hack/bench/seccomp.py --creel $(CREEL) $(BENCH)

fuzz: ## the targets of fuzz/, ten minutes each; FUZZ_SECONDS=, FUZZ_TARGETS=, FUZZ_CORPUS=
	hack/fuzz.sh $(or $(FUZZ_SECONDS),600) $(FUZZ_TARGETS)

sanitize: ## memory errors: AddressSanitizer and valgrind; SANITIZE='unit check containers memcheck'
	@hack/deps.sh run sanitize
	hack/sanitize.sh $(SANITIZE)

clean: ## remove what was built
	cargo clean
	rm -rf build
