# The tasks of this project: `make` alone lists them. They need Python 3.11 or newer and make, nothing else.

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format types layers secure audit bounds train serve notebooks bench docs lock clean

# Set on the command line: `make serve MODEL=my-model PORT=9000`.
PYTHON  ?=
WORKERS ?= 2
DATA    ?= demo/crm
MODEL   ?= demo/model
PORT    ?= 8000
BENCH   ?= startup kernel serving serving_and_mlflow reasons features backlog backlog_and_pandas \
           backlog_growth backlog_kills backlog_on_spark training

RUN      = .venv/bin/python
LEADQUAL = .venv/bin/leadqual
DEMO     = $(RUN) examples/demo.py
TABLES   = --leads "$(DATA)/leads.parquet" --events "$(DATA)/events.parquet" --outcomes "$(DATA)/outcomes.parquet"
COMPILED = tests/test_history.py tests/test_lookup.py tests/test_changes.py tests/test_engagement.py tests/test_forest.py tests/test_shapley.py tests/test_recipes.py
NBMAKE   = $(RUN) -m pytest --nbmake --nbmake-timeout=900 -o filterwarnings=default

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: .venv/.ready ## make .venv with the locked packages and the command .venv/bin/leadqual

demo: setup ## the main job: simulate a CRM, learn, promote, score a backlog, ask the service; into demo/
	@$(DEMO)

test: lint types layers secure bounds ## every check: lint, types, layers, secure, bounds, tests, doctests, notebooks
	$(RUN) -m pytest -n $(WORKERS)
	$(NBMAKE) -n $(WORKERS) notebooks

lint: setup ## rules and format of the code (ruff)
	.venv/bin/ruff check
	.venv/bin/ruff format --check

format: setup ## mend what ruff can mend
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

types: setup ## types (mypy, strict)
	$(RUN) -m mypy

layers: setup ## who may import whom (import-linter)
	.venv/bin/lint-imports --no-logo

secure: setup ## what is known to be dangerous in the code that ships (bandit)
	.venv/bin/bandit --quiet --recursive --configfile pyproject.toml features training serving leadqual.py

audit: setup ## known holes in the locked packages (pip-audit); asks the package index, so no part of `make test`
	.venv/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements.lock

bounds: setup ## the compiled loops with every index checked, which they are not when they run
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.numba_checked $(RUN) -m pytest -q -n $(WORKERS) $(COMPILED)

train: setup ## learn from the tables in DATA (simulated where there are none) into MODEL
	@[ -e "$(DATA)/leads.parquet" ] || $(LEADQUAL) simulate "$(DATA)"
	@set --; [ ! -e "$(DATA)/leadqual.toml" ] || set -- --config "$(DATA)/leadqual.toml"; \
		$(LEADQUAL) train $(TABLES) "$$@" --output "$(MODEL)"

serve: setup ## serve MODEL on 127.0.0.1:PORT
	@[ -e "$(MODEL)/manifest.json" ] || \
		{ echo "There is no model in $(MODEL): run 'make demo' or 'make train' first." >&2; exit 2; }
	@exec $(LEADQUAL) serve --model "$(MODEL)" --port $(PORT)

notebooks: setup ## run a copy of the notebooks, with what they show, in executed/
	@rm -rf executed && mkdir executed && cp notebooks/*.ipynb executed/
	$(NBMAKE) --overwrite executed

bench: setup ## measure speed on this machine, also into bench/results.json; BENCH="kernel features" for some
	@missed=; for name in $(BENCH); do \
		echo "== benchmarks/$$name.py"; $(RUN) "benchmarks/$$name.py" || missed="$$missed $$name"; \
	done; [ -z "$$missed" ] || { echo "below a bar, or failed:$$missed" >&2; exit 1; }

docs: setup ## write the pages of docs/ that are made from the code
	$(RUN) docs/generate.py

lock: setup ## resolve the dependencies of pyproject.toml into requirements.lock, and what a service needs of them; UPGRADE=--upgrade for newer ones
	$(RUN) -m pip install --quiet uv
	.venv/bin/uv pip compile pyproject.toml --extra dev --extra bench --extra postgres --quiet $(UPGRADE) \
		--universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
		--custom-compile-command "make lock" --output-file requirements.lock
	.venv/bin/uv pip compile pyproject.toml --extra postgres --constraint requirements.lock --quiet \
		--universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
		--custom-compile-command "make lock" --output-file requirements-serve.lock

clean: ## remove what was made here, .venv excepted
	rm -rf bench demo executed build dist .numba_checked .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment, made once and again whenever the lock changes. Made by the first Python found
# that the lock was tried with (3.11 to 3.13), else by a newer one; `make setup PYTHON=…` names one.
.venv/.ready: requirements.lock pyproject.toml
	@suits() { "$$1" -c "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, $$2))" 2>/dev/null; }; \
	if ! suits $(RUN) 99; then \
		found=; \
		for below in 14 99; do \
			for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python); do \
				if [ -z "$$found" ] && suits "$$python" $$below; then found=$$python; fi; \
			done; \
		done; \
		if [ -z "$$found" ]; then \
			echo "leadqual needs Python 3.11 or newer with its venv module; found: $$($(or $(PYTHON),python3) --version 2>&1)." >&2; \
			echo "Install one (on Debian: apt install python3 python3-venv), or name one: make setup PYTHON=/path/to/python3.12" >&2; \
			exit 2; \
		fi; \
		"$$found" -m venv --clear .venv; \
	fi
	@echo "Installing the locked packages into .venv: some minutes the first time …"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
