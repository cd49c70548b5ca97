# SPDX-License-Identifier: MIT
# sluice: every command a user needs. `make help` lists them.

O		?= build
O		:= $(abspath $(O))
PREFIX		?= /usr/local
DESTDIR		?=
KVER		?= uml
export O PREFIX DESTDIR

# make demo
PROMPT		?= Give me three tips for staying healthy.
TOKENS		?= 64
RAW		?=
BOX		?= auto
KILL		?=
MODEL		?=
export PROMPT TOKENS RAW BOX KILL MODEL

.PHONY: all help demo check perf perf-start perf-latency perf-model perf-pipeline perf-recovery perf-failover perf-balance perf-batch perf-priority kmod lib userspace tests install clean

all: lib userspace kmod

help:
	@sed -n 's/^## //p' $(firstword $(MAKEFILE_LIST))

## make demo            set up everything, run a language model through four processes and the module
##                      PROMPT='…' TOKENS=64 RAW=1 BOX=uml|tcg|host KILL=decoder MODEL=file.gguf
demo:
	@scripts/demo

## make check           set up everything, run the tests; the last line is N passed, N failed, N skipped
check:
	@scripts/check

## make check-SUITE     one suite, also the longer ones: check-debug (KASAN, lockdep), check-kernels
##                      (stock 6.1, 6.12, 7.2), check-kcsan (data races), check-model-long, check-forward;
##                      scripts/check --help
check-%:
	@scripts/check $*

## make perf            everything beside its peers, 30 minutes; writes docs/performance.md
## make perf-start      from sluicectl up to the first token
## make perf-latency    64-byte round trips against floor, sockets and pipe, with a plot
## make perf-model      tokens/s against one process and llama.cpp
## make perf-pipeline   first result, interval and completion against what sluicectl model predicts
## make perf-recovery   from a consumer's death to its message elsewhere
## make perf-failover   a replica dies under load: from the kill to the next token of each stream
## make perf-balance    how each policy spreads work over replicas, with a plot
## make perf-priority   a class of messages under a flood of another, with a plot
## make perf-call       requests and replies beside a Unix socket
## make perf-shards     a decoder's layers in one process and in two
## make perf-batch      runs with a latency bound, prefetch, the reorder window, with plots
perf:
	@scripts/perf-all

perf-%:
	@scripts/$@

## make kmod KVER=…     build the module for uml (default), 6.1, 6.12, 7.2, or KDIR=/path/to/headers
kmod:
	@scripts/build-kmod $(if $(KDIR),--kdir $(KDIR),$(KVER))

## make lib             libsluice, static and shared
lib:
	$(MAKE) -C lib O=$(O)

## make userspace       stage daemons, sluicectl, sluice-perf
userspace: lib
	$(MAKE) -C userspace O=$(O)

## make tests           build the tests without running them
tests: userspace
	$(MAKE) -C tests O=$(O)

## make install         libsluice, tools, man pages; PREFIX=/usr/local DESTDIR=
install: lib userspace
	$(MAKE) -C lib O=$(O) install
	$(MAKE) -C userspace O=$(O) install

## make clean           remove build/ (the cache outside the tree stays)
clean:
	rm -rf $(O)
