# make check is the one entry for tests and lint. It installs what tests need
# into .tools, and Redis from the system's package manager.

GO ?= go

.PHONY: check build tools lint test bench fuzz demo clean

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

bench: build
	$(GO) test -run '^$$' -bench . -benchmem ./audit ./budget/... ./policy ./pricing ./providers ./tokenizer
	$(GO) run ./internal/bench -aegis bin/aegis-proxy

demo:
	$(GO) run ./cmd/aegis-proxy demo

clean:
	rm -rf bin .tools
