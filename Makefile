# Targets, each one line of plain commands. `make` alone lists them.
FUZZTIME ?= 30s
CHECKS   ?= ../shared/checks
GO       ?= go
UNIT      = $(shell $(GO) list ./... | grep -v /integration$$)

.PHONY: help build setup test unit race fuzz vectors integration bench vet demo demo-minio judges clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 14

build: ## bin/hushfs
	$(GO) build -trimpath -o bin/hushfs ./cmd/hushfs

setup: ## install what the tests need; as root, make /dev/fuse usable for ordinary users
	scripts/setup test
	scripts/minio

test: setup vet unit integration ## everything: what is missing is installed, or it fails

unit: ## all packages without FUSE or network
	$(GO) test $(UNIT)

race: ## the same under the race detector (needs a C compiler)
	scripts/setup race && CGO_ENABLED=1 $(GO) test -race $(UNIT)

fuzz: ## every fuzz target for FUZZTIME=30s
	scripts/fuzz $(FUZZTIME)

vectors: ## write test vectors that are missing; existing ones are never changed
	HUSHFS_WRITE_VECTORS=1 $(GO) test -count=1 -run 'Vector' $(UNIT)

integration: ## through the real kernel; needs /dev/fuse and fusermount3
	$(GO) test -count=1 -timeout 20m ./integration

bench: ## all benchmarks
	$(GO) test -run '^$$' -bench . -benchmem $(UNIT)

vet: ## gofmt, go vet, staticcheck
	@bad=$$(gofmt -l $$($(GO) list -f '{{.Dir}}' ./...)); test -z "$$bad" || { echo "not gofmted: $$bad"; exit 1; }
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

demo: ## a drive from nothing to a second machine, in ./demo
	scripts/demo

demo-minio: ## the same in a bucket: a real MinIO, which it builds and starts
	scripts/demo minio

judges: build ## the ready-made judges in CHECKS=../shared/checks, on a real MinIO
	scripts/judges $(CHECKS)

clean: ## lock the demo's drive; remove bin/hushfs and ./demo
	scripts/demo clean
	rm -f bin/hushfs
