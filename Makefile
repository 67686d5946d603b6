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

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.synced ## install what is missing: uv, the locked environment, Docker
	@docker/ensure-engine

.venv/.synced: pyproject.toml uv.lock
	@uv=$$(docker/ensure-uv); "$$uv" sync --frozen --quiet; touch $@

image: setup ## build the image that the stages run in
	@$(PYTHON) -m reprise.image

check: .venv/.synced ## format, lint, types, locks, schema, no data or secrets: what a commit is checked for
	@.venv/bin/pre-commit run --all-files

test-unit: .venv/.synced ## the fast tests, under a minute
	@.venv/bin/python -m pytest tests/unit

test-pipeline: setup ## the stages for real on tiny data, in the stage image
	@docker/repro python -m pytest tests/pipeline -p no:cacheprovider

test-system: image ## Airflow, Docker, DVC and MLflow together
	@.venv/bin/python -m pytest tests/system

test-long: image ## the tests that take longer
	@docker/repro python -m pytest tests/pipeline -p no:cacheprovider -m long || [ $$? = 5 ]
	@.venv/bin/python -m pytest tests/unit tests/system -m long

test: check test-unit test-pipeline test-system ## all of the above but test-long

.PHONY: help setup image check test-unit test-pipeline test-system test-long test
