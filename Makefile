# `make help` lists the targets. Everything they create is in .venv, build and data.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
LOCK = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock'
# The root's package is here, not in a registry.
PACKAGES = --extra cli --no-emit-package oauth-portal pyproject.toml server/pyproject.toml

PROTOS := $(sort $(shell find protos/portal -name '*.proto'))
# google/api and google/rpc come with the googleapis-common-protos wheel.
GOOGLE = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# Envoy prints the details of an error from these.
ERRORS := google/rpc/error_details.proto
# What clients in other languages need in addition to the protos, and protoc does not have.
IMPORTS := $(ERRORS) google/rpc/status.proto $(addprefix google/api/,\
	annotations.proto field_behavior.proto http.proto)
PROTOC = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iprotos -I$(GOOGLE)
STUBS := build/stubs
# The protos and all they import, with comments: what Envoy, reflection and the generators read.
DESCRIPTORS := protos/portal/descriptors.binpb
# The languages whose stubs are committed, beside Python.
LANGUAGES := go typescript
GENERATED := protos/portal clients/go/portal clients/typescript/api/gen bench/peers/go/gen \
	edge/openapi.json edge/api-explorer/grpc.html docs deploy server/pyproject.toml
# The packages that a release installs, and the licenses that they may have.
LICENSES = --from mixed --with-system --packages $(shell sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' requirements/run.txt) \
	--allow-only "$(shell sed '/^#/d' requirements/licenses.txt | paste --serial --delimiters ';')"
CHECKSUMS = find $(GENERATED) -type f ! -name '*.pyc' -exec sha256sum {} + | sort -k 2

# Compiled test modules are kept: without them each process of a test run compiles them again.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: help run demo clean test test-bare test-crash test-hostile test-hostile-long test-slow fuzz soak bench check check-bench format \
	generate generate-peer verify protos protos-export dist sbom audit baseline lock generate-docs $(LANGUAGES:%=generate-%)

help: ## List the targets
	@awk -F ':.*## ' '/^##@ /{print "\n" substr($$0, 5)} /^[a-z-]+:.*## /{printf "  %-18s%s\n", $$1, $$2}' \
		$(MAKEFILE_LIST)

##@ Run

run: .venv/run ## Run the whole system with example data: gRPC server, Envoy, SQLite under ./data
	@PORTAL_DEVELOPMENT=true exec $(BIN)/portal up

demo: .venv/run ## Run an identity provider to register clients at, beside `make run`; needs Node and npm
	@command -v npm >/dev/null || { echo 'make demo needs Node 20 and npm'; exit 1; }
	@$(BIN)/python -m tools.demo

clean: ## Delete .venv and build; the data stays
	rm -rf .venv build

##@ Test

# The marks of the tests that have their own targets.
OTHERS := attack or crash or long or slow
ATTACKS := -m 'attack and not long' tests/hostile tests/native/test_fairness.py
SPREAD := --numprocesses 5 --dist loadgroup --no-loadscope-reorder
# Tests of each kind, and all that need a tool that a machine may not have.
BARE := tests/browser tests/golden tests/unit tests/storage/test_ids.py tests/system/test_grpcurl.py \
	$(addprefix tests/clients/test_,generated.py languages.py other_languages.py python.py)

test: .venv/dev ## Run the tests; five minutes on two cores
	@$(BIN)/python -m pytest -m alone
	@$(BIN)/python -m pytest -m 'not ($(OTHERS) or alone)' $(SPREAD)

test-slow: .venv/dev ## Run the tests that take long: browsers, other languages, many repetitions
	@$(BIN)/python -m pytest -m slow --timeout 900 --numprocesses 3 --dist loadgroup

test-bare: .venv/dev ## Run some tests of each kind with only a Debian base system, Python and make, without root
	@tests/support/bare $(BIN)/python -m pytest -m 'not (attack or crash or long or alone)' $(SPREAD) $(BARE)

test-crash: .venv/dev ## Kill the server and PostgreSQL under load, and compare; KILLS=500 has so many kills in all
	@CRASH_KILLS=$(KILLS) $(BIN)/python -m pytest -m crash -s

# Other programs on the machine can slow down callers, so an attack that fails is repeated once.
test-hostile: .venv/dev ## Attack the system under load, three minutes; nothing else may run
	@$(BIN)/python -m pytest $(ATTACKS) || $(BIN)/python -m pytest --last-failed $(ATTACKS)

test-hostile-long: .venv/dev ## The same, each attack alone for HOSTILE_SECONDS (30): an hour
	@HOSTILE_SECONDS=$${HOSTILE_SECONDS:-30} $(BIN)/python -m pytest -m 'attack or long' --timeout 600

fuzz: .venv/dev ## Send random malformed requests for ten minutes; FUZZ='--seconds 60' is shorter
	@$(BIN)/python -m tests.hostile.fuzz $(FUZZ)

soak: .venv/dev ## Load the system for an hour, and check that nothing grows; SOAK='--seconds 60' is shorter
	@$(BIN)/python -m bench.soak $(SOAK)

bench: .venv/bench ## Compare with peers on both databases; BENCH=--quick takes three minutes, --scale has large tables
	@$(BIN)/python -m bench $(BENCH)

##@ Check

check: .venv/dev verify ## Check formatting, lint, types, import contracts, language, licenses, protos, generated files
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	$(BIN)/python -m tools.language
	$(BIN)/pip-licenses $(LICENSES) >build/licenses.txt
	$(BIN)/buf format --path protos --diff --exit-code
	$(BIN)/buf lint $(DESCRIPTORS)
	$(BIN)/buf breaking $(DESCRIPTORS) --against protos/baseline.binpb

check-bench: .venv/bench ## Check the types of the benchmark, which needs the packages of its peers, and the peer in Go
	$(BIN)/mypy bench
	@if command -v go >/dev/null; \
	then cd bench/peers/go && test -z "$$(gofmt -l .)" && go vet . && go mod tidy -diff; \
	else echo 'bench/peers/go: not checked, because go is not installed'; [ -z "$$CI" ]; fi

format: .venv/dev ## Format the code and the protos, and apply lint fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/buf format --path protos --write

##@ Generate

generate: protos $(LANGUAGES:%=generate-%) generate-peer generate-docs ## Generate every generated file: stubs, OpenAPI document, tables of the docs

verify: .venv/dev ## Generate every generated file; fails if one was not current
	@mkdir -p build && $(CHECKSUMS) >build/checksums
	@$(MAKE) --no-print-directory generate
	@stale=$$($(CHECKSUMS) | diff build/checksums - | sed -n 's/^[<>] [0-9a-f]*  //p' | sort -u); \
	[ -z "$$stale" ] || { echo "generated files were not current and now are; commit them:"; echo "$$stale"; exit 1; }

protos: .venv/dev ## Generate the Python stubs and the descriptor set
	@rm -rf $(STUBS) && mkdir -p $(STUBS)
	@$(PROTOC) --python_out=$(STUBS) --grpc_python_out=$(STUBS) \
		--mypy_out=quiet:$(STUBS) --mypy_grpc_out=quiet:$(STUBS) $(PROTOS)
	@find protos/portal -name '*_pb2*' ! -name '*.pyc' -delete && cp -R $(STUBS)/portal protos
	@$(PROTOC) --include_imports --include_source_info \
		--descriptor_set_out=$(DESCRIPTORS) $(PROTOS) $(ERRORS)

# What runs a language's generator; go.mod and package.json pin the generator itself.
generate-go: TOOL := go
generate-typescript: TOOL := npm
generate-go: INSTALL := true
generate-typescript: INSTALL := [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --no-audit --no-fund
$(LANGUAGES:%=generate-%): generate-%: protos .venv/dev
	@if command -v $(TOOL) >/dev/null; \
	then cd clients/$* && { $(INSTALL); } && $(CURDIR)/$(BIN)/buf generate; \
	else echo 'clients/$*: stubs not generated, because $(TOOL) is not installed'; [ -z "$$CI" ]; fi

generate-peer: .venv/dev
	@if command -v go >/dev/null; \
	then $(PROTOC) -Ibench/peers/go --include_imports --include_source_info \
		--descriptor_set_out=build/peer.binpb peer.proto \
		&& cd bench/peers/go && $(CURDIR)/$(BIN)/buf generate; \
	else echo 'bench/peers/go: stubs not generated, because go is not installed'; [ -z "$$CI" ]; fi

generate-docs: protos
	@$(BIN)/python -m tools.openapi
	@$(BIN)/python -m tools.native_reference
	@$(BIN)/python -m tools.cli_docs
	@$(BIN)/python -m tools.settings_docs
	@$(BIN)/python -m tools.findings_docs
	@$(BIN)/python -m tools.version

protos-export: .venv/run ## Copy the protos and their imports to build/protos, for other languages
	@rm -rf build/protos && mkdir -p build/protos
	@cd protos && cp --parents $(PROTOS:protos/%=%) ../build/protos
	@cd $(GOOGLE) && cp --parents $(IMPORTS) $(CURDIR)/build/protos
	@echo build/protos

dist: .venv/dev ## Build wheels and sdists of both packages and the SBOM into dist, and check them
	@$(BIN)/python -m tools.dist dist

sbom: .venv/dev ## Write the SBOM (CycloneDX) of what a release installs: build/oauth-portal.cdx.json
	@mkdir -p build && $(BIN)/python -m tools.sbom build/oauth-portal.cdx.json

audit: .venv/dev ## Search osv.dev for known vulnerabilities of all pinned packages; AUDIT='--ignore ID' leaves one out
	@$(BIN)/python -m tools.audit $(AUDIT)

baseline: .venv/dev ## At a release: what `buf breaking` compares with from now on
	@$(PROTOC) --include_imports --descriptor_set_out=protos/baseline.binpb $(PROTOS)

lock: .venv/dev ## Pin the newest dependencies that pyproject.toml allows
	$(PIP) uv
	$(LOCK) --group build $(PACKAGES) -o requirements/run.txt
	$(LOCK) --group build --group dev -c requirements/run.txt $(PACKAGES) -o requirements/dev.txt
	$(LOCK) --group bench -c requirements/dev.txt -o requirements/bench.txt

.venv/run: requirements/run.txt pyproject.toml server/pyproject.toml
	@echo 'Creating .venv and installing what the server needs'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or newer is required; for example: make PYTHON=python3.12 …'; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation --editable . --editable server
	@touch $@

.venv/dev: requirements/dev.txt .venv/run
	@echo 'Installing what the tests need'
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

.venv/bench: requirements/bench.txt .venv/dev
	@echo 'Installing what the benchmark needs'
	@$(PIP) --require-hashes -r requirements/bench.txt
	@touch $@
