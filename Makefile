# What people do with Stele. `make run` needs Go only; `make test` installs the rest.

GO       ?= go
TOOLS    := $(CURDIR)/.tools
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
DATA     ?= ./data
LISTEN   ?= 127.0.0.1:8080
FUZZTIME ?= 50000x

# End-to-end tests run the real program, so the race detector would watch the wrong process; and
# the console's sign in at every turn, which under the detector takes seconds a password (its
# parts, package people among them, are watched). Stamping, certificates, evidence packages and
# their verifiers compute in one goroutine and share nothing; the public page's tests wait for
# browsers, and what it stands on is watched in the API's tests; proofs and fsck are computed in
# one goroutine as well. They run without it, in full;
# everything else runs with it.
E2E := stele/server/cmd/stele stele/server/console stele/server/web \
	stele/notary/stamp stele/notary/certificate stele/notary/evidence stele/notary/verifier stele/notary/proof stele/notary/fsck

.DEFAULT_GOAL := help
.PHONY: help run build generate test race e2e drill schemathesis tools bench fuzz lint vuln sbom vectors clean

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
	$(GO) test -timeout 70m $(E2E)
	$(GO) test ./notary/bulk -run '^TestBombs$$'

drill: tools generate ## an operator's day of accidents on real servers; nothing that was answered may be lost (part of test)
	$(GO) test ./server/cmd/stele -run '^TestDrill$$' -v -timeout 20m

schemathesis: tools ## call everything in the API's description with what it allows and what it does not (part of test)
	$(GO) test ./server/cmd/stele -run '^TestSchemathesis$$' -v

tools: ## install what the tests need: PostgreSQL, S3 servers, OpenSSL, nginx, HAProxy, Chromium, Firefox, staticcheck, Schemathesis and more
	@deploy/install-test-tools.sh

bench: build ## measure this machine, the program on it with SQLite and PostgreSQL, and the browser's verifier
	deploy/with-postgres.sh bin/stele bench
	$(GO) test ./server/web -run '^$$' -bench Browser -benchtime 1x

# Inputs are counted, not seconds: a fuzz worker that is interrupted by the clock can report its
# own deadline as a failure.
fuzz: ## fuzz every parser with FUZZTIME inputs (50000x; 10s is a time)
	@set -e; mkdir -p bin/fuzz; \
	for folder in $$(git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -l '^func Fuzz' | xargs -n1 dirname | sort -u); do \
	  $(GO) test -c -fuzz . -o bin/fuzz/run ./$$folder; \
	  for target in $$(cat $$folder/*_test.go | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do \
	    echo "$$folder $$target"; \
	    (cd $$folder && $(CURDIR)/bin/fuzz/run -test.run '^$$' -test.fuzz "^$$target$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 1x \
	      -test.fuzzcachedir "$$($(GO) env GOCACHE)/fuzz/$(notdir $(CURDIR))/$$folder" -test.timeout 10m); \
	  done; \
	done

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  test -z "$$unformatted" || { echo "run gofmt on:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	GOOS=js GOARCH=wasm $(GO) vet ./ui/wasm/... ./ui/scan/... ./notary/proof ./notary/proof/exhibit ./notary/proof/carrier ./notary/proof/trustfile
	@test -x $(TOOLS)/staticcheck || { echo "staticcheck is missing: run make tools"; exit 1; }
	$(TOOLS)/staticcheck ./...

vuln: tools ## look for known weaknesses with govulncheck; says so where its database does not answer
	@deploy/vuln.sh ./...

sbom: tools build ## write the bills of materials of both programs into bin/ (CycloneDX)
	deploy/sbom.sh bin

clean: ## remove what was built, not data and not tools
	rm -rf bin ui/static/gen/*
