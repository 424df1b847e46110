# Everything happens in .venv; the only thing needed beforehand is Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: run test test-fast check dashboard docs lock reference-model

run: $(READY)
	$(BIN)/farm run

TEST = $(BIN)/pytest
CORES = $$(getconf _NPROCESSORS_ONLN)

# Every test, in one process a core and two more: tests of several machines mostly wait.
test: $(READY)
	$(TEST) -n $$(($(CORES) + 2))

# What a developer runs again and again: nothing of more than about 1.5 s, no labs, no browsers.
test-fast: $(READY)
	$(TEST) -n $(CORES) -m "not slow"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy docs/hooks.py
	$(BIN)/lint-imports

dashboard: $(READY)
	$(BIN)/farm dashboard

# The documentation, in site/; needs no network.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Repeats the training of worker/models/reference; needs PyTorch, and an accelerator to be quick.
reference-model: $(READY)
	$(BIN)/python -m training.train

# The lock names every platform's files by hash and no index.
lock: $(READY)
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --no-emit-index-url --all-extras pyproject.toml -o constraints.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --no-emit-index-url --extra worker --extra cluster --constraint constraints.txt \
		pyproject.toml -o farm/hosts/worker-requirements.txt

# The lock is complete, so nothing is resolved: pip would ask for the newest release of what a package
# needs with an extra, and refuse it because the lock pins another.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up .venv: $$(grep -c '==' constraints.txt) packages, one to three minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes --no-deps -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)
