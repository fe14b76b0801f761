# What people do with Stele. `make run` needs Go only; `make test` installs the rest.

GO       ?= go
TOOLS    := $(CURDIR)/.tools
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
DATA     ?= ./data
LISTEN   ?= 127.0.0.1:8080
FUZZTIME ?= 50000x
# What fuzzing is built with: coverage guides it. Without, it needs no second build of everything.
FUZZFLAGS ?= -fuzz .

# Four kinds of tests run without the race detector, in full. Everything else runs with it.
# PROGRAMS run the real program, so the detector would watch the wrong process.
# PAGES wait for browsers, and for passwords, each of which takes the detector seconds.
# FORMATS compute in one goroutine: stamps, certificates, evidence packages, proofs and their
# verifiers; deploy builds programs. The detector finds nothing there and takes ten times as long.
# In some of their tests several goroutines do one thing: those run with it too (race-shared).
PROGRAMS := stele/server/cmd/stele
PAGES    := stele/server/http/console stele/server/http/web
FORMATS  := stele/notary/office/stamp stele/notary/issue/certificate stele/notary/issue/evidence \
	stele/notary/cmd/verifier stele/notary/proof stele/notary/proof/exhibit stele/notary/proof/carrier stele/deploy

# PLAIN have no second goroutine, neither in the code nor in a test (keystore has one, which race-shared runs).
PLAIN := $(addprefix stele/,crypto/closed crypto/keystore crypto/merkle crypto/pki crypto/seal crypto/signednote crypto/sm \
	crypto/sm/selftest crypto/vmap notary/chain/ceremony notary/issue notary/proof/anchorproof notary/proof/bsnproof \
	notary/proof/bsnproof/gateway notary/proof/canonical notary/proof/chainview notary/proof/checkpoint \
	notary/proof/statement notary/proof/status notary/proof/trustfile notary/register/mediatype storage/blob ui/build \
	ui/scan/qr ui/wasm)

# ALONE measure memory or seconds, or take much of the machine: they run when nothing else does.
ALONE := ^Test(Bombs|LargeUpload|TenThousandConnections|StopDelay|ReadinessWhileTheBucketHangs)$$

# The quick tier leaves out what is a program, a page or a build of one.
NOTQUICK := $(PROGRAMS) $(PAGES) stele/notary/chain stele/notary/cmd/verifier \
	stele/notary/issue/evidence stele/ui/build stele/ui/wasm

# Keys of tests open in a hundredth of the time (keystore.Iterations). Keystore's own tests, which are PLAIN, and
# what is shipped have no such tag.
FEW := -tags fewrounds

# Tests wait more than they compute: this many at once in one package.
PARALLEL ?= 6

.DEFAULT_GOAL := help
.PHONY: help run build generate quick test race race-all race-shared plain programs pages formats alone checks \
	drill schemathesis tools bench fuzz lint vuln sbom vectors clean

help: ## this list
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t12

run: build ## build everything, make a demo instance in ./data if there is none, serve it
	bin/stele demo --data $(DATA) --listen $(LISTEN)

build: generate ## build the programs into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./server/cmd/stele ./server/cmd/stele-lab ./notary/cmd/stele-verify

generate: ## build what the program embeds: the browser's verifier
	@$(GO) generate ./ui

quick: generate ## the quick tier: no servers, no browsers, nothing is installed
	$(GO) test -short -skip '$(ALONE)' $$($(GO) list ./... | grep -vxF $(NOTQUICK:%=-e %))

LANE := $(MAKE) --no-print-directory --keep-going

# Two lanes run beside each other and take about as long: the programs' tests mostly wait, the others
# compute. More lanes than cores would make what has a deadline late. ALSO names targets that a third lane makes out
# of the time that those two leave, as .ci/run does.
test: tools generate ## install system packages (apt-get) and .tools by make tools, and run all tests
	@deploy/lanes.sh bin/lanes 'programs=$(LANE) programs formats' 'packages=$(LANE) race pages' \
	  $(if $(ALSO),'checks=nice -n 19 $(LANE) $(ALSO)') then 'alone=$(LANE) alone'

# The detector watches this project's code and what it calls, but not what is translated from C
# (SQLite) or computes in one goroutine (gmsm): with it those take five times as long.
RACE := -race -gcflags='modernc.org/...=-race=false' -gcflags='github.com/emmansun/gmsm/...=-race=false'

race: race-all race-shared plain

race-all:
	$(GO) test $(RACE) $(FEW) -vet=off -timeout 20m $$($(GO) list ./... | grep -vxF $(patsubst %,-e %,$(PROGRAMS) $(PAGES) $(FORMATS) $(PLAIN)))

plain:
	$(GO) test -vet=off -timeout 20m $(PLAIN)

race-shared:
	$(GO) test $(RACE) $(FEW) -vet=off -timeout 20m -run '^Test(MakerAndChecker|Bulk|SameInputSameBytes|ReportIsTheSameEveryTime|CreateConcurrently)$$' \
	  ./server/http/console ./notary/issue/certificate ./notary/proof ./crypto/keystore

programs:
	$(GO) test $(FEW) -vet=off -timeout 30m -parallel $(PARALLEL) -skip '$(ALONE)' $(PROGRAMS)

pages:
	$(GO) test $(FEW) -vet=off -timeout 30m -p 1 -skip '$(ALONE)' $(PAGES)

formats:
	$(GO) test -vet=off -timeout 30m -p 1 -skip '$(ALONE)' $(FORMATS)

alone:
	$(GO) test $(FEW) -vet=off -timeout 20m -p 1 -parallel 1 -run '$(ALONE)' $(PROGRAMS) $(FORMATS) ./notary/office/bulk

checks: lint fuzz build vuln

drill: tools generate ## an operator's day of accidents on real servers; nothing that was answered may be lost (part of test)
	$(GO) test ./server/cmd/stele -run '^TestDrill$$' -v -timeout 20m

schemathesis: tools ## call everything in the API's description with what it allows and what it does not (part of test)
	$(GO) test ./server/cmd/stele -run '^TestSchemathesis$$' -v

tools: ## the one place that installs (apt-get, Go modules, .tools): PostgreSQL, S3 servers, OpenSSL, nginx, HAProxy, Java, Chromium, Firefox, staticcheck, Schemathesis and more
	@$(GO) mod download
	@deploy/install-test-tools.sh

bench: build ## measure this machine, the program on it with SQLite and PostgreSQL, and the browser's verifier
	deploy/with-postgres.sh bin/stele-lab bench
	$(GO) test ./server/http/web -run '^$$' -bench Browser -benchtime 1x

# Inputs are counted, not seconds: a fuzz worker that is interrupted by the clock can report its
# own deadline as a failure.
fuzz: ## fuzz every parser with FUZZTIME inputs (50000x; 10s is a time)
	@set -e; mkdir -p bin/fuzz; \
	for folder in $$(git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -l '^func Fuzz' | xargs -n1 dirname | sort -u); do \
	  $(GO) test -c $(FUZZFLAGS) -o bin/fuzz/run ./$$folder; \
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
