# What a developer types; plain `make` lists it. Every target does its own set-up, in .venv, without
# root. PYTHON=/usr/bin/python3 chooses another Python.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo demo-pool test lint unit docs screenshots test-pool faults bench pool pool-ospool pool-old stash setup clean

# Each recipe is one process that becomes the next, so that a signal to make reaches what runs.
run := @exec tools/setup.sh -- tools/run.py
run_with_tools := @exec tools/setup.sh --tools -- tools/run.py

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r target text; do \
	    printf '  make %-11s %s\n' "$$target" "$$text"; done

demo: ## set up, then run the example sweep to its results on this machine, without HTCondor
	$(run) demo

demo-pool: ## the same sweep on a real HTCondor, started for it without root
	$(run_with_tools) demo-pool

test: ## set up, then all tests: lint, unit, and pool inside real HTCondors: plain, OSPool-like, old
	$(run_with_tools) lint unit pool pool-once pool-ospool environments pool-old

lint: ## ruff format --check, ruff check, mypy --strict
	$(run) lint

unit: ## the tests that need no pool
	$(run_with_tools) unit

docs: ## the documentation as a site, in build/site
	$(run) docs

screenshots: ## the pictures of the documentation, anew: docs/images/
	$(run_with_tools) screenshots

test-pool: ## the tests inside real HTCondors: plain, OSPool-like, old
	$(run_with_tools) pool pool-once pool-ospool environments pool-old

faults: ## each fault that a batch must survive (or ONLY="some"), N=50 times; WRITE=1 keeps the report
	@N="$(N)" ONLY="$(ONLY)" WRITE="$(WRITE)" exec tools/setup.sh --tools -- tools/run.py faults

bench: ## the measurements in benchmarks/
	$(run_with_tools) bench

pool: ## a shell inside a real HTCondor; the pool ends with the shell
	@PATH="$$PWD/.venv/bin:$$PATH" exec tools/setup.sh --tools -- tools/htcondor/pool.py run

pool-ospool: ## the same, where jobs run in a small container as on the OSPool
	@PATH="$$PWD/.venv/bin:$$PATH" exec tools/setup.sh --tools -- tools/htcondor/pool.py run --ospool

pool-old: ## the same, plain, with the HTCondor of older access points (23.9)
	@PATH="$$PWD/.venv/bin:$$PATH" exec tools/setup.sh --tools -- tools/htcondor/pool.py run --version 23.9

stash: ## a shell with an S3 server, an OSDF-like origin and its cache; they end with the shell
	@PATH="$$PWD/.venv/bin:$$PATH" exec tools/setup.sh --tools -- tools/stash/servers.py run

setup: ## only the set-up
	@exec tools/setup.sh --tools

clean: ## remove .venv, the caches of the checkout and the batches of the examples
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
	rm -rf examples/*/batches examples/foreach_*/*/
