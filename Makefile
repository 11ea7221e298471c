# make run · make test · make bench · make help
.NOTPARALLEL:
.DELETE_ON_ERROR:
TARGET := $(or $(CARGO_TARGET_DIR),target)
DEMO   := examples/gatepost.toml
say     = @printf '== %s\n' '$(1)'

help: ## This list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

run: ## Build and run a gateway on high ports of 127.0.0.1, with examples/gatepost.toml
	cargo build -q --locked -p gateway
	@mkdir -p data
	@echo 'Gatepost listens on 127.0.0.1: 2525 inbound, 2526 outbound, 2587 submission. Ctrl-C ends it.'
	@echo '  settings   examples/settings.toml'
	@echo '  what it did    data/maillog, data/events.json'
	@echo '  the Control Center   http://127.0.0.1:8025/ (the link below makes its first administrator)'
	@echo '  health, metrics   http://127.0.0.1:8025/healthz  http://127.0.0.1:8025/metrics'
	@echo '  a message   swaks --server 127.0.0.1:2525 --from you@example.org --to user@corp.test'
	@echo '  all commands   $(TARGET)/debug/gatepost --help'
	@exec $(TARGET)/debug/gatepost run --config $(DEMO)

test: setup floors format lint unit fuzz-quick peers proof-quick hostile-quick soak-quick scenarios browser api package-check reference licences architecture ## Everything that CI checks, in its order; stops at the first failure
	$(call say,all passed)

setup: fetch ## Install what the tests need (once; needs root when something is missing)
	$(call say,setup)
	@tools/setup.sh

fetch:
	@cargo fetch -q --locked

floors: ## No crate sees what ARCHITECTURE.md forbids it
	$(call say,floors)
	@tools/floors.sh

format: ## rustfmt
	$(call say,format)
	@cargo fmt --check

lint: ## clippy, warnings are errors
	$(call say,lint)
	@cargo clippy -q --locked --workspace --all-targets -- -D warnings

unit: ## Unit and integration tests of every crate
	$(call say,unit)
	@cargo test -q --locked --workspace

programs:
	@cargo build -q --locked -p gateway -p sim

peers: programs ## Gatepost among swaks, Postfix, Exim and OpenSMTPD
	$(call say,peers)
	@tests/peers/run.py $(TARGET)/debug/gatepost

proof-quick: programs ## A sample of `make proof` (under a minute)
	$(call say,proof)
	@tests/proof/proof.py $(TARGET)/debug/gatepost

proof: ## What got a 250 survives kills, failing disks and power cuts: every point (half an hour); writes RELIABILITY.md
	@tools/setup.sh
	@cargo build -q --locked --release -p gateway
	@tests/proof/proof.py $(TARGET)/release/gatepost --long --report RELIABILITY.md

hostile-quick: programs ## A sample of `make hostile` (seconds)
	$(call say,hostile)
	@tests/hostile/hostile.py $(TARGET)/debug/gatepost

hostile: ## Slow, silent, flooding, vanishing clients, header bombs, endless lines, noise (minutes); writes RELIABILITY.md
	@tools/setup.sh
	@cargo build -q --locked --release -p gateway
	@tests/hostile/hostile.py $(TARGET)/release/gatepost --long --report RELIABILITY.md

soak-quick: programs ## Twenty seconds of `make soak`
	$(call say,soak)
	@tests/soak/soak.py $(TARGET)/debug/gatepost

soak: ## An hour in a world that goes wrong by chance: peers, DNS, settings, kills; SOAK='--seconds 600 --seed 7'; writes RELIABILITY.md
	@tools/setup.sh
	@cargo build -q --locked --release -p gateway
	@tests/soak/soak.py $(TARGET)/release/gatepost --report RELIABILITY.md --seconds 3600 $(SOAK)

fuzz-quick: ## What must hold for every input: the kept corpus and some mutations of it (a minute)
	$(call say,fuzz)
	@cargo run -q --locked -p fuzz -- quick

fuzz: ## New inputs, led by coverage, for a minute each; FUZZ='--target server --seconds 600'
	@fuzz/run.py $(FUZZ)

