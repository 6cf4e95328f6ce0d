#!/bin/bash
# make test-core: PostgreSQL's own regression suite as a source; see README.md.
#
#	make test-core					the whole of the server's parallel_schedule
#	make test-core SCHEDULE=short	what CI runs: all but left_out
#	make test-core TRUST=source		with that worker option ddl_trust
#	make test-core WRITE=1			write the counts into doc/ddl.md
#
# Everything runs in a folder of the server user's under /tmp, which is kept
# (and named) when something was not as it should be.
set -u
. "$(dirname "$0")/../.ci/common.sh"
[ -n "${FLO_NO_SETUP:-}" ] || "$TOP/.ci/setup.sh" test core || exit 1

source=$("$TOP/suite/fetch.sh") || exit 1
say "the suite of $source"
cd "$TOP" || exit 1
log=$(build_and_install 2>&1) || {
	echo "$log"
	exit 1
}
say "built and installed for $("$PG_CONFIG" --version)"

work=$(server_tmpdir pg_flo_core) || exit 1
bindir=$(pg_bindir)
pgxs_src=$(cd "$(dirname "$("$PG_CONFIG" --pgxs)")/.." && pwd)

# What the suite gives depends on the minor version, and on the tests before
other=
[ "${SCHEDULE:-whole}" = whole ] || other=1
"$PG_CONFIG" --version | grep -qF "PostgreSQL $(sed -n "s/^PACKAGE_VERSION='\(.*\)'$/\1/p" "$source/configure") " || other=1

# The suite's C functions, and the two modules of contrib/spi that it loads
mkdir -p "$work/lib" "$work/input" "$work/output"
for file in src/test/regress/regress contrib/spi/refint contrib/spi/autoinc; do
	${CC:-cc} -O1 -fPIC -shared -w -I"$("$PG_CONFIG" --includedir-server)" "$source/$file.c" -o "$work/lib/$(basename $file).so" ||
		die "$file.c of the server's source does not build"
done
cp -R "$source/src/test/regress/sql" "$source/src/test/regress/expected" "$source/src/test/regress/data" \
	"$source/src/test/regress/parallel_schedule" "$work/input"
cp -R t suite "$work/"
chmod -R u+rwX,go+rX "$work"
[ "$(id -u)" = 0 ] && chown -R "$(server_user)" "$work"

# The table below "## In figures" is written anew
write_counts()
{
	awk -v counts="$work/counts.md" '/^## /{ inside = /^## In figures/ }
		inside && /^\|/ { next }
		inside && /^$/ && told++ == 1 { print ""; while ((getline line <counts) > 0) print line }
		{ print }' "$TOP/doc/ddl.md" | cat -s >"$work/ddl.md" && cat "$work/ddl.md" >"$TOP/doc/ddl.md"
}

as_server env -i HOME="$work" LANG=C LC_ALL=C TMPDIR="${TMPDIR:-/tmp}" CI="${CI:-}" \
	PATH="$bindir:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
	TESTDIR="$work" TESTDATADIR="$work/tmp_check" TESTLOGDIR="$work/tmp_check/log" \
	PG_REGRESS="$pgxs_src/test/regress/pg_regress" PG_TEST_TIMEOUT_DEFAULT="${PG_TEST_TIMEOUT_DEFAULT:-180}" \
	FLO_ALONE_FIRST="$other" FLO_SCHEDULE="${SCHEDULE:-whole}" FLO_TRUST="${TRUST:-}" \
	sh -c 'cd "$0" && exec perl -I t -I suite -I "$1" suite/core.pl' "$work" "$pgxs_src/test/perl" | tee "$work/report"
status=${PIPESTATUS[0]}

[ -z "${WRITE:-}" ] || write_counts
if [ "$status" -ne 0 ] || [ -n "${FLO_KEEP_TEST_DIR:-}" ]; then
	say "logs, clusters and what differed are in $work"
else
	rm -rf "$work"
fi
exit "$status"
