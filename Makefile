# Each target does its own set-up on a fresh machine that has python3, python3-venv, make and git.
#   make demo      the main job on small data, seen in Prefect's pages
#   make test      every tier of the tests; installs Debian packages where it may, and says which and why
#   make check     format, lint, types, contracts, docs, fast tests
#   make bench     the benchmarks      make nightly   what is too slow for CI      make docs   the site

# Without byte code every process that imports Prefect compiles it anew.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV
# Tests and demos tell nobody that they ran.
export DO_NOT_TRACK = 1
export PREFECT_SERVER_ANALYTICS_ENABLED = false

BIN = .venv/bin
FAST = not wire and not engine and not cluster and not slow and not browser and not postgres and not nightly
# The newest other Python this project is tested on; `make test` uses it where it is there.
OTHER_PYTHON = 3.13
# All of them run on it every night; before each push, the parts whose code depends on its Python most.
PARTS = sluiceway tests/core/environments tests/core/launch tests/core/remote tests/core/slurm tests/test_cli.py

.PHONY: setup debian demo test check static format lint types contracts docs fast other-python bench nightly
.DEFAULT_GOAL := check

setup:
	@sh deployments/setup.sh python

debian:
	@sh deployments/setup.sh debian

demo: setup
	@$(BIN)/sluiceway demo

# Whoever is not root but may become it runs the cluster tier as root, and everything else as themselves. The cluster
# tier mostly waits, so it runs beside the others, and says what came of it when they are done.
test: setup debian other-python
	@mkdir -p .tools && ROOT= && if [ "$$(id -u)" -ne 0 ] && sudo -n true 2>/dev/null; then \
	    ROOT="sudo -n env PYTHONDONTWRITEBYTECODE=1 CI=$$CI"; \
	fi; \
	$$ROOT $(BIN)/pytest -p no:cacheprovider -m "cluster and not nightly" tests/cluster > .tools/cluster-tier.txt 2>&1 & \
	CLUSTER=$$!; \
	$(BIN)/pytest -m "not cluster and not nightly"; OTHERS=$$?; \
	wait $$CLUSTER; CLUSTER=$$?; cat .tools/cluster-tier.txt; \
	[ $$OTHERS -eq 0 ] && [ $$CLUSTER -eq 0 ]

static: format lint types contracts docs

check: static fast

format: setup
	$(BIN)/ruff format --check .

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports --no-logo

docs: setup
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build
	@echo "site: docs/_build/index.html"

fast: setup
	$(BIN)/pytest -q -m "$(FAST)"

other-python: setup
	@if sh deployments/setup.sh has $(OTHER_PYTHON); then \
	    sh deployments/setup.sh python $(OTHER_PYTHON) && .venv-$(OTHER_PYTHON)/bin/pytest -q -m "$(FAST)" $(PARTS); \
	else \
	    echo "Python $(OTHER_PYTHON) is not here: tested on the project's own Python only"; \
	fi

bench: setup debian
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.scoring
	$(BIN)/python -m benchmarks.slurm
	$(BIN)/python -m benchmarks.launchers
	$(BIN)/python -m benchmarks.refresh

nightly: setup debian
	$(BIN)/pytest -m nightly
	@$(MAKE) --no-print-directory other-python PARTS=
