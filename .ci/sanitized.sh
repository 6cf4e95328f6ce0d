#!/bin/bash
# make test-sanitized: the tests that reach most of the code, with pg_flo built
# with AddressSanitizer and UndefinedBehaviorSanitizer.
#
#	make test-sanitized							all SQL tests and some of t/
#	make test-sanitized TESTS="001_stream"		some of it, as in make test
#
# The tree is copied, built and installed into a private copy of the server,
# whose "postgres" is a script that preloads the sanitizers' runtime: modules
# like these must not be loaded by any other server.  What a sanitizer finds
# ends the process, and its report fails this run even if no test looked.
#
# The server is not instrumented: an overrun within one of its own blocks of
# memory is seen only where it leaves the block.  make fuzz sees those.
set -u
. "$(dirname "$0")/common.sh"
[ -n "${FLO_NO_SETUP:-}" ] || "$(dirname "$0")/setup.sh" test || exit 1
SANITIZER_CC=${SANITIZER_CC:-gcc}
. "$(dirname "$0")/sanitizers.sh"

TAP="001_stream 020_types 040_arrows 060_rules 080_ddl"

work=$(server_tmpdir pg_flo_sanitized) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree" "$work/reports"
chmod 777 "$work/reports"

# --- build and install ----------------------------------------------------------------

(cd "$TOP" && tar --exclude=./.git --exclude=./tmp_check --exclude=./quickstart -cf - .) | tar -x --no-same-owner -C "$work/tree"
find "$work/tree/src" -name '*.[od]' -delete
rm -f "$work/tree/.build_for"

PG_CONFIG=$(private_server "$work/server")
bindir=$(pg_bindir)
sanitizer_early "$work/early.so"
mv "$bindir/postgres" "$bindir/postgres_itself"
cat >"$bindir/postgres" <<-SCRIPT
	#!/bin/bash
	LD_PRELOAD="$(sanitizer_runtime) $work/early.so"
	ASAN_OPTIONS="$SANITIZER_ASAN:log_path=$work/reports/report"
	UBSAN_OPTIONS="$SANITIZER_UBSAN:log_path=$work/reports/report"
	export LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS
	exec -a "$bindir/postgres" "$bindir/postgres_itself" "\$@"
SCRIPT
chmod 755 "$bindir/postgres"

# --- run ------------------------------------------------------------------------------

[ $# -gt 0 ] || set -- $(cd "$TOP/sql_tests" && ls -- *.sql) $TAP
export PG_CONFIG FLO_NO_SETUP=1 PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-600}
export FLO_TEST_ENV="FLO_FILE_SECONDS=3600"
export COPT="-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
MAKEFLAGS="-s -j$(nproc)" "$work/tree/.ci/test.sh" "$@"
status=$?

for report in "$work"/reports/*; do
	[ -f "$report" ] || continue
	echo "--- report of a sanitizer"
	cat "$report"
	status=1
done
[ $status -eq 0 ] && say "no sanitizer had anything to report"
exit $status
