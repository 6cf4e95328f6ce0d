#!/bin/bash
# make fuzz: every target for SECONDS, two at a time; see README.md.
#
#	run.sh SECONDS [TARGET...]		fuzz; fails when there is a find
#	run.sh repro TARGET FILE		one input again, with the sanitizer's report
#	run.sh seeds					write the binary seeds anew, into seeds/
#
# Finds are left in fuzz/finds/TARGET/, with what the sanitizer said of them;
# what made progress is left in fuzz/corpus/TARGET/, for the next run.
set -u
. "$(dirname "$0")/../.ci/common.sh"
. "$(dirname "$0")/../.ci/sanitizers.sh"

FUZZ=$TOP/fuzz
TARGETS="chunk change event value message ddl broker record rule import hook name convert"

# Rows on their way are one kind of input for three targets
seeds_of() { case $1 in change | event | value) echo messages ;; *) echo "$1" ;; esac; }

# --- a server with pg_flo as built for fuzzing ------------------------------------------

prepare()
{
	local pg_config log=$FUZZ/build/log
	[ -n "${FLO_NO_SETUP:-}" ] || "$TOP/.ci/setup.sh" fuzz || exit 1
	mkdir -p "$FUZZ/build"
	"$MAKE" -s -j "$(nproc)" -C "$FUZZ" FUZZ_CC="$SANITIZER_CC" OUT="$FUZZ/build" >"$log" 2>&1 ||
		{ cat "$log" >&2; die "the fuzz targets do not build"; }
	WORK=$(server_tmpdir pg_flo_fuzz) || exit 1
	trap 'rm -rf "$WORK"' EXIT
	pg_config=$(private_server "$WORK/server")
	BIN=$("$pg_config" --bindir)
	script=$(sed -n "s/^default_version = '\(.*\)'/pg_flo--\1.sql/p" "$TOP/pg_flo.control")
	"$MAKE" -s -C "$TOP" "$script" || die "the install script is not made"
	install -m 644 -D -t "$("$pg_config" --sharedir)/extension" "$TOP/pg_flo.control" "$TOP/$script"
	install -m 755 -D -t "$("$pg_config" --pkglibdir)" "$FUZZ/build/pg_flo.so"
	sanitizer_early "$WORK/early.so"
	as_server "$BIN/initdb" -D "$WORK/template" -U postgres --encoding=UTF8 --locale=C -A trust --no-sync >"$WORK/initdb.log" 2>&1 ||
		{ cat "$WORK/initdb.log" >&2; die "initdb failed"; }
	start_server template "$WORK/setup.log"
	query template -q -v ON_ERROR_STOP=1 -f - <"$FUZZ/setup.sql" || die "the server could not be prepared"
}

# start_server NAME LOG: on a data directory, with a socket there and nowhere else
start_server()
{
	local name=$1 log=$2 i
	as_server env LC_ALL=C LD_PRELOAD="$(sanitizer_runtime) $WORK/early.so" ASAN_OPTIONS="$SANITIZER_ASAN" \
		UBSAN_OPTIONS="$SANITIZER_UBSAN" ASAN_SYMBOLIZER_PATH="$(sanitizer_symbolizer)" \
		"$BIN/postgres" -F -D "$WORK/$name" -k "$WORK/$name" -c listen_addresses= -c shared_preload_libraries=pg_flo \
		-c pg_flo.nats_url=nats://127.0.0.1:1 -c wal_level=logical -c restart_after_crash=off -c log_min_messages=fatal \
		-c log_min_error_statement=panic -c max_stack_depth=6MB -c jit=off -c autovacuum=off >"$log" 2>&1 &
	for i in $(seq 600); do
		query "$name" -qc '' 2>/dev/null && return 0
		kill -0 $! 2>/dev/null || break
		sleep 0.1
	done
	cat "$log" >&2
	die "the server does not start"
}

# Fast, and not at all when a find has ended it
stop_server() { as_server "$BIN/pg_ctl" -D "$WORK/$1" stop -m immediate >/dev/null 2>&1; wait; }

query()
{
	local name=$1
	shift
	as_server "$BIN/psql" -X -h "$WORK/$name" -U postgres -d postgres "$@"
}

