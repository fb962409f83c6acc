# The only commands that anyone must know. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
DATA ?= .muster
# A runner of its own for each test where it is installed, else cargo's.
TEST := $(shell command -v cargo-nextest >/dev/null && echo "cargo nextest run" || echo "cargo test")

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.PHONY: run
run: ## Build Muster, start it with one agent on this machine, and say what to do next
	cargo build --release -p muster-server -p muster-agent
	exec target/release/muster quickstart --data-dir $(DATA)

.PHONY: test
test: prerequisites check ## Install what tests need, then run everything: format, lints, documentation, tests
	cargo build --workspace --all-targets
	scripts/with-services $(TEST) --workspace
	MUSTER_TEST_DATABASE=postgres scripts/with-services $(TEST) --workspace --test '*'

.PHONY: check
check: ## Format, lints and documentation, without tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

.PHONY: prerequisites
prerequisites:
	@scripts/prerequisites

.PHONY: bench
bench: ## Measure a real server: round trips, runs, lists, nodes, metrics, wrong passwords
	cargo build --release -p muster-server -p muster-agent
	scripts/with-services cargo bench -p muster-tests --bench round_trip --bench logins --bench runs --bench lists --bench nodes
	cargo bench -p muster-sea-orm --bench metrics

.PHONY: bench-fleet
bench-fleet: ## Measure a fleet of 18,000 (75,000 on five nodes); PART=idle|run|nodes|vanish for one part
	cargo build --release -p muster-server -p muster-swarm
	cargo bench -p muster-tests --bench fleet -- $(PART)

.PHONY: openapi
openapi: ## Write openapi/openapi.json and openapi/asyncapi.json anew
	cargo build -p muster-server
	target/debug/muster openapi > openapi/openapi.json
	target/debug/muster openapi --asyncapi > openapi/asyncapi.json

TARGET ?= dexagents
SECONDS ?= 600

.PHONY: fuzz
fuzz: ## Fuzz what reads the words of agents: TARGET=dexagents SECONDS=600 (needs cargo-fuzz)
	cp Cargo.lock fuzz/Cargo.lock
	RUSTC_BOOTSTRAP=1 cargo fuzz run $(TARGET) -- -max_total_time=$(SECONDS)

.PHONY: deny
deny: ## Check licences, sources and doubles of dependencies (needs cargo-deny)
	cargo deny check

.PHONY: clean
clean: ## Remove what was built; data in $(DATA) stays
	cargo clean
