# Everything below sets itself up on a machine that has Python 3.11 or newer and make.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= .venv-demo
PEERS ?= .venv-peers
RELEASE ?= .venv-release
BIN = $(VENV)/bin
NAME ?= pipeline
ARGS ?=
JOBS ?= 2

# For the demo nothing is built in an environment of its own, which takes most of the time.
INSTALL = install -q --disable-pip-version-check
BUILD = hatchling editables

CORE = adaptive_ttl cache coalesce compare llm market persist race sandbox signals similarity
PLUGINS = $(notdir $(patsubst %/,%,$(dir $(wildcard plugins/*/pyproject.toml))))
MEASURED = $(addprefix tests/,core store store_codec authoring integration) plugins
EDITABLE = $(foreach name,$(1),-e plugins/$(name))

.PHONY: demo wheels first-hour release-check lock mutants test coverage unmeasured heavy test-all lint format check bench compare peers clients soak docs clean

demo: $(DEMO)/.ready
	@$(DEMO)/bin/argo-mw demo $(ARGS)

test: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n $(JOBS) $(ARGS)

# What the suites of the core and of plugins run of each distribution: measuring takes half as much time again.
coverage: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n $(JOBS) --cov --cov-report= $(MEASURED) $(ARGS)
	$(BIN)/python tests/covered.py

# What `make test` runs and `make coverage` does not.
unmeasured: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n $(JOBS) tests $(addprefix --ignore=,$(MEASURED)) $(ARGS)

# What installs, builds or runs whole programs: each file in one process, which builds what it needs once.
heavy: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n $(JOBS) --dist=loadfile -m "heavy and not soak" \
		-o faulthandler_timeout=900 $(ARGS)

compare: $(VENV)/.ready
	$(BIN)/argo-mw compare --json docs/compare.json --html compare.html $(ARGS)
	$(BIN)/python docs/compare.py

# A wheel of every distribution, and where each is: pip install -c dist/constraints.txt "dist/argo_mw-….whl[signals]"
wheels: $(VENV)/.ready
	@$(BIN)/python tests/packaging/wheels.py dist

# What a new user does, from these wheels in an environment of its own.
first-hour: $(VENV)/.ready
	$(BIN)/python tests/packaging/first_hour.py

# What is released, packed and tried out: sources, wheels, news, the first hour, a bill of materials.
release-check: $(RELEASE)/.ready
	$(RELEASE)/bin/python tests/packaging/release_check.py dist

# The lock for uv, with the versions that the tests are known to pass with, from the public index.
lock: $(RELEASE)/.ready
	$(RELEASE)/bin/uv lock --no-config --default-index https://pypi.org/simple \
		$(addprefix -P ,$(shell grep -v "^\#" tests/constraints.txt))

# Whether tests notice faults, by a seeded sample of mutants: minutes for each area; ARGS="flags --size 50" for one.
mutants: $(VENV)/.mutants
	nice $(BIN)/python -m tests.mutants $(ARGS)

# The core's suites on every Python and pluggy that it supports and this machine has.
test-all:
	$(PYTHON) tests/matrix.py $(ARGS)

# SDKs' own suites with the chain in between, of models and of an API, and libraries that are built on them.
peers: $(PEERS)/.ready
	$(PEERS)/bin/python tests/peers/run.py $(ARGS)
	$(PEERS)/bin/python tests/peers/through_gateway.py $(ARGS)

clients: $(PEERS)/.clients
	$(foreach age,latest older,$(PEERS)/$(age)/bin/python -m pytest -q tests/clients -W ignore \
		-p no:unraisableexception $(ARGS) &&) true

# What takes minutes, and what else properties can be made to meet.
soak: $(VENV)/.ready
	$(BIN)/python -m pytest -q -m "soak or hypothesis" --hypothesis-profile=explore \
		-o faulthandler_timeout=0 $(ARGS)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p argo_mw $(foreach name,$(PLUGINS),-p argo_mw_$(name))
	$(BIN)/mypy tests/typing docs/build.py docs/compare.py docs/generate.py docs/screenshot.py
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench
	$(BIN)/python -m tests.bench $(NAME) $(ARGS)

docs: $(VENV)/.ready
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/build.py --pictures $(ARGS)

$(DEMO)/.ready: pyproject.toml $(foreach name,$(CORE),plugins/$(name)/pyproject.toml)
	@echo "installing into $(DEMO), once"
	@$(PYTHON) -m venv $(DEMO)
	@$(DEMO)/bin/python -m pip $(INSTALL) $(BUILD)
	@$(DEMO)/bin/python -m pip $(INSTALL) --no-build-isolation -e . $(call EDITABLE,$(CORE))
	@$(DEMO)/bin/python -m compileall -q argo_mw $(foreach name,$(CORE),plugins/$(name)/argo_mw_$(name))
	@touch $@

$(VENV)/.ready: pyproject.toml tests/requirements.txt tests/constraints.txt \
		docs/requirements.txt $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c tests/constraints.txt \
		-r tests/requirements.txt -r docs/requirements.txt -e ".[frames,encryption]" $(call EDITABLE,$(PLUGINS))
	@touch $@

$(VENV)/.bench: $(VENV)/.ready tests/bench/requirements.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c tests/constraints.txt \
		-r tests/bench/requirements.txt
	@touch $@

$(VENV)/.mutants: $(VENV)/.ready tests/mutants/requirements.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c tests/constraints.txt \
		-r tests/mutants/requirements.txt
	@touch $@

$(RELEASE)/.ready: tests/packaging/requirements.txt
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install -q --disable-pip-version-check -r tests/packaging/requirements.txt
	@touch $@

$(PEERS)/.ready: tests/peers/requirements.txt tests/constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install -q --disable-pip-version-check -c tests/constraints.txt \
		-r tests/peers/requirements.txt -e . $(call EDITABLE,cache coalesce gateway http llm)
	@touch $@

# Two environments, since some of them need older versions of the SDKs than others.
$(PEERS)/.clients: tests/clients/latest.txt tests/clients/older.txt
	$(foreach age,latest older,$(PYTHON) -m venv $(PEERS)/$(age) && \
		$(PEERS)/$(age)/bin/python -m pip install -q --disable-pip-version-check \
		-r tests/clients/$(age).txt -e . $(call EDITABLE,cache coalesce http llm sandbox) &&) true
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) $(PEERS) $(RELEASE) build/site .coverage .mypy_cache .ruff_cache .pytest_cache
