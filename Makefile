# make test     lint, types, floors, and every test (installs what is missing)
# make test-quick    the unit tests, with few examples of Hypothesis: for while one works
#               (`make test ARGS=--hypothesis-profile=night` tries twenty times as many as usual)
# make test-osbs CLIENT=FOLDER    the tests of OSBS against the real osbs-client, whose source is there
# make demo     the demonstration on this machine; ARGS="..." are handed to `rebuilder demo`
# make bench    the benchmarks
# make chaos    faults on real processes and servers for 20 minutes (MINUTES=…), and their table in docs/faults.md
# make soak     30 minutes (MINUTES=…) of work on PostgreSQL and SQLite: what grows, and how slow answers are
# make mutations  faults that are made on purpose, each of which a test must see (ARGS="words of some")
# make coverage    which lines and branches the tests reach, in all of their processes (ARGS="files"; a page in htmlcov/)
# make fuzz     100,000 made-up messages (MESSAGES=…) through the consumer and replay, on both databases
# make shape    how dense the code is, and how many rooms a change touches (ARGS="FOLDER…": of other projects beside)
# make docs     write docs/messages.md anew from the classes of the messages
# make site     the documents as a web site in site/, with a reference made from the code; a warning is an error
# make screenshot    the picture in the README, from a real run
# make release VERSION=1.2.3 [URL=https://…]    change log, manual, sdist, wheel, RPM, image and SBOM in dist/, a commit and its tag
# make empty-debian    `make demo`, pipx and `make test` in an empty Debian 12 (as root, with debootstrap), kept in ROOT=…;
#               COMMANDS="demo pipx" for some of it, ARGS=tests/unit for a part of the tests
PYTHON ?= python3
JOBS ?= 3
MESSAGES ?= 100000
ARGS ?=
ROOT ?= /var/tmp/rebuilder-debian
BIN := .venv/bin
# A file's tests run in one worker, so that what they share is made once; the long ones, which come first, begin first.
WORKERS = -n $(JOBS) --dist loadfile --no-loadscope-reorder
# Seconds, several times what the longest test takes. One that hangs fails with the stacks of its threads, and the rest
# go on.
LONGEST = 600
export PYTHON
# The tests start processes by the hundred, and each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: release empty-debian test test-quick test-osbs demo bench chaos soak mutations coverage fuzz docs shape site screenshot style lint clean bootstrap
.DEFAULT_GOAL := test

bootstrap:
	@.ci/bootstrap test

style: bootstrap
	$(BIN)/ruff check rebuilder consumers tests docs
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

lint: style
	$(BIN)/pytest -q -n 0 tests/unit/test_density.py tests/unit/test_phrases.py

test: style
	$(BIN)/pytest $(WORKERS) --timeout=$(LONGEST) --ignore=tests/benchmarks $(ARGS)

test-quick: bootstrap
	$(BIN)/pytest $(WORKERS) --hypothesis-profile=dev tests/unit $(ARGS)

# The tests of OSBS against osbs-client's own source, in an environment of their own: it needs urllib3 < 2.
test-osbs: bootstrap
	@test -n "$(CLIENT)" || { echo "usage: make test-osbs CLIENT=FOLDER (of osbs-client's source, 2.0 to 2.8)" >&2; exit 2; }
	test -x .venv-osbs/bin/pip || $(PYTHON) -m venv .venv-osbs
	.venv-osbs/bin/pip install --quiet --disable-pip-version-check "urllib3<2" --editable ".[test]" "$(CLIENT)"
	.venv-osbs/bin/pytest -n $(JOBS) -k osbs tests/acceptance/test_osbs*.py tests/integration/test_builder_contract.py \
		tests/integration/test_osbs*.py $(ARGS)

bench: bootstrap
	$(BIN)/pytest -s -n 0 tests/benchmarks $(ARGS)

chaos: bootstrap
	PYTHONPATH=.:tests $(BIN)/python -m chaos --minutes $(or $(MINUTES),20) --page docs/faults.md $(ARGS)

soak: bootstrap
	PYTHONPATH=.:tests $(BIN)/python -m chaos.soak --minutes $(or $(MINUTES),30) $(ARGS)

mutations: bootstrap
	PYTHONPATH=.:tests $(BIN)/python -m mutations $(ARGS)

coverage: bootstrap
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(WORKERS) --timeout=$$((3 * $(LONGEST))) $(or $(ARGS),--ignore=tests/benchmarks)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report --skip-covered --skip-empty

fuzz: bootstrap
	REBUILDER_FUZZED=$(MESSAGES) $(BIN)/pytest -rP -n 0 tests/integration/test_fuzz_messages.py $(ARGS)

shape: bootstrap
	PYTHONPATH=.:tests $(BIN)/python -m shape $(ARGS)

docs: bootstrap
	PYTHONPATH=.:tests $(BIN)/python tests/messages_page.py

site: bootstrap
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

screenshot: bootstrap
	PYTHONPATH=tests $(BIN)/python docs/screenshot.py

release: bootstrap
	@.ci/release "$(VERSION)" "$(URL)"

empty-debian:
	ARGS="$(ARGS)" .ci/empty-debian "$(ROOT)" $(COMMANDS)

demo:
	@.ci/bootstrap demo
	$(BIN)/rebuilder demo $(ARGS)

clean:
	rm -rf .venv .venv-osbs build dist htmlcov .coverage* *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
