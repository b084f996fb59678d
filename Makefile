# Targets, each one line of plain commands. `make` alone lists them.
FUZZTIME ?= 30s
CHECKS   ?= ../shared/checks
ROUNDS   ?= 200
IMAGES   ?= 20000
WORLDS   ?= 300
BACKLOG  ?= 500000
GO       ?= go
UNIT      = $(shell $(GO) list ./... | grep -v /integration)

.PHONY: backlog flips worlds rounds dead bench-machines histories adversary metamorphic faults withheld check-long help build setup test unit race fuzz vectors integration bench vet demo demo-minio judges judges-long judges-record programs crash clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 14

build: ## bin/hushfs
	$(GO) build -trimpath -o bin/hushfs ./cmd/hushfs

setup: ## install what the tests need; as root, make /dev/fuse usable for ordinary users
	scripts/setup test
	scripts/minio

test: setup vet unit integration ## everything: what is missing is installed, or it fails

unit: ## all packages without FUSE or network
	$(GO) test -timeout 60m $(UNIT)

race: ## the same under the race detector (needs a C compiler)
	scripts/setup race && CGO_ENABLED=1 $(GO) test -race -timeout 3h $(UNIT)

fuzz: ## every fuzz target for FUZZTIME=30s
	scripts/fuzz $(FUZZTIME)

vectors: ## write test vectors that are missing; existing ones are never changed
	HUSHFS_WRITE_VECTORS=1 $(GO) test -count=1 -run 'Vector' $(UNIT)

integration: ## through the real kernel; needs /dev/fuse and fusermount3
	$(GO) test -count=1 -timeout 45m ./integration/...

bench: ## all benchmarks
	$(GO) test -run '^$$' -bench . -benchmem $(UNIT)

bench-machines: ## commits a second and staleness with 1 to 16 machines, on a real MinIO
	scripts/minio
	$(GO) test -run '^$$' -bench Machines -benchtime 1x -timeout 30m ./integration/machines

histories: ## what three machines see of each other, for HUSHFS_HISTORY=10m, under faults
	scripts/minio
	HUSHFS_HISTORY=$${HUSHFS_HISTORY:-10m} $(GO) test -count=1 -v -timeout 2h -run 'TestPrefixOfOneOrder|TestLinear' ./integration ./integration/linear

worlds: ## several machines at random, WORLDS=300 with journals in process, a tenth of them with mounts on a real MinIO
	scripts/minio
	HUSHFS_WORLDS=$$(( $(WORLDS) * 100 )) $(GO) test -count=1 -timeout 4h -run 'TestFleet' ./fs/view
	HUSHFS_WORLDS=$(WORLDS) $(GO) test -count=1 -timeout 4h -run 'TestWorlds' ./fs/volume
	HUSHFS_CACHES=$(WORLDS) $(GO) test -count=1 -timeout 4h -run 'TestCachesOfWhatIsOpen' ./fs/volume
	HUSHFS_MACHINE_WORLDS=$$(( $(WORLDS) / 10 )) $(GO) test -count=1 -timeout 4h -v -run 'TestThreeMachines' ./integration

backlog: ## a machine comes back with BACKLOG=500000 operations, 3.6 GiB; killed in it; needs 15 GiB of disk
	scripts/minio
	HUSHFS_BACKLOG=$(BACKLOG) $(GO) test -count=1 -timeout 2h -v -run 'TestBacklog$$' ./integration

rounds: ## two machines for 1,000 rounds, killed, their clocks set to and fro: no false alarm
	HUSHFS_ROUNDS=$${HUSHFS_ROUNDS:-1000} $(GO) test -count=1 -timeout 2h -v -run 'TestNoFalseAlarm' ./fs/volume

dead: ## a million slots of junk: who is there, who comes back, who is new, fold, log, trimming, fsck, audit
	HUSHFS_DEAD=$${HUSHFS_DEAD:-1000000} $(GO) test -count=1 -timeout 2h -v -run 'TestHundredThousandDeadSlots$$' ./fs/volume
	HUSHFS_DEAD=$${HUSHFS_DEAD:-1000000} $(GO) test -count=1 -timeout 2h -v -run 'TestCrowdOfDeadSlots$$' ./fs/check

flips: ## every byte of a killed cache's folder changed, one at a time; half an hour with TMPDIR on tmpfs
	HUSHFS_FLIPS=all $(GO) test -count=1 -v -timeout 6h -run 'TestEveryByteFlipped$$' ./cache

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

withheld: ## what is written late to what another machine has leased or locked: all cases
	HUSHFS_WITHHELD=all $(GO) test -count=1 -timeout 30m -run 'Withheld' ./fs/volume

adversary: ## a store that deceives: ROUNDS=200 attacks in process, and MOUNTS=60 on two real mounts (HUSHFS_ADVERSARY_SEED repeats one)
	HUSHFS_ADVERSARY_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 6h -run '^Test(Attacks|Random)$$' -v ./integration/adversary
	HUSHFS_ADVERSARY_MOUNTS=$${MOUNTS:-60} $(GO) test -count=1 -timeout 6h -run '^TestAdversary$$' -v ./integration

check-long: ## many random histories, and a million files, for fsck
	HUSHFS_CHECK_ROUNDS=200 HUSHFS_CHECK_FILES=1000000 $(GO) test -count=1 -timeout 60m -v -run 'HealthyHistories|ManyFiles' ./fs/check

clean: ## lock the demo's drive; remove bin/hushfs and ./demo
	scripts/demo clean
	rm -f bin/hushfs
