# Everything runs with the Node that package-lock.json pins (node_modules/.bin/node); the system's Node and npm only
# install it. `make` alone prints the list of targets.

# The folder of this file, whatever the current folder is; an absolute path, so that it may hold spaces.
ROOT := $(shell cd "$$(dirname -- '$(strip $(MAKEFILE_LIST))')" && pwd)
SHELL := /bin/sh
IN := cd '$(ROOT)' && PATH='$(ROOT)/node_modules/.bin':"$$PATH" &&

.DEFAULT_GOAL := help
.PHONY: help install build demo demo-check test test-apiserver check gen bench fmt clean

help: ## this list
	@echo 'make TARGET, of these:'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)$$/\1\t\2/p' '$(ROOT)/Makefile' | awk -F '\t' '{ printf "  %-14s %s\n", $$1, $$2 }'

demo: build ## run the example shop on this machine: pods as processes, mTLS between them (Ctrl-C ends it)
	@echo 'weft: starting examples/shop' && $(IN) exec node bin/weft.js run examples/shop

demo-check: build ## run the example headless and check what it must show; ends with `N passed, N failed`
	@$(IN) exec node testing/demo-check/main.ts

test: build ## all checks and tests; ONLY=<regex> picks test files by path, or tests by name; UPDATE=1 rewrites expected files
	@$(IN) exec node testing/test-run.ts

test-apiserver: install ## what needs a real API server: etcd and kube-apiserver alone, no root (built once, about 200 s; ONLY=<regex>)
	@$(IN) exec node testing/apiserver/main.ts

check: install ## types, lint, and that everything generated is what its source says; part of `make test`
	@$(IN) exec node testing/test-run.ts --checks

gen: install ## regenerate api/gen, crds/*.yaml, the charts' copies of them and the generated pages of docs/
	@$(IN) buf generate && node crds/generate.ts && node charts/generate.ts && node docs/generate.ts

bench: build ## measurements against other proxies; ROWS=1,4 and ROUNDS=5 pick rows and rounds
	@$(IN) exec node bench/main.ts

build: install ## the two bundles in dist/
	@$(IN) exec node build.ts

fmt: install ## format and mend what biome can mend safely
	@$(IN) exec biome check --write .

clean: ## remove what was built and what runs left behind; node_modules stays
	@cd '$(ROOT)' && rm -rf dist coverage examples/*/.weft bench/*/.weft .weft

# Installed again only when package-lock.json (or the kind of machine) has changed. npm is silent for long when its
# output is no terminal, so a line every five seconds says that it still works. Install scripts are not run: nothing
# here needs one. The link to the pinned Node is made anew: npm 10 removes it together with the package of the other
# architecture, whose link has the same name.
install:
	@cd '$(ROOT)' && want="$$(cksum < package-lock.json) $$(uname -sm)" && stamp=node_modules/.weft-installed && \
	if [ "$$(cat $$stamp 2>/dev/null)" != "$$want" ]; then \
	  echo "installing $$(grep -c '^    "node_modules/' package-lock.json) packages with npm ci (once; usually under a minute)"; \
	  npm ci --ignore-scripts --include=dev --include=optional --prefer-offline --no-audit --no-fund --loglevel=error & npm=$$!; \
	  trap 'kill $$npm 2>/dev/null; exit 130' INT TERM; \
	  (n=0; while sleep 5 >/dev/null 2>&1; do n=$$((n + 5)); kill -0 $$npm 2>/dev/null || exit 0; echo "  still installing after $$n s"; done) & ticks=$$!; \
	  wait $$npm; code=$$?; kill $$ticks 2>/dev/null; \
	  [ $$code -eq 0 ] || { echo "npm ci failed with $$code: see above; 'make' again tries anew" >&2; exit $$code; }; \
	  for node in node_modules/node-*/bin/node; do \
	    if "$$node" --version >/dev/null 2>&1; then ln -sf "../$${node#node_modules/}" node_modules/.bin/node; fi; \
	  done; \
	  [ -x node_modules/.bin/node ] || { echo "there is no pinned Node for $$(uname -sm): Weft runs on Linux, x64 or arm64" >&2; exit 1; }; \
	  printf '%s\n' "$$want" > $$stamp; \
	fi