scenarios: programs ## Scripted DNS, peers and clients: what must happen, happens
	$(call say,scenarios)
	@$(TARGET)/debug/sim run --gatepost $(TARGET)/debug/gatepost crates/sim/scenarios/*.toml

browser: programs ## The Control Center in chromium: what people do on its pages, screenshots, accessibility
	$(call say,browser)
	@tests/browser/run.py $(TARGET)/debug/gatepost --pictures $(TARGET)/browser

book-pictures: programs ## The book's pictures of the Control Center, taken anew by its test (small ones with pngquant)
	@tests/browser/run.py $(TARGET)/debug/gatepost --pictures $(TARGET)/browser --book

api: programs ## The API asked by a fuzzer in each role, a few seconds each
	$(call say,api)
	@tests/fuzz-api/run.py $(TARGET)/debug/gatepost --seconds 10

fuzz-api: programs ## The same for minutes; SECONDS='600' for each role
	@tests/fuzz-api/run.py $(TARGET)/debug/gatepost --seconds $(or $(SECONDS),120)

package: fetch ## The Debian package, target/package/gatepost_VERSION_ARCH.deb, from an optimised build
	@cargo build -q --locked --profile dist -p gateway
	@packaging/deb.py $(TARGET)/dist/gatepost $(TARGET)/package

package-check: programs ## The package built, installed, started by systemd, upgraded, removed, on a machine of its own; the container file as far as it can be checked; what the sandbox lets through
	$(call say,package)
	@tests/package/run.py $(TARGET)/debug/gatepost
	@tests/package/container.py $(TARGET)/debug/gatepost
	@tests/package/sandbox.py $(TARGET)/debug/gatepost

sbom: fetch ## What is built into the program, as a CycloneDX bill of materials: target/package/gatepost.cdx.json
	@mkdir -p $(TARGET)/package
	@packaging/dependencies.py sbom >$(TARGET)/package/gatepost.cdx.json

score: programs ## How well the gateway explains failures: all of scenarios/, a table and score.json; SCORE='--jobs 4' for less waiting
	@$(TARGET)/debug/sim score --gatepost $(TARGET)/debug/gatepost --json $(TARGET)/score.json $(SCORE) scenarios

reference: programs ## The book's reference pages say what the program says of itself
	$(call say,reference)
	@tools/reference.sh --check $(TARGET)/debug/gatepost

licences: fetch ## Every dependency is permissive and from the public registry
	$(call say,licences)
	@if command -v cargo-deny >/dev/null; then cargo deny --offline --log-level error check licenses bans sources; else tools/licences.py; fi

architecture: ## ARCHITECTURE.md names every crate and folder
	$(call say,architecture)
	@tools/architecture.py

bench: ## Gatepost beside Postfix, 3 rounds (half an hour); writes BENCHMARKS.md
	@tools/setup.sh
	@bench/run.py

bench-quick: ## The same, 1 round of few messages (a few minutes); prints only
	@tools/setup.sh
	@bench/run.py --quick

bench-growth: ## What one more message costs as connections (10,000), queue (a million) and destinations (10,000) grow (ten minutes); writes BENCHMARKS.md
	@bench/growth.py --report

bench-instructions: ## Instructions that the hot paths take, counted by valgrind, beside those kept (minutes); KEEP=1 keeps the new ones
	@command -v valgrind >/dev/null || apt-get install -qq -y valgrind
	@bench/instructions.py $(if $(KEEP),--keep)

bench-control: ## Every page and API answer over a queue of 100,000 and of a million, a month's audit log of 5 million messages (10 GB), 100,000 aliases, a log of gigabytes (half an hour); writes BENCHMARKS.md
	@cargo build -q --locked --release -p gateway
	@cargo build -q --locked --release -p store --examples
	@rm -rf $(TARGET)/bench/control && mkdir -p $(TARGET)/bench/control
	@$(TARGET)/release/examples/pages 1000000 $(TARGET)/bench/control
	@bench/control.py $(TARGET)/release/gatepost $(TARGET)/bench/control --only /queue
	@rm -rf $(TARGET)/bench/control && mkdir -p $(TARGET)/bench/control
	@$(TARGET)/release/examples/pages 100000 $(TARGET)/bench/control
	@$(TARGET)/release/examples/trail fill $(TARGET)/bench/control $(TRAIL)
	@$(TARGET)/release/examples/trail ask $(TARGET)/bench/control
	@bench/control.py $(TARGET)/release/gatepost $(TARGET)/bench/control --aliases 100000 --log 1000 --report BENCHMARKS.md
	@rm -rf $(TARGET)/bench/control

clean: ## Remove what was built and the demo's data
	cargo clean -q
	rm -rf data bench/out

.PHONY: help run test setup floors format lint unit programs fetch peers proof-quick proof hostile-quick hostile scenarios browser book-pictures api fuzz-api package package-check sbom score reference licences architecture bench bench-quick bench-instructions bench-control clean soak-quick soak
.PHONY: fuzz fuzz-quick
.PHONY: bench-growth
