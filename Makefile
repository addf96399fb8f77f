# Builds, tests, shows and measures Cardwright on a fresh Debian 12 with a Rust toolchain.
#
#   make build   build all programs into target/debug (also the default)
#   make demo    personalize 500 cards on a simulated line; HSM=softhsm: with keys in a PKCS#11 token
#   make test    run all the tests
#   make soak    run the random tests for longer
#   make bench   measure
#   make lint    check formatting, clippy, licences and sources
#
# Each target first installs the Debian packages that are missing, and names them.

SHELL := /bin/sh
CARGO ?= cargo
HSM ?= software
# The Debian packages, and the uses of each:
#   gcc libc6-dev           SQLite, which is compiled from C
#   pkg-config              serial ports, OpenSSL
#   libssl-dev              RSA arithmetic
#   openssl sqlite3         tests and benches
#   age                     tests of sealed files
#   libpcsclite-dev         card readers (PC/SC)
#   pcscd vsmartcard-vpcd   tests with virtual readers
#   softhsm2 opencryptoki   tests with PKCS#11 tokens, and the demo with one
#   iproute2 util-linux     tests with virtual readers and tokens, each in its own namespace
#   mount e2fsprogs         tests with disks that are full or fail
PACKAGES := gcc libc6-dev pkg-config libssl-dev openssl sqlite3 age libpcsclite-dev pcscd vsmartcard-vpcd softhsm2 opencryptoki iproute2 util-linux mount e2fsprogs

.PHONY: all setup build demo test bench soak lint

all: build

setup:
	@missing=""; for p in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  echo "setup: installing Debian packages:$$missing"; \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -q --no-install-recommends $$missing; \
	else echo "setup: Debian packages present: $(PACKAGES)"; fi
	@command -v $(CARGO) >/dev/null || { echo "setup: no Rust toolchain: install rustup's stable first"; exit 1; }

build: setup
	$(CARGO) build --workspace --bins

demo: build
	HSM=$(HSM) tests/demo.sh

# Programs and tests are built at once: the libraries of the tests ask for more of others, so that programs built alone are built twice.
# Tests spend a third of their time waiting for processes and clocks, so there are 1.5 test threads for each core.
test: setup
	$(CARGO) build --workspace --bins --tests
	RUST_TEST_THREADS=$$(( ($$(nproc) * 3 + 1) / 2 )) $(CARGO) test --workspace --no-fail-fast

soak: build
	STORM=full MODEL=full FRAMES=full PROPTEST_CASES=20000 $(CARGO) test --workspace --no-fail-fast
	PROPTEST_CASES=1000000 $(CARGO) test -p drivers

bench: setup
	$(CARGO) build --release --workspace --bins
	$(CARGO) bench -p cardwright

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@command -v cargo-deny >/dev/null || { echo "lint: installing cargo-deny"; $(CARGO) install cargo-deny --locked --version ^0.20; }
	$(CARGO) deny check licenses bans sources
