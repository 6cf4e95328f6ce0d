#!/bin/bash
# make lint: what the compiler cannot see (which way includes point, who may
# name the server's version, how long things get), then gcc, clang and cppcheck
# with every warning an error.
#
# Everything is checked before it fails, so that one run shows all there is.
set -u
. "$(dirname "$0")/common.sh"
[ -n "${FLO_NO_SETUP:-}" ] || "$(dirname "$0")/setup.sh" test lint || exit 1

cd "$TOP" || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/pg_flo_lint.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
failures=0

# run NAME COMMAND...: prints one line when it is quiet, the output when not
check()
{
	local name=$1
	shift
	if "$@" >"$work/out" 2>&1 && [ ! -s "$work/out" ]; then
		echo "ok      $name"
	else
		echo "FAILED  $name"
		sed 's/^/	/' "$work/out"
		failures=$((failures + 1))
	fi
}

c_files=$(find src -name '*.c' | sort)
if ! "$MAKE" -s PG_CONFIG="$PG_CONFIG" has-kafka; then
	echo "SKIPPED src/events/kafka_librdkafka.c: there is no librdkafka 2.0 or later with its headers"
	c_files=$(echo "$c_files" | grep -v kafka_librdkafka)
fi
all_files=$(find src -name '*.[ch]' | sort)
fuzz_files=$(find fuzz -maxdepth 1 -name '*.c' | sort)
perl_files=$(find t suite bench .ci -name '*.p[lm]' | sort)

# --- shape of the source ---------------------------------------------------------

includes_point_down() { perl .ci/includes.pl $all_files; }

only_in()
{
	local pattern=$1 allowed=$2
	grep -nE "$pattern" $all_files | grep -vE "^($allowed):"
	return 0
}

