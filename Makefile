# `make help` lists the targets. Everything lands in .venv and build.

PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(shell find protos/portal -name '*.proto')
STUBS = --python_out=$(1) --grpc_python_out=$(1) --mypy_out=quiet:$(1) --mypy_grpc_out=quiet:$(1)
# google/api and google/rpc come with the googleapis-common-protos wheel.
GOOGLE = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# From these Envoy prints the details of an error.
ERRORS := google/rpc/error_details.proto
PROTOC = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iprotos \
	-I$(GOOGLE)
LOCK = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock'
# The root's package is here, not in a registry.
PACKAGES = --extra cli --no-emit-package oauth-portal pyproject.toml server/pyproject.toml
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.DELETE_ON_ERROR:
.PHONY: help run test test-bare test-crash test-hostile test-hostile-long fuzz bench check format protos protos-export baseline lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

run: .venv/run build/portal.binpb ## Run the whole system with example data: gRPC server, Envoy, SQLite under ./data
	@PORTAL_DEVELOPMENT=true exec $(BIN)/portal up

test: .venv/dev build/portal.binpb ## Run the tests, except those with a target of their own
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadgroup

test-bare: ## Run `make test` as on a machine without Chromium, Go, Rust, Java, Node and a C compiler
	@tests/support/bare $(MAKE) --no-print-directory test

test-crash: .venv/dev build/portal.binpb ## Kill the server and PostgreSQL under load; compare responses with what is stored
	@$(BIN)/python -m pytest -m crash -s tests/crash

test-hostile: .venv/dev build/portal.binpb ## Attack the system while others call: three minutes, nothing beside
	@$(BIN)/python -m pytest -m 'attack and not long'

test-hostile-long: .venv/dev build/portal.binpb ## The same, each attack by itself for HOSTILE_SECONDS (30): an hour
	@HOSTILE_SECONDS=$${HOSTILE_SECONDS:-30} $(BIN)/python -m pytest -m attack --timeout 600

fuzz: .venv/dev build/portal.binpb ## Send random malformed requests for ten minutes; FUZZ='--seconds 60' is shorter
	@$(BIN)/python -m tests.hostile.fuzz $(FUZZ)

bench: .venv/bench build/portal.binpb ## Compare with peers on both databases; BENCH='--quick' takes three minutes
	@$(BIN)/python -m bench $(BENCH)

check: .venv/dev .venv/bench build/portal.binpb ## Check formatting, lint, types, architecture, protos, generated files, language
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	$(BIN)/python -m tools.language
	$(BIN)/buf lint build/portal.binpb
	$(BIN)/buf breaking build/portal.binpb --against protos/baseline.binpb
	@rm -rf build/fresh && mkdir -p build/fresh
	@$(PROTOC) $(call STUBS,build/fresh) $(PROTOS)
	@diff -r --exclude='*.proto' --exclude=py.typed --exclude=__pycache__ build/fresh/portal protos/portal \
		|| { echo 'generated files are not fresh: run `make protos`'; exit 1; }

format: .venv/dev ## Format the code and apply lint fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

protos: .venv/run ## Generate the Python stubs and the descriptor set from the protos
	@mkdir -p build
	@$(PROTOC) $(call STUBS,protos) $(PROTOS)
	@$(PROTOC) --include_imports --include_source_info \
		--descriptor_set_out=build/portal.binpb $(PROTOS) $(ERRORS)

protos-export: .venv/run ## Copy the protos and all they import to build/protos, for other languages
	@rm -rf build/protos && mkdir -p build/protos
	@cd protos && cp --parents $(PROTOS:protos/%=%) ../build/protos
	@cd $(GOOGLE) && cp --parents google/api/annotations.proto google/api/field_behavior.proto \
		google/api/http.proto $(ERRORS) $(CURDIR)/build/protos
	@echo build/protos

baseline: build/portal.binpb ## At a release: what `buf breaking` compares with from now on
	@$(PROTOC) --include_imports --descriptor_set_out=protos/baseline.binpb $(PROTOS)

lock: .venv/dev ## Pin the newest dependencies that pyproject.toml allows
	$(PIP) uv
	$(LOCK) --group gen $(PACKAGES) -o requirements.txt
	$(LOCK) --group gen --group dev -c requirements.txt $(PACKAGES) -o requirements-dev.txt
	$(LOCK) --group bench -c requirements-dev.txt -o bench/requirements.txt

clean: ## Remove what was built; the data stays
	rm -rf .venv build

build/portal.binpb: $(PROTOS) .venv/run
	@echo 'Generating the stubs'
	@$(MAKE) --no-print-directory protos

.venv/run: requirements.txt pyproject.toml server/pyproject.toml
	@echo 'Making .venv and installing what the server needs'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or newer is needed; say which: make PYTHON=python3.12 …'; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation --editable . --editable server
	@touch $@

.venv/dev: requirements-dev.txt .venv/run
	@echo 'Installing what the tests need'
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

.venv/bench: bench/requirements.txt .venv/dev
	@echo 'Installing what the benchmark needs'
	@$(PIP) --require-hashes -r bench/requirements.txt
	@touch $@
