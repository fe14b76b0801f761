# What people do with Stele. `make run` needs Go only; `make test` installs the rest.

GO       ?= go
TOOLS    := $(CURDIR)/.tools
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
DATA     ?= ./data
LISTEN   ?= 127.0.0.1:8080
FUZZTIME ?= 10s

# End-to-end tests run the real program, so the race detector would watch the wrong process; and
# the console's sign in at every turn, which under the detector takes seconds a password (its
# parts, package people among them, are watched). They run without it, in full; everything else
# runs with it.
E2E := stele/server/cmd/stele stele/server/console

.DEFAULT_GOAL := help
.PHONY: help run build generate test race e2e tools bench fuzz lint vectors clean

help: ## this list
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t12

run: build ## build everything, make a demo instance in ./data if there is none, serve it
	bin/stele demo --data $(DATA) --listen $(LISTEN)

build: generate ## build the programs into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./server/cmd/stele ./notary/cmd/stele-verify

generate: ## build what the program embeds: the browser's verifier
	@$(GO) generate ./ui

test: tools generate race e2e ## install what the tests need, and run them all

race:
	$(GO) test -race -timeout 20m $$($(GO) list ./... | grep -vxF $(E2E:%=-e %))

e2e:
	$(GO) test -timeout 25m $(E2E)

tools: ## install what the tests need: PostgreSQL, MinIO, OpenSSL, Chromium, staticcheck
	@deploy/install-test-tools.sh

bench: build ## measure this machine, the program on it with SQLite and PostgreSQL, and the browser's verifier
	deploy/with-postgres.sh bin/stele bench
	$(GO) test ./server/web -run '^$$' -bench Browser -benchtime 1x

fuzz: ## fuzz every parser for FUZZTIME (10s)
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$package; \
	  done; done

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  test -z "$$unformatted" || { echo "run gofmt on:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	GOOS=js GOARCH=wasm $(GO) vet ./ui/wasm/... ./ui/scan/... ./notary/proof ./notary/proof/exhibit ./notary/proof/carrier
	@test -x $(TOOLS)/staticcheck || { echo "staticcheck is missing: run make tools"; exit 1; }
	$(TOOLS)/staticcheck ./...

clean: ## remove what was built, not data and not tools
	rm -rf bin ui/static/gen/*
