# Everything that people and machines run here. `make test` is what CI runs.
GO ?= go
VENV ?= .venv
# go vet and the tests are pinned by go.mod; the linter by this line.
GOLANGCI = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2
PLATFORMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: test build vet cross generate lint bench bench-deps golden

test: vet cross ## All that must hold before a change lands.
	$(GO) test -timeout 25m ./...

build: ## Both commands into bin/.
	$(GO) build -o bin/ ./cmd/coordinator ./cmd/worker

vet: ## Formatting and go vet.
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt: $$unformatted"; exit 1; fi
	$(GO) vet ./...

cross: ## The default build is pure Go: it compiles for every platform.
	@for p in $(PLATFORMS); do echo "build $$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/coordinator && CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/worker || exit 1; done

generate: ## Assembly anew from its generator.
	$(GO) generate ./model/kernel

lint: ## The linter of .golangci.yml; each rule there has its reason.
	$(GO) run $(GOLANGCI) run

bench-deps: ## Python with the peer's packages, for the benchmarks that compare.
	python3 -m venv $(VENV) && $(VENV)/bin/pip install -q torch diffusers transformers

bench: ## Time the engine.
	$(GO) test -run '^$$' -bench . -benchtime 1x ./model/...
