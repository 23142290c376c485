# One command each; `make` alone lists them. The environment lives in .venv and is made when needed.

PYTHON ?= python3
VENV ?= .venv
# The notebooks that `course` and `refresh` run, such as NOTEBOOKS="01 05"; empty means all.
NOTEBOOKS ?=
# LANGUAGE=zh or ja: `lab` opens these notebooks. Systems set it too, to languages that the course may not have.
LANGUAGE ?=
# UV=no installs with pip alone.
UV ?= yes
# More options for JupyterLab, such as LAB_FLAGS=--no-browser.
LAB_FLAGS ?=
# STORE=yes puts the table of `make bench` into BENCHMARKS.md; BENCH_FLAGS are options of its command.
STORE ?= $(README)
BENCH_FLAGS ?=

PY = $(VENV)/bin/python
# Settings of the caller's must not change what is tested; SEG_TEST_DATA is the tests' own.
UNSET_SEG = unset $$(env | sed -n 's/^\(SEG_[A-Z_]*\)=.*/\1/p' | grep -v '^SEG_TEST_DATA$$')

# Two processes share the unit tests, file by file.
TWO = -n 2 --dist loadscope --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help course lab test lint unit unit-slow notebooks notebooks-translated test-slow test-platforms test-all refresh bench bench-gpu clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

course: $(VENV)/.course  ## run every notebook headless: pages, an index, model and overlays under build/
	@$(PY) -m tools.course run $(if $(NOTEBOOKS),--notebooks $(NOTEBOOKS))

lab: $(VENV)/.course  ## open JupyterLab on the first notebook
	@$(PY) -m jupyterlab $(LAB_FLAGS) notebooks/$(addsuffix /,$(filter zh ja,$(LANGUAGE)))00_quickstart.ipynb

# What fails does not keep the rest from running.
test:  ## lint, quick unit tests, then every notebook against its stored outputs
	@$(MAKE) --no-print-directory --keep-going lint unit notebooks

test-slow:  ## the others: killed runs, many processes, notebooks from the Hub, in JupyterLab, in zh and ja
	@$(MAKE) --no-print-directory --keep-going unit-slow notebooks-translated

test-platforms: $(VENV)/.dev  ## the course in Colab's versions, in the lowest versions, and Binder's Dockerfile
	@$(UNSET_SEG); $(PY) -m pytest tests/notebooks/test_platforms.py -m platforms -s

test-all:  ## all three, which is what CI runs
	@$(MAKE) --no-print-directory --keep-going test test-slow test-platforms

lint: $(VENV)/.dev  ## ruff over modules, tests and notebooks
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

unit: $(VENV)/.dev
	@$(UNSET_SEG); $(PY) -m pytest tests -m "not slow and not platforms" $(TWO)

unit-slow: $(VENV)/.dev
	@$(UNSET_SEG); $(PY) -m pytest tests -m slow $(TWO)

# Runs notebooks and compares their outputs with the stored ones.
define compare
	@$(UNSET_SEG); mkdir -p build/test-notebooks; \
	SEG_PROFILE=tiny SEG_OUTPUT="$(CURDIR)/build/test-notebooks" \
	  $(PY) -m pytest --nbval --nbval-current-env --nbval-cell-timeout=600 \
	    --nbval-sanitize-with tests/approximate.cfg $(1) -n 2
endef

notebooks: $(VENV)/.dev
	@rm -rf build/test-notebooks
	$(call compare,notebooks/*.ipynb)

# Those with sliders: else code and outputs are the English notebooks' own, but for the exercises, which unit
# tests ask in each language. Notebook 06 reads what 05 has left.
SLIDERS = $(notdir $(shell grep -l '"widgets\.' notebooks/*.ipynb))
TRAINED = $(if $(wildcard build/test-notebooks/tiny/model/config.json),,notebooks/05_training.ipynb)

notebooks-translated: $(VENV)/.dev
	$(call compare,$(TRAINED) $(foreach code,zh ja,$(addprefix notebooks/$(code)/,$(SLIDERS))))

refresh: $(VENV)/.dev  ## run the notebooks and store their outputs in them, in every language
	@$(PY) -m tools.course translations
	@$(PY) -m tools.course refresh $(if $(NOTEBOOKS),--notebooks $(NOTEBOOKS))

bench: $(VENV)/.dev  ## measure the course beside other ways: a table under build/
	@$(UNSET_SEG); $(PY) -m tests.benchmarks $(if $(filter yes,$(STORE)),--store) $(BENCH_FLAGS)

bench-gpu: $(VENV)/.dev  ## measure what needs a GPU: rows for `make bench BENCH_FLAGS="--add FILE"`
	@$(UNSET_SEG); $(PY) -m tests.benchmarks --rows gpu --output build/gpu $(BENCH_FLAGS)

clean:  ## remove build/ and caches; .venv and outputs/ stay
	rm -rf build .pytest_cache .ruff_cache .hypothesis notebooks/.ipynb_checkpoints notebooks/*/.ipynb_checkpoints
	find helpers scripts tools tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment -------------------------------------------------------------------------------

# Tries uv first, which is much quicker, and pip where uv is missing or fails.
define install
	@if [ "$(UV)" = yes ] && $(PY) -m uv --version >/dev/null 2>&1 \
	  && $(PY) -m uv pip install --quiet --python $(PY) -r $(1) -c constraints.txt; then :; \
	else echo "installing $(1) with pip, which takes some minutes"; \
	  $(PY) -m pip install --quiet -r $(1) -c constraints.txt; fi
	@touch $@
endef

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
	  echo "The course needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>/dev/null || echo missing): name another, as in" \
	    "'make PYTHON=python3.12 $(or $(MAKECMDGOALS),course)'." >&2; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@[ "$(UV)" != yes ] || $(PY) -m pip install --quiet --disable-pip-version-check uv \
	  || echo "uv cannot be installed; pip does its work"
	@touch $@

$(VENV)/.course: $(VENV)/.made requirements.txt constraints.txt
	@echo "installing the course's packages"
	$(call install,requirements.txt)

$(VENV)/.dev: $(VENV)/.course requirements-dev.txt
	@echo "installing what the tests need"
	$(call install,requirements-dev.txt)
