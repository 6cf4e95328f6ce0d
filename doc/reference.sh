#!/bin/sh
# Rewrite the generated part of doc/sql.md, all before "## Options", from the
# comments in a database that has the extension: doc/reference.sh [psql arguments]
set -eu
cd "$(dirname "$0")"
psql -qAtX "$@" -f reference.psql >sql.new
echo >>sql.new
sed -n '/^## Options/,$p' sql.md >>sql.new
mv sql.new sql.md
