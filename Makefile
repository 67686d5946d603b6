# `make help` lists what there is; a line is the comment behind its target.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Trust what the host trusts: uv and pip come with certificates of their own.
SSL_CERT_FILE ?= $(wildcard /etc/ssl/certs/ca-certificates.crt)
PIP_CERT ?= $(SSL_CERT_FILE)
ifneq ($(SSL_CERT_FILE),)
export SSL_CERT_FILE PIP_CERT
endif

PYTHON := PYTHONPATH=plugins .venv/bin/python
REPRISE := $(PYTHON) -m reprise
ASKED = $(if $(PIPELINE),--pipeline "$(PIPELINE)") $(if $(PARAMS),--params '$(PARAMS)') $(if $(REVISION),--revision "$(REVISION)") \
    $(if $(AS_OF),--as-of "$(AS_OF)") $(if $(ARRIVED),--arrived "$(ARRIVED)") $(if $(IGNORE_CACHE),--ignore-cache)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.synced ## install what is missing: uv, the locked environment, Docker
	@docker/ensure-engine

.venv/.synced: pyproject.toml uv.lock
	@uv=$$(docker/ensure-uv); "$$uv" sync --frozen --quiet; touch $@

demo: image ## one finished, recorded run on synthetic photographs, or on INBOX=PLACE; PARAMS and the rest as of run
	@$(if $(INBOX),,$(MAKE) --no-print-directory photos)
	@$(REPRISE) run --inbox "$(or $(INBOX),var/inbox/synthetic)" $(ASKED)

photos: .venv/.synced ## fill an inbox with invented people: PEOPLE=60 PHOTOS=18 DATES=4 FIRST_DATE=2026-11-01 SEED=1 DIFFICULTY=0.5 OUT=FOLDER
	@$(PYTHON) pipelines/faces/synthetic --people $(or $(PEOPLE),60) --photos $(or $(PHOTOS),18) --dates $(or $(DATES),4) \
	    --first-date $(or $(FIRST_DATE),2026-11-01) --seed $(or $(SEED),1) --difficulty $(or $(DIFFICULTY),0.5) --out "$(or $(OUT),var/inbox/synthetic)"

lfw: .venv/.synced ## fill an inbox with Labeled Faces in the Wild: DATES=4 FIRST_DATE=2026-11-01 MIN_PHOTOS=2 OUT=FOLDER URL=MIRROR
	@$(PYTHON) pipelines/faces/lfw --dates $(or $(DATES),4) --min-photos $(or $(MIN_PHOTOS),2) \
	    --first-date $(or $(FIRST_DATE),2026-11-01) --out "$(or $(OUT),var/inbox/lfw)" $(if $(URL),--url "$(URL)")

up: setup ## start Airflow and MLflow on this machine
	@$(REPRISE) up

down: ## stop them
	@$(REPRISE) down

run: image ## trigger a run and follow it: PARAMS="train.epochs=5" INBOX=PLACE REVISION=REF AS_OF=DATE ARRIVED=DATE PIPELINE=FOLDER
	@$(REPRISE) run $(if $(INBOX),--inbox "$(INBOX)") $(ASKED)

backfill: image ## run past dates, each on what had arrived by its end: FROM=DATE TO=DATE DRY=1 AGAIN=failed PARALLEL=2 BACKWARD=1 REVISION=REF PARAMS= INBOX=
	@$(REPRISE) backfill --from "$(FROM)" --to "$(TO)" $(if $(PIPELINE),--pipeline "$(PIPELINE)") $(if $(DRY),--dry-run) \
	    $(if $(AGAIN),--again "$(AGAIN)") $(if $(PARALLEL),--parallel "$(PARALLEL)") $(if $(BACKWARD),--backward) \
	    $(if $(PARAMS),--params '$(PARAMS)') $(if $(INBOX),--inbox "$(INBOX)") $(if $(REVISION),--revision "$(REVISION)")

history: ## the learning curve of the data: a row a date, and a plot: METRICS=auc,verification_accuracy PIPELINE=FOLDER
	@$(REPRISE) history --metrics "$(METRICS)" $(if $(PIPELINE),--pipeline "$(PIPELINE)")

airflow: setup ## Airflow's own commands, as the services are set up: ARGS="backfill create --dag-id faces --from-date … --to-date …"
	@$(REPRISE) airflow $(ARGS)

clean: ## remove containers that lost tasks left behind; make up does so too
	@$(REPRISE) clean

status: ## services and the latest runs
	@$(REPRISE) status

logs: ## the end of the services' logs, or of one: SERVICE=scheduler
	@$(REPRISE) logs $(SERVICE)

compare: .venv/.synced ## what differs between recorded runs: RUNS="RUN OTHER …"
	@$(REPRISE) compare $(RUNS)

tensorboard: .venv/.synced ## show the runs' live curves in TensorBoard until Ctrl-C
	@$(REPRISE) tensorboard

repro: image ## the pipeline by plain `dvc repro` in the stage image, without Airflow: INBOX=FOLDER PIPELINE=FOLDER
	@docker/dvc-repro "$(or $(INBOX),var/inbox/synthetic)" "$(or $(PIPELINE),pipelines/faces)"

gallery: .venv/.synced ## a page of the pictures in a partition: DATA=data/aligned/2026-11-01.parquet RUN=RUN
	@$(REPRISE) gallery "$(DATA)" $(if $(RUN),--run "$(RUN)") $(if $(PIPELINE),--pipeline "$(PIPELINE)")

datadiff: .venv/.synced ## what the data of two runs differ in, with pictures: RUNS="RUN RUN"
	@$(REPRISE) datadiff $(RUNS)

image: setup ## build the image that the stages run in
	@$(PYTHON) -m reprise.machine.image

check: .venv/.synced ## format, lint, types, locks, schema, no data or secrets: what a commit is checked for
	@.venv/bin/pre-commit run --all-files

test-unit: .venv/.synced ## the fast tests, a few minutes
	@.venv/bin/python -m pytest tests/unit -n auto

test-pipeline: setup ## the stages for real on tiny data, in the stage image
	@docker/repro python -m pytest tests/pipeline -p no:cacheprovider

test-system: image ## Airflow, Docker, DVC and MLflow together
	@command -v chromium >/dev/null || docker/apt-install chromium
	@.venv/bin/python -m pytest tests/system

test-long: image ## the tests that take longer
	@uv=$$(docker/ensure-uv); "$$uv" sync --frozen --inexact --quiet --group cluster
	@command -v redis-server >/dev/null && ls -d /usr/lib/postgresql/*/bin >/dev/null 2>&1 || docker/apt-install postgresql redis-server
	@docker/repro python -m pytest tests/pipeline -p no:cacheprovider -m long || [ $$? = 5 ]
	@.venv/bin/python -m pytest tests/unit -m long
	@.venv/bin/python -m pytest tests/system -m long

test: check test-unit test-pipeline test-system ## all of the above but test-long

.PHONY: help setup demo photos lfw up down clean run status logs compare tensorboard repro gallery datadiff image check test-unit test-pipeline test-system test-long test
