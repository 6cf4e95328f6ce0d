#!/bin/bash
# make bench: build, install, and run bench.pl, or another script that is named, as
# the user that servers run as.
#
#	make bench						everything, in half an hour
#	make bench SCENARIOS="bulk_insert latency" RUNS=5 SCALE=2
#	make bench BASE=HEAD~20			beside another revision, which is built for it
#	bench/run.sh scale.pl			how it grows with groups, tables and workers
#
# What they measure and what the variables mean: their heads.  The results are
# printed and left in bench/results/.
set -u
. "$(cd "$(dirname "$0")/../.ci" && pwd)/common.sh"
script=${1:-bench.pl}
[ $# = 0 ] || shift
[ -n "${FLO_NO_SETUP:-}" ] || "$TOP/.ci/setup.sh" run || exit 1
if [ -z "${FLO_NO_BUILD:-}" ]; then
	log=$(build_and_install 2>&1) || { echo "$log" >&2; exit 1; }
fi

if [ -n "${BENCH_DIR:-}" ]; then work=$(TMPDIR=$BENCH_DIR server_tmpdir pg_flo_bench); else work=$(server_tmpdir pg_flo_bench); fi
[ -n "$work" ] || exit 1
trap 'rm -rf "$work"' EXIT
base_bindir=
if [ -n "${BASE:-}" ]; then
	BASE=$(git -C "$TOP" describe --always --tags "$BASE^{commit}") || exit 1
	private_server "$work/server" >/dev/null
	mkdir "$work/base"
	git -C "$TOP" archive "$BASE" | tar -x -C "$work/base"
	log=$("$MAKE" -C "$work/base" PG_CONFIG="$PG_CONFIG" DESTDIR="$work/server" install 2>&1) ||
		{ echo "$log" >&2; die "$BASE cannot be built"; }
	base_bindir=$work/server$(pg_bindir)
fi
cp -R "$TOP/bench/$script" "$TOP/bench/Bench" "$work/"
as_server env BINDIR="$(pg_bindir)" BASE_BINDIR="$base_bindir" WORK="$work" PATH="$PATH:/usr/sbin" \
	RUNS="${RUNS:-}" SCALE="${SCALE:-}" SCENARIOS="${SCENARIOS:-}" SYSTEMS="${SYSTEMS:-}" BASE="${BASE:-}" \
	REVISION="$(git -C "$TOP" describe --always --tags --dirty 2>/dev/null)" \
	NATIVE_OPTIONS="${NATIVE_OPTIONS:-}" WORKER_OPTIONS="${WORKER_OPTIONS:-}" BENCH_PORT="${BENCH_PORT:-}" PERF="${PERF:-}" \
	perl "$work/$script" "$@" || exit 1
mkdir -p "$TOP/bench/results"
cp "$work"/results.* "$TOP/bench/results/"
