# Every target sets up its own .venv on first use. Needs Python 3.11 or newer, pip and make; PYTHON=... picks another one.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: run test security chaos bench soak lint format constraints

run: $(STAMP)
	@rm -rf var/demo
	@$(BIN)/optimizer demo
	@$(BIN)/optimizer serve --config configs/demo.yaml

# On two cores; the tests of a file are run by one process, in their order.
test: lint
	$(BIN)/pytest -n 2 --dist loadfile

# Takes five minutes; its short form is a part of the tests.
security: $(STAMP)
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml optimizer api simulator
	$(BIN)/python -m tests.security.advisories
	$(BIN)/python -m tests.security.schema

# Takes fifteen minutes; its short form is a part of the tests. SECONDS_EACH=... is how long each fault lasts.
chaos: $(STAMP)
	@for fault in kills outage cuts full_disk clock_back dispatch; do \
		$(BIN)/python -m tests.chaos.$$fault $(if $(SECONDS_EACH),--seconds $(SECONDS_EACH)) || exit 1; done

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# Mixed load on real processes, half of the time on PostgreSQL and half on SQLite: make soak MINUTES=10
soak: MINUTES ?= 10
soak: $(STAMP)
	$(BIN)/python -m benchmarks.soak $(MINUTES)

lint: $(STAMP)
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python $(BIN)/python install -qq --disable-pip-version-check --require-hashes -r constraints.txt
	$(PYTHON) -m pip --python $(BIN)/python install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Pins the newest releases that fit pyproject.toml. The file holds names, versions and hashes, and no index.
constraints: $(STAMP)
	$(PYTHON) -m venv --without-pip .venv/pin
	$(PYTHON) -m pip --python .venv/pin/bin/python install -qq pip-tools
	.venv/pin/bin/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --extra dev --build-deps-for editable \
		--output-file constraints.txt pyproject.toml
