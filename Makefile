# Python 3.11 or later, make and a network to the package index are all that this file needs (see README.md).

PYTHON ?= python3
# More words for pytest: make test ARGS="-k webhook -x"
ARGS ?=
# Processes that the tests run in.
JOBS ?= 2

PIP := .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input
RUN := .venv/bin/python
ON := .venv/bin/python .ci/on.py

export PIP_ROOT_USER_ACTION := ignore
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV
ifeq ($(strip $(HOME)),)
export PIP_NO_CACHE_DIR := 1
endif

.DELETE_ON_ERROR:
.PHONY: help demo run test test-mysql test-browser screenshots experiments chaos bench coverage lint format up down image-test clean

help:
	@echo "make demo        see it work: everything embedded, real alarms become paper orders (ONCE=1: then stop)"
	@echo "make run         the same processes, without the demo's data, from .env"
	@echo "make test        the test suite on SQLite and the embedded broker"
	@echo "make test-mysql  the same, and the tests of real servers, on MySQL and Redis"
	@echo "make test-browser  the back office in Debian's Chromium, at desk and phone width, in both languages"
	@echo "make screenshots take every page's picture, at desk and phone width, in both languages, for the README"
	@echo "make chaos       everything dies at random while alarms arrive; no order may be doubled or lost (SHORT=1)"
	@echo "make bench       every goal of docs/performance.md beside its floor, at size, in about 25 minutes (SHARE=0.01)"
	@echo "make lint        formatter, linter, words of both languages, types, import rule, migrations, check --deploy"
	@echo "make up, down    docker compose: Caddy, MySQL, Redis, web, worker, beat, backups (docs/deploy.md)"
	@echo "make image-test  the Dockerfile's steps in a bare Debian tree, as root, in some minutes"

demo: .venv/.runtime
	@PELUSA_STOP_WITH_PARENT=1 exec $(RUN) manage.py demo $(if $(filter-out 0,$(ONCE)),--once)

run: .venv/.runtime
	@PELUSA_STOP_WITH_PARENT=1 exec $(RUN) manage.py run

test: .venv/.dev
	@$(ON) embedded $(RUN) -m pytest -n $(JOBS) $(ARGS)

# This -m takes the tests of real servers in again.
test-mysql: .venv/.dev .venv/.mysql
	@$(ON) servers $(RUN) -m pytest -n $(JOBS) -m "not browser" $(ARGS)

test-browser: .venv/.dev
	@$(ON) embedded $(RUN) -m pytest -m browser pelusa/tests/browser $(ARGS)

# Into docs/screenshots/: every page with a day's data, at both widths and in both languages
screenshots: .venv/.dev
	@$(ON) embedded $(RUN) -m pelusa.tests.browser.screenshots

experiments: .venv/.dev .venv/.mysql
	@$(ON) servers $(RUN) -m pytest -m "" pelusa/tests/experiments $(ARGS)

# SEED=N repeats a run; SHORT=1 takes under five minutes.
chaos: .venv/.runtime .venv/.mysql
	@$(ON) embedded $(RUN) -m bench.chaos $(if $(filter-out 0,$(SHORT)),--alarms 300) $(if $(SEED),--seed $(SEED))

# SHARE of the full size, SECONDS a round at 50 alarms/s, ONLY some parts: make bench SHARE=0.01 SECONDS=6 ONLY="pages"
bench: .venv/.runtime .venv/.mysql
	@$(ON) embedded $(RUN) -m bench.run $(if $(SHARE),--share $(SHARE)) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(ONLY),--only $(ONLY))

coverage: .venv/.dev
	@$(RUN) -m coverage erase
	@$(ON) embedded $(RUN) -m coverage run -m pytest $(ARGS)
	@$(RUN) -m coverage combine --quiet
	@$(RUN) -m coverage report

lint: .venv/.dev
	$(RUN) -m ruff format --check . .ci
	$(RUN) -m ruff check . .ci
	$(RUN) .ci/words.py
	$(ON) embedded $(RUN) -m mypy
	$(RUN) -c "from importlinter.cli import lint_imports_command; lint_imports_command()" --no-cache
	$(ON) embedded $(RUN) manage.py makemigrations --check --dry-run
	$(ON) production $(RUN) manage.py check --deploy --fail-level WARNING

format: .venv/.dev
	$(RUN) -m ruff check --fix-only . .ci
	$(RUN) -m ruff format . .ci

up: .env
	docker compose up --build --detach --wait

down:
	docker compose down

image-test:
	@$(PYTHON) .ci/image.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.*

.env:
	@umask 077 && $(PYTHON) -c "import re, secrets; print(re.sub('(?m)^(MYSQL_PASSWORD|BACKUP_PASSPHRASE)=$$', \
		lambda line: line[0] + secrets.token_urlsafe(24), open('.env.example').read()), end='')" > $@
	@echo "wrote .env with a new database password and a passphrase for backups: keep a copy of it apart"

# What follows installs. A stamp is written last, so that an interrupted installation is taken up again.

.venv/.created:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
		|| { echo "Pelusa needs Python 3.11 or later: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@rm -rf .venv
	@$(PYTHON) -m venv .venv || { rm -rf .venv; $(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --quiet \
		--python .venv/bin/python install pip; } || { rm -rf .venv; \
		echo "cannot make a virtual environment: install python3-venv" >&2; exit 1; }
	@touch $@

.venv/.runtime: requirements.txt .venv/.created
	@echo "installing the dependencies, this takes about a minute ..."
	@grep -v "^mysqlclient" requirements.txt > .venv/requirements.txt
	@$(PIP) install -r .venv/requirements.txt
	@touch $@

.venv/.dev: requirements-dev.txt .venv/.runtime
	@echo "installing the development tools ..."
	@$(PIP) install -r .venv/requirements.txt -r requirements-dev.txt
	@touch $@

# Not stamped when it fails: the next `make` tries again, since the compiler may be there by then.
.venv/.mysql: .venv/.runtime
	@if $(PIP) install $$(sed -n "s/^\(mysqlclient==[^ ]*\).*/\1/p" requirements.txt); then touch $@; else \
		echo "mysqlclient does not build here (it needs gcc, pkg-config and libmariadb-dev): PyMySQL takes its place" >&2; fi
