# Every target creates .venv and installs by itself when needed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
export MYPYPATH := .venv/typing
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test quick lint links types bench docs clean

demo: $(STAMP)
	$(BIN)/tenfold run experiments/queues/demo.yaml
	$(BIN)/tenfold compare queues-demo --baseline uniform --out runs/compare/queues-demo
	@echo "Open the MLflow UI with: $(BIN)/tenfold ui"

test: lint types
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# What needs neither Ray nor other processes and is done soon.
quick: $(STAMP)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy and the API reference see the packages under their import names through links to the folders.
links: $(STAMP)
	@mkdir -p .venv/typing/tenfold
	@for folder in platform algorithms envs tune_spaces; do \
		ln -sfn ../../../$$folder .venv/typing/tenfold/$$folder; done

types: links
	$(BIN)/mypy -p tenfold

bench: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@for benchmark in benchmarks/*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark || exit 1; done

docs: links
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "The site is in build/site: open build/site/index.html"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit('Tenfold needs Python 3.11 or newer: make PYTHON=python3.11' if sys.version_info < (3, 11) else 0)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt "setuptools>=80"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	@touch $(STAMP)

clean:
	rm -rf .venv build dist runs *.egg-info
