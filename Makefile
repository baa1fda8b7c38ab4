# The one door: `make help` says what it opens.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# Ansible's tools call each other by name.
export PATH := $(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.installed ## From nothing to a real cluster of two hosts on this machine with the example app answering
	@$(BIN)/python -m tools.demo up

.PHONY: demo-down
demo-down: $(VENV)/.installed ## Remove the demo: hosts, volumes, networks, its kubeconfig context
	@$(BIN)/python -m tools.demo down

.PHONY: test
test: lint ## Everything CI runs: lint, unit, content, integration, molecule, e2e
	@$(BIN)/python -m pytest tests/unit tests/content tests/integration tests/molecule tests/e2e \
	  -m "not proof and not minikube" -n 2 --no-loadscope-reorder

.PHONY: lint
lint: $(VENV)/.installed ## Ruff, mypy, yamllint, ansible-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint

.PHONY: unit
unit: $(VENV)/.installed ## Unit and content tests: seconds, no hosts
	$(BIN)/python -m pytest tests/unit tests/content

.PHONY: integration
integration: $(VENV)/.installed ## The program's adapters against real hosts
	$(BIN)/python -m pytest tests/integration

.PHONY: molecule
molecule: $(VENV)/.installed ## The roles that stand alone, on real hosts, twice
	$(BIN)/python -m pytest tests/molecule

.PHONY: e2e
e2e: $(VENV)/.installed ## Real clusters, from the built wheel: what fits into `make test`
	$(BIN)/python -m pytest tests/e2e -m "not proof and not minikube"

.PHONY: e2e-minikube
e2e-minikube: $(VENV)/.installed ## Minikube on a real host; compiles another Kubernetes the first time
	$(BIN)/python -m pytest tests/e2e/verbs/test_minikube.py

.PHONY: proof
proof: $(VENV)/.installed ## Every e2e test, hours if need be; rewrites docs/proof.md
	$(BIN)/python -m pytest tests/e2e --proof docs/proof.md

.PHONY: bench
bench: $(VENV)/.installed ## How long things take, as ratios, on fresh hosts: a script against `up`, more hosts, images
	@$(BIN)/python -m tools.benchmarks

.PHONY: docs
docs: $(VENV)/.installed ## Write the generated pages (variables, findings, commands, sample inventory)
	$(BIN)/python -m tools.docs

.PHONY: constraints
constraints: $(VENV)/.installed ## Pin the newest versions that pyproject.toml allows
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/python -c 'import tomllib; d = tomllib.load(open("pyproject.toml", "rb")); print(*d["project"]["dependencies"], *d["dependency-groups"]["dev"], sep="\n")' > $(VENV)/all.in
	echo "# Versions and hashes of everything this project installs for itself; written by 'make constraints'." > constraints.txt
	cd $(VENV) && $(BIN)/pip-compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	  --no-emit-options --no-header --no-annotate --strip-extras --allow-unsafe --output-file all.txt all.in && cat all.txt >> ../constraints.txt

.PHONY: clean
clean: ## Remove what was built here (caches outside the checkout stay)
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .ansible

# The newest Python on the PATH or under ~/.pyenv that ansible-core runs on. Each is tried, because a pyenv shim may
# be on the PATH and yet refuse to run.
define find_python
for candidate in python3.14 python3.13 python3.12 python3 $$(ls -d $$HOME/.pyenv/versions/*/bin/python3 2>/dev/null | sort -rV); do \
  if $$candidate -c 'import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info < (3, 15))' 2>/dev/null; then echo $$candidate; exit 0; fi; \
done; exit 1
endef

# The checkout is its own collection. Archives of the source do not hold this link.
LINK := collections/ansible_collections/kubestrap/cluster
$(LINK):
	mkdir -p $(@D)
	ln -s ../../.. $@

$(VENV)/.installed: constraints.txt pyproject.toml | $(LINK)
	@python=$$($(find_python)) || { \
	  echo "kubestrap needs Python 3.12, 3.13 or 3.14 with the venv module, and found none on the PATH or under ~/.pyenv/versions." >&2; \
	  echo "Debian 13, Ubuntu 24.04: apt install python3 python3-venv. Elsewhere: pyenv install 3.13" >&2; exit 2; }; \
	echo "Installing into $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV) && \
	$(BIN)/python -m pip install --quiet --require-hashes -r constraints.txt && \
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . && \
	touch $@
