# Targets, each one line of plain commands. `make` alone lists them.
FUZZTIME ?= 30s
CHECKS   ?= ../shared/checks
ROUNDS   ?= 200
IMAGES   ?= 20000
GO       ?= go
UNIT      = $(shell $(GO) list ./... | grep -v /integration$$)

.PHONY: metamorphic faults check-long help build setup test unit race fuzz vectors integration bench vet demo demo-minio judges judges-long judges-record programs crash clean

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

judges: build ## what others wrote to judge file systems, on a real MinIO; with the ready-made ones in CHECKS=../shared/checks
	scripts/judges $(wildcard $(CHECKS))

judges-long: build ## the same for hours (SUITES=fsx,fsstress,... chooses)
	QUICK= ROUNDS=$(ROUNDS) scripts/judges $(wildcard $(CHECKS))

judges-record: build ## the same, and what passes becomes what has to pass
	RECORD=1 scripts/judges $(wildcard $(CHECKS))

programs: setup ## real programs on a real MinIO; databases are killed, and the daemon, in ROUNDS=200 rounds
	HUSHFS_PROGRAM_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 4h -run 'TestPrograms$$' ./integration

crash: build ## kill -9 ROUNDS=200 times, power lost in IMAGES=20000 ways; as root with CHECKS also on ext4 and xfs
	scripts/setup test && scripts/minio
	HUSHFS_CRASH_ROUNDS=$(ROUNDS) HUSHFS_POWER_IMAGES=$(IMAGES) $(GO) test -count=1 -v -timeout 6h -run '^Test(Crash|Killed|Power)' ./integration
	scripts/powerloss $(CHECKS)

metamorphic: ## random histories against a plain model, for HUSHFS_METAMORPHIC=20m
	HUSHFS_METAMORPHIC=$${HUSHFS_METAMORPHIC:-20m} $(GO) test -count=1 -timeout 3h -run TestMetamorphic -v ./fs/volume

faults: ## every operation with every fault of the store, at each of four occurrences
	HUSHFS_FAULTS=all $(GO) test -count=1 -timeout 2h -run TestEveryOperationWithEveryFault ./fs/volume

check-long: ## many random histories, and a million files, for fsck
	HUSHFS_CHECK_ROUNDS=200 HUSHFS_CHECK_FILES=1000000 $(GO) test -count=1 -timeout 60m -v -run 'HealthyHistories|ManyFiles' ./fs/check

clean: ## lock the demo's drive; remove bin/hushfs and ./demo
	scripts/demo clean
	rm -f bin/hushfs
