# Chores. `make help` lists them. Nothing is assumed but Python 3.11 or newer and the package registries.

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps
GENERATORS := services.executor.commands.reference services.executor.commands.reasons_page shared.kafka.reference shared.observability.reference cli.reference
LOCK := pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
TESTS ?= tests
# Most tests wait for real parts; each job has a broker and a database of its own (0.6 GB). Files go out in the order of
# their names: the longest ones are in the middle, and many short ones fill up the end.
JOBS ?= $(shell [ "$$(nproc 2>/dev/null || echo 2)" -gt 3 ] && echo 4 || echo 2)
# Of `make chaos`: the seed to replay, or how many seeds to try.
SEED ?=
SEEDS ?= 5

export PIP_NO_INPUT := 1
# The tests start services hundreds of times; without stored byte code each start would compile all of it anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo up test suite kafka-classes chaos check lint types imports architecture generated format docs lock bench bench-peers clean reset

help: ## List the chores
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/sandbox.stamp ## Start the sandbox and run the main job in it (ONCE=1: leave after the checks)
	@$(BIN)/cadenza demo $(if $(ONCE),--once)

up: $(VENV)/sandbox.stamp ## Start the sandbox until Ctrl-C
	@$(BIN)/cadenza up

test: ## Set up, check and run all tests (TESTS=tests/unit: only those; JOBS=1: one after the other)
	@$(MAKE) --no-print-directory -j2 $(VENV)/dev.stamp $(VENV)/browser.stamp
	@$(MAKE) --no-print-directory -j3 lint imports generated kafka-classes
	@$(MAKE) --no-print-directory -j2 types suite

suite: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest $(TESTS) $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile --no-loadscope-reorder)

# The tests start dozens of brokers. Where it fails they start later, and say why when they cannot at all.
kafka-classes: $(VENV)/dev.stamp
	@$(BIN)/python -m sandbox.aot || true

chaos: $(VENV)/dev.stamp ## More seeds and longer runs than `test` (SEEDS=20; SEED=… TESTS=… replays one seed)
	@SEED=$(SEED) SEEDS=$(if $(SEED),1,$(SEEDS)) $(BIN)/python -m pytest $(TESTS) -s -m "$(if $(SEED),,chaos)"

check: lint types imports generated architecture ## Everything that needs no running parts: style, types, imports, generated files

lint: $(VENV)/dev.stamp ## ruff, and that everything is formatted
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp ## mypy --strict
	@$(BIN)/mypy

imports: $(VENV)/dev.stamp ## The import contracts
	@$(BIN)/lint-imports

architecture: $(VENV)/dev.stamp ## Sizes, names, registries, samples
	@$(BIN)/python -m pytest --quiet tests/architecture

generated: $(VENV)/dev.stamp ## That the generated files are current
	@for module in $(GENERATORS); do $(BIN)/python -m $$module --check || exit 1; done

format: $(VENV)/dev.stamp ## Format, and mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/dev.stamp ## Write the generated reference and .env.example anew
	@for module in $(GENERATORS); do $(BIN)/python -m $$module || exit 1; done

bench: $(VENV)/dev.stamp ## Measure; results go to benchmarks/results/
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.live

lock: $(VENV)/dev.stamp ## Resolve the dependencies anew into requirements/*.lock
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install uv
	@for extra in services sandbox dev; do \
		$(BIN)/python -m uv $(LOCK) pyproject.toml --extra $$extra -o requirements/$$extra.lock || exit 1; done

bench-peers: $(VENV)/dev.stamp ## Measure beside Restate, Celery, DBOS and Prefect (ONLY=restate,dbos; needs redis-server, postgresql, npm)
	@$(BIN)/python -m benchmarks.peers $(if $(ONLY),--only $(ONLY))

clean: ## Remove the environment, caches and build products; the sandbox's data stay
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

reset: ## Remove the sandbox's data
	@rm -rf .cadenza

# --- the environment: hash-pinned, made again when a lock changes ---

$(VENV)/dev.stamp: requirements/dev.lock | $(BIN)/cadenza
	@echo "Fetching the Python packages of requirements/dev.lock"
	@$(PIP) -r requirements/dev.lock || { $(FETCH_FAILED); }
	@touch $@ $(VENV)/sandbox.stamp

$(VENV)/sandbox.stamp: requirements/sandbox.lock | $(BIN)/cadenza
	@echo "Fetching the Python packages of requirements/sandbox.lock"
	@$(PIP) -r requirements/sandbox.lock || { $(FETCH_FAILED); }
	@touch $@

# Chromium for the browser tests, and ffmpeg for their videos. Only Debian's root can install them here; elsewhere, or when
# it fails, those tests are skipped with the reason (with CI=true: failed).
$(VENV)/browser.stamp: | $(BIN)/cadenza
	@sh deploy/browser.sh $(VENV)/browser.log && touch $@ || true

# The checkout itself is found by a path file, so that nothing has to be built and every edit counts at once.
$(BIN)/cadenza:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11 if '$(PYTHON)' is an older one." >&2; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV) >/dev/null || { \
		echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@pwd > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/cadenza.pth"
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -P -m cli "$$@"\n' > $@
	@chmod +x $@

FETCH_FAILED = echo "The Python packages could not be fetched: is the package registry reachable?" >&2; exit 1
