#!/bin/bash
# pg_flo 0.1 as a server of its own, for the tests of upgrades (t/095_*).
#
#	.ci/former.sh FOLDER
#
# Its source is in this repository's history, so only a clone has it.  It is built
# once (tmp_check/former), and installed into a copy of the server below FOLDER.
# Prints where that is, or nothing and, to stderr, why there is none.
set -eu
. "$(dirname "$0")/common.sh"

COMMIT=fe77c9dc6ec09df2abddbeeaca4cbb99d6ad9172
folder=$1

git -C "$TOP" -c safe.directory="$TOP" cat-file -e "$COMMIT^{commit}" 2>/dev/null ||
	die "no source of pg_flo 0.1: it is in the history of a clone only"
tree=$TOP/tmp_check/former/$("$PG_CONFIG" --version | tr -c 'a-zA-Z0-9.\n' _)
if [ ! -e "$tree/built" ]; then
	rm -rf "$tree"
	mkdir -p "$tree"
	git -C "$TOP" -c safe.directory="$TOP" archive "$COMMIT" | tar -x -C "$tree"
	"$MAKE" -s -j"$(nproc)" -C "$tree" PG_CONFIG="$PG_CONFIG" COPT="${COPT:-} -w" all >"$tree/log" 2>&1 ||
		die "pg_flo 0.1 could not be built: $tree/log"
	touch "$tree/built"
fi
config=$(private_server "$folder/former")
"$MAKE" -s -C "$tree" PG_CONFIG="$PG_CONFIG" DESTDIR="$folder/former" COPT="${COPT:-} -w" install >"$tree/log" 2>&1 ||
	die "pg_flo 0.1 could not be installed: $tree/log"
dirname "$(dirname "$config")"
