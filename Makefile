# Every task by name: `make help`. Each target sets up what it needs in .venv on first use.
# Written for GNU make 3.81 and newer, which is what macOS has.

SHELL  := /bin/bash
PYTHON ?= python3
PORT   ?= 8000
SEEDS  ?= 30
N      ?=

run := .venv/bin/python
all := book run test

# need(groups): the environment holds these groups, or one line says why it can't.
need = @command -v $(PYTHON) >/dev/null 2>&1 || \
	{ echo "No $(PYTHON) here: install Python 3.11, 3.12 or 3.13, or name yours: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	$(PYTHON) tools/env.py $(1)

.DEFAULT_GOAL := help
.PHONY: help book serve lab test lint execute seeds faults bench spark pdf offline doctor clean

help: ## this list
	@awk -F ': ## ' '/^[a-z]+: ## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  N=cases/ad_click   for execute, seeds, faults: only this chapter, or one build of it"
	@echo "  SEEDS=30           for seeds: that many from 0, a range (20-29) or a list (3,5,8)"
	@echo "  PORT=8000          for serve and lab      PYTHON=python3.13   the Python that .venv is made from"

book: ## build the book from the stored outputs and say where to open it
	$(call need,book)
	@$(run) tools/build_book.py

serve: ## build the book and serve it on this machine
	$(call need,book)
	@$(run) tools/build_book.py
	@$(run) tools/serve.py $(PORT)

lab: ## open JupyterLab on the notebooks
	$(call need,$(all))
	@$(run) -m jupyterlab --ip=127.0.0.1 --port=$(PORT) --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks

test: ## everything: the book built strictly and checked, unit tests, every notebook re-executed and compared
	$(call need,$(all))
	@$(run) tools/check_sources.py
	@$(run) tools/build_book.py --fresh
	@$(run) tools/check_pages.py
	@$(run) tools/axe.py
	@$(run) -m pytest -n 2 --durations=15

lint: ## style, types, the shape of chapters and their prose; no notebook is executed
	$(call need,$(all))
	@$(run) -m ruff check .
	@$(run) -m ruff format --check .
	@$(run) -m mypy
	@$(run) tools/check_sources.py

execute: ## re-execute notebooks and store their outputs
	$(call need,$(all))
	@$(run) tools/execute.py $(N)

seeds: ## run notebooks under several seeds and write how each claim fared
	$(call need,$(all))
	@$(run) tools/seeds.py --seeds $(SEEDS) $(N)

faults: ## inject each known fault and report which claim or test caught it
	$(call need,$(all))
	@$(run) tools/faults.py $(N)

bench: ## measure everything on this machine and write the book's page on it
	$(call need,$(all))
	@$(run) tools/bench.py

spark: ## add Spark to .venv (it needs Java 17) and compare the data pipeline on both engines
	$(call need,$(all) spark)
	@$(run) -m pytest -q tests/unit/test_data_pipeline_spark.py

pdf: ## print the whole book as one PDF (needs Chromium)
	$(call need,book test)
	@$(run) tools/print_pdf.py

offline: ## the book as a zip that opens from disk
	$(call need,book)
	@$(run) tools/build_book.py
	@$(run) tools/offline.py

doctor: ## what this machine has and lacks, and what to do about it
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "No $(PYTHON) here: install Python 3.11, 3.12 or 3.13" >&2; exit 1; }
	@$(PYTHON) tools/doctor.py

clean: ## remove what was built; .venv stays
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
