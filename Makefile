# Every target creates .venv and installs by itself when needed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
export MYPYPATH := .venv/typing
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test quick lint links types bench evidence docs audit hashes clean

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

# A reduced headline of every paper, into docs/evidence.md; goes on where it was interrupted.
evidence: $(STAMP)
	$(BIN)/python -m experiments.evidence.page

docs: links
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "The site is in build/site: open build/site/index.html"

# Asks PyPI's advisories, with pip-audit in an environment of its own; what is unknown there is an error.
audit:
	test -x build/audit/bin/pip-audit || $(PYTHON) -m venv build/audit
	build/audit/bin/pip install --quiet --disable-pip-version-check "pip-audit>=2.9,<3"
	build/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

# The files that pip would take for this platform and Python, with their hashes, from pip's own report.
hashes: $(STAMP)
	@mkdir -p build
	$(BIN)/pip install --quiet --dry-run --ignore-installed --no-deps --report build/report.json \
		--requirement constraints.txt
	@$(BIN)/python -c "import json; print(*(each['metadata']['name'] + '==' + each['metadata']['version'] \
		+ ' --hash=sha256:' + each['download_info']['archive_info']['hashes']['sha256'] \
		for each in json.load(open('build/report.json'))['install']), sep='\n')" \
		> build/requirements-hashed.txt
	@echo "Wrote build/requirements-hashed.txt: pip install --require-hashes --requirement it"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit('Tenfold needs Python 3.11 or newer: make PYTHON=python3.11' if sys.version_info < (3, 11) else 0)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt "setuptools>=80"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	@touch $(STAMP)

clean:
	rm -rf .venv build dist runs *.egg-info
