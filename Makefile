# What people do with Stele. Everything works offline once `make tools` has run.

GO      ?= go
BIN     ?= bin/stele
TOOLS   := $(CURDIR)/.tools
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 10s

.DEFAULT_GOAL := help
.PHONY: help run build test tools bench fuzz lint wasm clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t12

run: wasm ## start Stele with everything embedded, on example data, at http://127.0.0.1:8080
	$(GO) run ./server/cmd/stele demo

build: wasm ## build the one program into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN) ./server/cmd/stele

test: ## all tests, with the race detector, on real PostgreSQL, MinIO and Chromium
	$(GO) test -race ./...

tools: ## install what the tests need; run it once per machine
	deploy/install-test-tools.sh

bench: ## run the benchmarks; numbers mean something on a quiet machine only
	$(GO) test -run '^$$' -bench . -benchmem ./...

fuzz: ## fuzz every parser for FUZZTIME (10s)
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package; \
	  done; done

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  test -z "$$unformatted" || { echo "run gofmt on:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	@test -x $(TOOLS)/staticcheck || { echo "staticcheck is missing: run make tools"; exit 1; }
	$(TOOLS)/staticcheck ./...

wasm: ## build the browser's verifier, if this checkout has it
	@if [ -d ui/wasm ]; then \
	  mkdir -p ui/static && \
	  GOOS=js GOARCH=wasm $(GO) build -trimpath -ldflags '-s -w' -o ui/static/stele-verify.wasm ./ui/wasm && \
	  cp "$$($(GO) env GOROOT)/lib/wasm/wasm_exec.js" ui/static/; \
	fi

clean: ## remove what was built, not data and not tools
	rm -rf bin dist
