# The whole interface for newcomers: `make run`, `make test`; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CACHES := .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
# What has to be installed again after a change: it is built, not imported from here.
TYPES := $(wildcard zvonim_sfu/*/*.pxd)
BUILT := pyproject.toml hatch_build.py $(wildcard zvonim_sfu/*/*.pyx) $(TYPES) $(wildcard $(TYPES:.pxd=.py))
# Tests of what is compiled, which run on that and on what serves who has no compiler. What stays behind when people come
# and go, and large rooms, are looked at on the first alone, as they take minutes.
KERNEL_TESTS := tests/bandwidth tests/e2e tests/media tests/net/test_udp.py tests/rtp/test_transport_cc.py \
	-m "not long and not minute"
# Two tests at a time where none has a browser, which wants both cores for itself. Who has done its share takes of the
# other's: in the other ways of pytest-xdist, one has all the long ones.
WITHOUT_BROWSERS := -n 2 --dist worksteal --ignore tests/browser

.DEFAULT_GOAL := run
.PHONY: run dev test test-long check format bench clean help

run: $(VENV)/.installed ## start the server on http://127.0.0.1:8080 (settings: ZVONIM_*, see zvonim-sfu --help)
	@exec $(BIN)/zvonim-sfu

# adev cannot be told to listen on loopback only: unlike `run`, this is reachable from the network.
dev: $(VENV)/.installed-dev ## the same on all addresses, restarted whenever a file changes
	@exec $(BIN)/adev runserver zvonim_sfu/dev.py --app-factory app_factory --port $${ZVONIM_PORT:-8080} --no-livereload

test: $(VENV)/.installed-dev browsers check ## lint, type-check and run all tests, browsers included
	$(BIN)/pytest $(WITHOUT_BROWSERS)
	$(BIN)/pytest $(WITHOUT_BROWSERS) --kernel=python $(KERNEL_TESTS)
	$(BIN)/pytest tests/browser

test-long: $(VENV)/.installed-dev browsers ## run the tests that take minutes, or a machine that does nothing else
	$(BIN)/pytest -m long

check: $(VENV)/.installed-dev node_modules/.installed ## lint and type-check Python and JavaScript
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	node_modules/.bin/tsc --project web

format: $(VENV)/.installed-dev ## format the Python code and mend what the linter can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/.installed-dev ## measure this server, beside Janus if that is installed; ten minutes
	@$(BIN)/python -m benchmarks all
	@$(BIN)/python benchmarks/forwarding.py
	@$(BIN)/python benchmarks/rejecting.py

clean: ## remove what the other targets made
	rm -rf $(VENV) node_modules $(CACHES) zvonim_sfu/*/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: browsers compiler
browsers:
	@.ci/install-browsers
compiler:
	@.ci/install-compiler $(PYTHON)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Python's venv module is needed (Debian: apt-get install python3-venv)" >&2; exit 1; }

$(VENV)/.installed: $(BUILT) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: $(BUILT) | compiler $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

node_modules/.installed: package.json
	@command -v npm >/dev/null || { echo "npm is needed (Debian: apt-get install npm)" >&2; exit 1; }
	npm install --no-audit --no-fund --no-package-lock --loglevel=error
	@touch $@