sizes() { perl .ci/sizes.pl $all_files fuzz/*.[ch]; }

indented() { .ci/indent.sh --check; }

no_leftovers()
{
	grep -nE '\b(TODO|FIXME|XXX)\b' $all_files fuzz/*.[ch]
	grep -nE '[ 	]+$' $all_files fuzz/*.* fuzz/Makefile Makefile $perl_files sql/*.sql .ci/* bench/* 2>/dev/null
	return 0
}

check "includes point down"                 includes_point_down
check "PG_VERSION_NUM only in core/compat*.h" only_in 'PG_VERSION_NUM' 'src/core/compat(_[a-z]+)?\.h'
check "rights of roles asked in core/roles.c only" only_in '(has_privs_of_role|is_member_of_role|member_can_set_role|flo_compat_can_set_role) *\(' 'src/core/(roles.c|compat_acl.h)'
check "nats.h only in its module"           only_in '#include.*nats\.h' 'src/bus/(bus_nats|nats_options)\.[ch]'
check "pcre2.h only in shape/pattern.c"     only_in '#include.*pcre2' 'src/shape/pattern\.c'
check "lz4.h only in wire/squeeze.c"        only_in '#include.*lz4\.h' 'src/wire/squeeze\.c'
check "curl.h only in http_curl.c"          only_in '#include.*curl' 'src/events/http_curl\.c'
check "rdkafka.h only in kafka_librdkafka.c" only_in '#include.*rdkafka' 'src/events/kafka_librdkafka\.c'
check "roles are switched in as_role alone"   only_in '(SetUserIdAndSecContext|NewGUCNestLevel|AtEOXact_GUC) *\(' 'src/core/as_role\.c'
check "shared memory in monitor/ alone"      only_in 'monitor/shmem\.h|flo_shared\b|flo_wake_slots' 'src/monitor/[a-z]+\.[ch]'
check "no header that needs those of ICU"    only_in '#include.*utils/pg_locale\.h' 'nowhere'
# An archive that is away for an hour must not keep CI from all else; anywhere else it fails
if [ "${CI:-}" = true ] && ! .ci/indent.sh --fetch >"$work/out" 2>&1; then
	echo "SKIPPED files are as make indent leaves them: pgindent cannot be had"
	sed 's/^/	/' "$work/out"
else
	check "files are as make indent leaves them" indented
fi
check "files and functions are short"       sizes
check "SQL functions stand in api alone"     only_in '(PG_FUNCTION_INFO_V1|FLO_FUNCTION)\(' 'src/api/([a-z_]+\.c|function\.h)'
check "and know their version"               only_in 'PG_FUNCTION_INFO_V1' 'src/api/triggers\.c'
check "no leftovers"                        no_leftovers

# Each part of the install script says in its head what it is, and is short
sql_parts()
{
	local f
	for f in sql/*.sql; do
		case $f in
			sql/[0-9][0-9]_*.sql | sql/upgrade_*_head.sql | sql/upgrade_*_tail.sql) [ "$(head -2 "$f")" = "/*
 * $(basename "$f")" ] || echo "$f does not begin with a head of its name" ;;
			*) echo "$f is neither a part of the install script nor an upgrade" ;;
		esac
		[ "$(wc -l <"$f")" -le 900 ] || echo "$f: $(wc -l <"$f") lines"
	done
}
check "parts of the install script"         sql_parts

# --- scripts ------------------------------------------------------------------------

scripts_parse()
{
	local f
	for f in .ci/*.sh .ci/run bench/*.sh fuzz/*.sh; do bash -n "$f" || echo "$f"; done
	for f in $perl_files; do
		perl -I t -I suite -I bench -I "$(pg_perl_lib)" -c "$f" 2>&1 | grep -v 'syntax OK$'
	done
	return 0
}

# Tests and other scripts are read beside each other, and in a diff
width_of_perl()
{
	perl -CSD -ne 's/\n//; 1 while s/^(.*?)\t/$1 . " " x (4 - length($1) % 4)/e;
		print "$ARGV:$.: line of ", length, " columns\n" if length > 120; close ARGV if eof' $perl_files
}

# A class or function of somebody else's is subclassed or wrapped: tests share a process with it
replaces_nothing()
{
	grep -nE "no warnings.*redefine|\*\{?[\"']?[A-Z]\w*(::\w+)+[\"']?\}? *= " $perl_files
	return 0
}
check "scripts parse"                       scripts_parse
check "no line of a script is too wide"      width_of_perl
check "tests replace nobody's functions"    replaces_nothing
check "links of documents lead somewhere"    perl .ci/links.pl
check "all files name one version"          perl .ci/meta.pl
check "tests wait for states"               perl .ci/sleeps.pl t/*.pl t/*.pm t/*/*.pm suite/*.p[lm] sql_tests/*.sql

# --- compilers ----------------------------------------------------------------------

# The server's own flags with the warnings its headers allow, all fatal
warnings="-Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -Wno-cast-function-type"
flags="$("$PG_CONFIG" --cflags) $("$PG_CONFIG" --cppflags) -fPIC -I src -I $("$PG_CONFIG" --includedir-server) $warnings"
# a compiler other than the server's own does not know all of its flags
foreign="-Wno-unknown-warning-option -Wno-ignored-attributes -Wno-ignored-optimization-argument -Wno-unused-command-line-argument"

# Compile files, as many at a time as there are processors; prints warnings
compile()
{
	local cc=$1 extra=$2 files=$3
	mkdir -p "$work/$cc"
	echo "$files" | CC_LINE="$cc $flags $extra" OUT="$work/$cc" xargs -P "$(nproc)" -I{} \
		bash -c '$CC_LINE -c -o "$OUT/$(echo {} | tr / _).o" {} 2>"$OUT/$(echo {} | tr / _).log"'
	cat "$work/$cc"/*.log
}
check "gcc"                                 compile gcc "" "$c_files"
check "clang"                               compile clang "$foreign" "$c_files"
check "clang: fuzz targets"                 compile clang "$foreign -I fuzz" "$fuzz_files"

# Files that need one another cannot be read one by one
no_circles() { perl .ci/circles.pl "$work"/gcc/src_*.o; }
check "no circles among files"              no_circles

# All modules of a backend share one namespace of global symbols
global_names()
{
	nm -g --defined-only "$work"/gcc/*.o 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u |
		grep -vE '^(flo_|pg_flo_|pg_finfo_flo_|pg_finfo_pg_flo_|_PG_init$|_PG_fini$|Pg_magic_func$)'
	return 0
}
check "global symbols begin with flo_"      global_names

# --- cppcheck -----------------------------------------------------------------------

# It sees our files only; the server's headers would cost minutes and say
# nothing.  Hence what it cannot know: that ereport(ERROR) does not return,
# what PG_TRY and the list macros expand to.
cpp_check()
{
	cppcheck --quiet --enable=warning,performance,portability --std=c99 --inline-suppr \
		--error-exitcode=1 --library=posix --template='{file}:{line}: {severity} {id}: {message}' \
		-j "$(nproc)" -I src --suppressions-list=.ci/cppcheck.suppress \
		-D"PG_VERSION_NUM=$(pg_version_num)" -D'PG_FUNCTION_ARGS=FunctionCallInfo fcinfo' -D'PG_MODULE_MAGIC=int flo_magic' \
		-D'PG_FUNCTION_INFO_V1(x)=extern int flo_finfo' -D'PGDLLEXPORT=' -D'pg_noreturn=' \
		-D'pg_attribute_noreturn()=' -D'pg_attribute_printf(a,b)=' -D'FLEXIBLE_ARRAY_MEMBER=1' \
		-D'ereport(l,...)=do { (void) (__VA_ARGS__); if ((l) >= 21) abort(); } while (0)' \
		-D'elog(l,...)=do { (void) (__VA_ARGS__); if ((l) >= 21) abort(); } while (0)' \
		-D'ERROR=21' -D'FATAL=22' -D'PANIC=23' \
		-D'PG_TRY()=if (1)' -D'PG_CATCH()=else' -D'PG_FINALLY()=' -D'PG_END_TRY()=' \
		-D'Assert(x)=' -D'StaticAssertStmt(a,b)=' -D'StaticAssertDecl(a,b)=' \
		src 2>&1
}
pg_version_num()
{
	echo '#include "pg_config.h"
PG_VERSION_NUM' | gcc -E -P -I "$("$PG_CONFIG" --includedir-server)" - | tail -1
}
check "cppcheck"                            cpp_check

if [ $failures -gt 0 ]; then
	echo "lint: $failures checks failed"
	exit 1
fi
echo "lint: all checks passed"
