#!/bin/bash
# make test: set-up, build, install, pg_regress, TAP, one summary line.
#
#	make test						everything
#	make test TESTS="001_stream"	some of it, by names from sql_tests/ and t/
#	make test JOBS=1				one TAP file at a time; else as many as there are CPUs
#	make test AGAIN=1				TAP files that failed run once more, alone; those that pass then are named
#	SUMMARY=FILE .ci/test.sh ...	a test that writes a summary has it added to that file
#
# Ends with "N passed, M failed", which counts every pg_regress script and every
# TAP test, and with exit status 1 when M is not 0.  Run by root, the servers run
# as another user in a folder of their own under /tmp, which is kept (and named)
# when something failed.
set -u
. "$(dirname "$0")/common.sh"
cd "$TOP" || exit 1
# before anything runs for an hour
[ -z "${SUMMARY:-}" ] || : >>"$SUMMARY" || exit 1

# --- which tests -----------------------------------------------------------------

regress=
tap=
if [ $# -eq 0 ]; then
	for f in sql_tests/*.sql; do [ -f "$f" ] && regress="$regress $(basename "$f" .sql)"; done
	for f in t/*.pl; do [ -f "$f" ] && tap="$tap $f"; done
else
	for name in "$@"; do
		name=$(basename "$name")
		if [ -f "t/${name%.pl}.pl" ]; then tap="$tap t/${name%.pl}.pl"
		elif [ -f "sql_tests/${name%.sql}.sql" ]; then regress="$regress ${name%.sql}"
		else die "no test is called $name in sql_tests/ or t/"
		fi
	done
fi

# --- what they run with ----------------------------------------------------------

[ -n "${FLO_NO_SETUP:-}" ] || .ci/setup.sh test || exit 1
log=$(build_and_install 2>&1) || {
	echo "$log"
	exit 1
}
say "built and installed for $("$PG_CONFIG" --version)"

# --- the folder they run in ----------------------------------------------------------

work=$(server_tmpdir pg_flo_test) || exit 1
mkdir -p "$work/regress"
cp -R sql_tests "$work/regress/sql"
cp -R expected "$work/regress/expected"
cp -R t doc contrib README.md .ci/tap.pl "$work/"
chmod -R u+rwX,go+rX "$work"
[ "$(id -u)" = 0 ] && chown -R "$(server_user)" "$work"

bindir=$(pg_bindir)
monitoring=$(.ci/monitoring.sh --path)
pgxs_src=$(cd "$(dirname "$("$PG_CONFIG" --pgxs)")/.." && pwd)
passed=0
failed=0

# the tests of upgrades have another server, with pg_flo 0.1; without its source they skip
former=
case $tap in
	*t/095_upgrade*) former=$(.ci/former.sh "$work") || say "tests of upgrades are SKIPPED, see above" ;;
esac

run_in_work()
{
	as_server env -i HOME="$work" LANG=C LC_ALL=C TMPDIR="${TMPDIR:-/tmp}" CI="${CI:-}" \
		PATH="$bindir:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$monitoring" \
		TESTDIR="$work" TESTDATADIR="$work/tmp_check" TESTLOGDIR="$work/tmp_check/log" \
		PG_REGRESS="$pgxs_src/test/regress/pg_regress" PG_TEST_TIMEOUT_DEFAULT="${PG_TEST_TIMEOUT_DEFAULT:-120}" \
		FLO_FORMER="$former" ${FLO_TEST_ENV:-} sh -c 'cd "$0" && exec "$@"' "$work" "$@"
}

# --- pg_regress ----------------------------------------------------------------------

if [ -n "$regress" ]; then
	say "pg_regress"
	# shellcheck disable=SC2086
	run_in_work "$pgxs_src/test/regress/pg_regress" --bindir="$bindir" \
		--inputdir="$work/regress" --outputdir="$work/regress" --dbname=contrib_regression --encoding=UTF8 \
		--temp-instance="$work/regress/instance" --temp-config="$work/regress/sql/regress.conf" \
		$regress >"$work/regress/output" 2>&1
	status=$?
	# "test x ... ok 12 ms" up to 15, "ok 1 - x 12 ms" since 16
	ok=$(grep -cE '^(ok +[0-9]|test .*\.\.\. ok|     .*\.\.\. ok)' "$work/regress/output")
	bad=$(grep -cE '^(not ok +[0-9]|test .*\.\.\. FAILED|     .*\.\.\. FAILED)' "$work/regress/output")
	grep -E '(^(not )?ok +[0-9]|\.\.\. (ok|FAILED))' "$work/regress/output"
	# it never came to run them all: that is a failure of its own
	if [ $((ok + bad)) -ne "$(echo $regress | wc -w)" ] || { [ $status -ne 0 ] && [ "$bad" -eq 0 ]; }; then
		cat "$work/regress/output"
		bad=$((bad + 1))
	fi
	[ "$bad" -gt 0 ] && [ -f "$work/regress/regression.diffs" ] && cat "$work/regress/regression.diffs"
	passed=$((passed + ok))
	failed=$((failed + bad))
fi

# --- TAP --------------------------------------------------------------------------------

if [ -n "$tap" ]; then
	say "TAP"
	# shellcheck disable=SC2086
	run_in_work perl tap.pl ${AGAIN:+--again} --jobs="${JOBS:-$(nproc)}" --lib="$work/t" --lib="$pgxs_src/test/perl" --counts="$work/counts" $tap
	if [ -s "$work/counts" ]; then
		read -r ok bad <"$work/counts"
	else
		ok=0 bad=1
	fi
	passed=$((passed + ok))
	failed=$((failed + bad))
fi

# --- summary --------------------------------------------------------------------------------

# servers' user may not write where it is wanted
[ -z "${SUMMARY:-}" ] || [ ! -e "$work/summary" ] || cat "$work/summary" >>"$SUMMARY"
if [ $failed -gt 0 ] || [ -n "${FLO_KEEP_TEST_DIR:-}" ]; then
	say "logs and clusters are in $work"
else
	rm -rf "$work"
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