# libfuzzer NAME LOG TARGET ARGUMENT...: in a cluster of its own.  It leaves the
# backend by exit(), so what psql says does not matter.
libfuzzer()
{
	local name=$1 log=$2 words
	shift 2
	as_server cp -R "$WORK/template" "$WORK/$name"
	start_server "$name" "$log"
	words=$(printf '"%s",' "$@")
	query "$name" -c "SET client_min_messages = error; SELECT flo_fuzz('{${words%,}}')" >/dev/null 2>&1
	stop_server "$name"
	rm -rf "${WORK:?}/$name"
}

# --- what it is called for ------------------------------------------------------------

# What libFuzzer ends with, "Done N runs", is all there is when nothing was found
fuzz_one()
{
	local target=$1 seconds=$2 dir=$WORK/in.$1 corpus=$FUZZ/corpus/$1 log=$WORK/log.$1 dict=

	mkdir -p "$dir/corpus" "$dir/seeds" "$dir/finds" "$corpus"
	cp "$FUZZ/seeds/$(seeds_of "$target")"/* "$dir/seeds/"
	find "$corpus" -type f -exec cp -t "$dir/corpus" {} +
	case $target in ddl | broker | record | import) cp "$FUZZ/json.dict" "$dir/dict"; dict=-dict=$dir/dict ;; esac
	[ "$(id -u)" = 0 ] && chown -R "$(server_user)" "$dir"
	# shellcheck disable=SC2086
	libfuzzer "data.$target" "$log" "$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 \
		-malloc_limit_mb=2048 -max_len=8192 -print_final_stats=1 -artifact_prefix="$dir/finds/" $dict "$dir/corpus" "$dir/seeds"
	find "$dir/corpus" -type f -exec cp -t "$corpus" {} +
	if grep -q '^Done [0-9]* runs' "$log" && [ -z "$(ls "$dir/finds")" ]; then
		echo "ok      $target: $(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$log") executions, $(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -1)"
	else
		mkdir -p "$FUZZ/finds/$target"
		cp "$log" "$FUZZ/finds/$target/log"
		cp "$dir"/finds/* "$FUZZ/finds/$target/" 2>/dev/null
		echo "FOUND   $target: $(grep -aE '^SUMMARY|runtime error|^==fuzz==|ERROR|FATAL' "$log" | head -3 | tr '\n' ' '); see fuzz/finds/$target/"
	fi
}

fuzz()
{
	local seconds=$1
	shift
	prepare
	stop_server template
	export WORK BIN
	# shellcheck disable=SC2086
	printf '%s\n' ${*:-$TARGETS} | xargs -P 2 -I{} "$FUZZ/run.sh" one {} "$seconds" | tee "$WORK/results"
	! grep -qv '^ok ' "$WORK/results"
}

repro()
{
	local target=$1 file=$2
	prepare
	stop_server template
	install -m 644 "$file" "$WORK/input"
	libfuzzer repro "$WORK/log" "$target" -timeout=20 -rss_limit_mb=4096 -malloc_limit_mb=2048 "$WORK/input"
	cat "$WORK/log"
	grep -q '^Executed ' "$WORK/log"
}

seeds()
{
	prepare
	as_server mkdir -p "$WORK/seeds/chunk" "$WORK/seeds/messages"
	query template -q -v ON_ERROR_STOP=1 -v dir="$WORK/seeds" -f - <"$FUZZ/seeds.sql" || die "no seeds"
	stop_server template
	install -m 644 -t "$FUZZ/seeds/chunk" "$WORK"/seeds/chunk/*
	install -m 644 -t "$FUZZ/seeds/messages" "$WORK"/seeds/messages/*
}

case "${1:-}" in
	seeds) seeds ;;
	repro) [ $# -eq 3 ] || die "usage: run.sh repro TARGET FILE"; repro "$2" "$3" ;;
	one) fuzz_one "$2" "$3" ;;
	[1-9]*) fuzz "$@" ;;
	*) die "usage: run.sh SECONDS [TARGET...] | repro TARGET FILE | seeds" ;;
esac
