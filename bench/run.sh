#!/bin/bash
# make bench: build, install, and run bench.pl as the user that servers run as.
#
#	make bench						everything, in a quarter of an hour
#	make bench SCENARIOS="bulk_insert latency" RUNS=5 SCALE=2
#
# What it measures and what the variables mean: bench.pl.  The results are
# printed and left in bench/results/.
set -u
. "$(cd "$(dirname "$0")/../.ci" && pwd)/common.sh"
[ -n "${FLO_NO_SETUP:-}" ] || "$TOP/.ci/setup.sh" run || exit 1
if [ -z "${FLO_NO_BUILD:-}" ]; then
	log=$(build_and_install 2>&1) || { echo "$log" >&2; exit 1; }
fi

if [ -n "${BENCH_DIR:-}" ]; then work=$(TMPDIR=$BENCH_DIR server_tmpdir pg_flo_bench); else work=$(server_tmpdir pg_flo_bench); fi
[ -n "$work" ] || exit 1
trap 'rm -rf "$work"' EXIT
cp "$TOP/bench/bench.pl" "$work/"
as_server env BINDIR="$(pg_bindir)" WORK="$work" PATH="$PATH:/usr/sbin" \
	RUNS="${RUNS:-}" SCALE="${SCALE:-}" SCENARIOS="${SCENARIOS:-}" SYSTEMS="${SYSTEMS:-}" \
	NATIVE_OPTIONS="${NATIVE_OPTIONS:-}" WORKER_OPTIONS="${WORKER_OPTIONS:-}" BENCH_PORT="${BENCH_PORT:-}" PERF="${PERF:-}" \
	perl "$work/bench.pl" || exit 1
mkdir -p "$TOP/bench/results"
cp "$work"/results.* "$TOP/bench/results/"
