# The contents page: `make help` prints the lines with two hashes.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

STATE  ?= .berth
LISTEN ?= 127.0.0.1:8080
LIB    := bin/libexec

# gin without its MessagePack, which nobody here speaks and which is a sixth of the
# work of a first build.
TAGS   := nomsgpack
# A compiler that collects its garbage half as often is a tenth faster, and needs
# 935 MB for the largest package instead of 767.
BUILD  := GOGC=200 CGO_ENABLED=0 go build -trimpath -tags $(TAGS) -ldflags '-s -w'

.PHONY: help
help: ## say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: deps ## build bin/berth and what it stands on (GVISOR=1: and gVisor)
	@mkdir -p $(LIB)
	@$(BUILD) -o bin/ ./cmd/berth ./cmd/berth-proof
	@$(BUILD) -o $(LIB)/ ./cmd/berth-log ./cmd/berth-init ./cmd/berth-hangup ./cmd/berth-runsc ./cmd/containerd-shim-berth-v2 ./examples/demo

.PHONY: deps
deps: check-go ## build the pinned containerd, runc and CNI plugins, once
	@deps/build $(LIB)
	@if [ "$(GVISOR)" = 1 ]; then deps/build-gvisor $(LIB); fi

.PHONY: check-go
check-go:
	@deps/check-go

.PHONY: up
up: check-root build ## start Berth in the background and run the sample task
	@bin/berth up --state-dir $(STATE) --listen $(LISTEN)

.PHONY: down
down: ## stop everything and leave nothing behind
	@if [ -x bin/berth ]; then bin/berth down --state-dir $(STATE); else echo "nothing is built, so nothing runs"; fi

.PHONY: check-root
check-root:
	@[ "$$(id -u)" = 0 ] || { echo "Berth makes namespaces, mounts and cgroups: run this as root (sudo env PATH=\"\$$PATH\" make $(MAKECMDGOALS))" >&2; exit 1; }

.PHONY: test
test: check-root build test-unit test-e2e test-clients test-cgroup2 ## every test, the real-containerd ones included

.PHONY: test-unit
test-unit: check-go ## what needs no root: units, properties, simulation, house rules
	go vet -tags $(TAGS) ./...
	go test -tags $(TAGS) ./...

.PHONY: test-e2e
test-e2e: check-root build ## real containerd, the built binary, kill -9
	go vet -tags $(TAGS),e2e ./...
	for module in tests/otel tests/sdk; do (cd $$module && go vet ./...); done
	go test -tags $(TAGS),e2e -count=1 -timeout 30m -p 1 $$(grep -rl --include='*_test.go' '^//go:build e2e' . | xargs -n 1 dirname | sort -u)

.PHONY: test-clients
test-clients: check-root build ## AWS's own clients: command line, SDKs, Terraform, and all that the service models allow
	tests/clients/install bin/clients
	cd tests/clients/go && go vet ./...
	go vet -tags $(TAGS),clients ./tests/clients
	go test -tags $(TAGS),clients -count=1 -timeout 15m ./tests/clients

.PHONY: test-terraform
test-terraform: check-root build ## a Terraform or OpenTofu of your own: TERRAFORM=program PLUGINS=folder of its provider for AWS
	go test -tags $(TAGS),clients,terraform -count=1 -timeout 15m -run TestTerraformToday -v ./tests/clients -terraform "$(abspath $(TERRAFORM))" -plugins "$(abspath $(PLUGINS))"

.PHONY: test-cgroup2
test-cgroup2: check-root build ## the isolation suite on cgroup v2, in a small guest
	tests/cgroup2/run

.PHONY: test-compose
test-compose: check-root check-go ## the Dockerfile and docker-compose.yml, under a Docker Engine of the test's own
	tests/compose/run

.PHONY: bench
bench: check-root build ## against bare runc and ctr, in one interleaved run
	go run -tags $(TAGS) ./tests/bench
	go test -tags $(TAGS),e2e -count=1 -timeout 20m -run '^$$' -bench Neighbour -benchtime 1x -v ./tests/escape
	go test -tags $(TAGS),e2e -count=1 -run '^$$' -bench Sampling -benchtime 1x ./tests/metering

.PHONY: bench-ledger
bench-ledger: check-go ## posting, verifying and asking a ledger, the last of 10 million rows: 5 minutes, 5 GB of disk
	go test -tags $(TAGS) -count=1 -run '^$$' -bench 'Post/batch=100$$' -benchtime 900x ./store
	go test -tags $(TAGS) -count=1 -run '^$$' -bench 'Post/batch=100$$' -benchtime 9000x ./store
	go test -tags $(TAGS) -count=1 -run '^$$' -bench VerifyLedger -benchtime 20x ./store
	go test -tags $(TAGS) -count=1 -run '^$$' -bench VerifyLedger -benchtime 3x ./store -verify-entries 1000000
	go test -tags $(TAGS) -count=1 -timeout 30m -run '^$$' -bench 'Costs$$' -benchtime 20x ./store
	go test -tags $(TAGS) -count=1 -run '^$$' -bench 'CSV|Parquet' -benchtime 300000x ./billing/focus
	go test -tags $(TAGS) -count=1 -timeout 30m -run '^$$' -bench 'CSV|Parquet' -benchtime 10000000x ./billing/focus

.PHONY: fuzz
fuzz: check-go ## two minutes on the decoder and the validator, half a minute on environment files and on price lists
	go test ./task -run '^$$' -fuzz FuzzParseDefinition -fuzztime 2m
	go test ./secret -run '^$$' -fuzz FuzzParseEnvironmentFile -fuzztime 30s
	go test ./billing/prices -run '^$$' -fuzz FuzzImport -fuzztime 30s

.PHONY: lint
lint: check-go ## formatting and vet
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not gofmt'd:"; echo "$$bad"; exit 1; }
	go vet -tags $(TAGS) ./...
	go vet -tags $(TAGS),e2e ./...

.PHONY: clean
clean: down ## stop everything and remove what was built
	rm -rf bin
