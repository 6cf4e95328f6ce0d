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

folder=$1

tree=$TOP/tmp_check/former/$("$PG_CONFIG" --version | tr -c 'a-zA-Z0-9.\n' _)
if [ ! -e "$tree/built" ]; then
	former_source "$tree" || die "no source of pg_flo 0.1: it is in the history of a clone only"
	"$MAKE" -s -j"$(nproc)" -C "$tree" PG_CONFIG="$PG_CONFIG" COPT="${COPT:-} -w" all >"$tree/log" 2>&1 ||
		die "pg_flo 0.1 could not be built: $tree/log"
	touch "$tree/built"
fi
config=$(private_server "$folder/former")
"$MAKE" -s -C "$tree" PG_CONFIG="$PG_CONFIG" DESTDIR="$folder/former" COPT="${COPT:-} -w" install >"$tree/log" 2>&1 ||
	die "pg_flo 0.1 could not be installed: $tree/log"
dirname "$(dirname "$config")"
