# Two commands: `make demo` and `make test`. Both install what they need into .venv, from the lock files, and begin with
# nothing but python3, make and git.

PYTHON ?= python3
PORT ?= 8080
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-install test-clients wheel check mutants mutants-short bench bench-against bench-large bench-overload febrl lock clean

demo: $(VENV)/run.stamp
	@$(BIN)/portrait demo --port $(PORT)

test: check
	$(BIN)/pytest -n auto --dist loadgroup

# Installs the wheel into an empty environment outside the checkout, and uses it there. Needs the package registry.
test-install: $(VENV)/dev.stamp
	$(BIN)/pytest -m registries tests/installing

# Generates clients of the OpenAPI document, in Python and, where there is npm, in TypeScript; compiles and runs them.
# Then lets tracking clients of other makers send: those for Node where there is npm, for browsers where Chromium is too.
test-clients: $(VENV)/dev.stamp
	$(BIN)/pytest -m registries tests/clients

# Without a build download: what a build needs is locked with the rest.
wheel: $(VENV)/run.stamp
	@$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

# Takes every guard away, one at a time: a test must fail for each. Writes its table into docs/explanation/security.md.
mutants: $(VENV)/dev.stamp
	$(BIN)/python -m mutants

# A tenth of those whose test is known, within minutes; another tenth at each commit.
mutants-short: $(VENV)/dev.stamp
	$(BIN)/python -m mutants --short

# Side by side with floors and peers; writes bench/results.json and docs/benchmarks.md.
bench: $(VENV)/bench.stamp
	$(BIN)/python -m bench

# The working tree beside another revision, which is built below var/bench from its own lock files; writes nothing.
REV ?= HEAD
bench-against: $(VENV)/dev.stamp
	$(BIN)/python -m bench --against $(REV) $(ARGS)

bench-large: $(VENV)/bench.stamp
	$(BIN)/python -m bench --run large

bench-overload: $(VENV)/bench.stamp
	$(BIN)/python -m bench --run overload

# How well matching finds people in two public data sets; writes the measured block of docs/explanation/matching.md.
febrl: $(VENV)/evaluation.stamp
	$(BIN)/python -m bench.febrl

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Every file comes from the lock with its hash; the package itself is installed as it stands, without a build download.
$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/run.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/bench.stamp: requirements/bench.txt $(VENV)/dev.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

$(VENV)/evaluation.stamp: requirements/evaluation.txt $(VENV)/dev.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/evaluation.txt
	@touch $@

# Writes the lock files anew: the newest versions that pyproject.toml allows. Needs uv.
lock:
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group build pyproject.toml -o requirements/run.txt --upgrade
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group build --group dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt --upgrade
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group bench -c requirements/dev.txt -o requirements/bench.txt --upgrade
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group evaluation -c requirements/dev.txt -o requirements/evaluation.txt --upgrade
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group people -o requirements/people.txt --upgrade
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		-c requirements/dev.txt requirements/clients.in -o requirements/clients.txt --upgrade
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		-c requirements/dev.txt requirements/sdks.in -o requirements/sdks.txt --upgrade
	for peer in peers feast node; do \
		uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
			requirements/$$peer.in -o requirements/$$peer.txt --upgrade; \
	done

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
