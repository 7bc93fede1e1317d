# make check is the one entry for tests and lint. It installs what tests need
# into .tools, and Redis from the system's package manager.

GO ?= go

.PHONY: check build tools lint test agents bench fuzz soak race demo clean

check: tools lint test

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/aegis-proxy ./cmd/aegis-proxy

tools:
	./scripts/tools.sh

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

test:
	$(GO) test -race -timeout 30m ./...

# agents runs every client of test/agents through every case, and writes the tables of
# docs/clients.md: a quarter of an hour.
agents: tools
	$(GO) test ./test/agents -count=1 -run TestAgents -matrix -update -parallel 4 -timeout 60m

bench: build
	$(GO) test -run '^$$' -bench . -benchmem ./audit ./budget/... ./gate ./oxdeai ./policy ./pricing ./providers/... ./proxy ./tokenizer
	$(GO) run ./internal/bench -aegis bin/aegis-proxy

# fuzz runs each fuzzer for FUZZTIME.
FUZZTIME ?= 20s
fuzz:
	@for target in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
		for name in $$(grep -hoE '^func Fuzz[A-Za-z0-9]+' $$target/*_test.go | cut -c6-); do \
			echo "$$target $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$target || exit 1; \
		done; \
	done

# soak shakes both ledgers for SOAK: clients that give up, a provider that fails,
# proxies that are killed, a wall clock that leaps.
SOAK ?= 30m
soak: tools
	$(GO) test ./test/e2e -run TestSoak -v -timeout 3h -soak $(SOAK)

# race runs each race for a budget RACE times: in each API, plain and streamed, on each
# ledger.
RACE ?= 20
race: tools
	$(GO) test ./test/e2e -run 'TestHardStop|TestBudgetIsUsedUp' -v -timeout 2h -repetitions $(RACE)

demo:
	$(GO) run ./cmd/aegis-proxy demo

clean:
	rm -rf bin .tools
