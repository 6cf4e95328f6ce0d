#!/bin/bash
# Print the folder of the server's own source, unpacked: fetch.sh
#
#	FLO_PG_SOURCE=/folder		take that one; it is fetched there when there is none
#
# The source package of the installed server, from the archive that the server
# came from, through an apt configuration of its own: nothing of the machine's
# changes.  Debian's patches do not touch the regression suite and are left out.
set -u
. "$(dirname "$0")/../.ci/common.sh"

version=$("$PG_CONFIG" --version | sed -nE 's/^PostgreSQL ([0-9.]+).*/\1/p')
folder=${FLO_PG_SOURCE:-$TOP/tmp_check/postgresql-$version}

is_source() { [ -f "$folder/src/test/regress/parallel_schedule" ]; }
is_source && { echo "$folder"; exit 0; }

no_source()
{
	[ ! -s "$work/log" ] || sed 's/^/	/' "$work/log" >&2
	die "$1
PostgreSQL's regression suite cannot run without the server's source, which comes from the package archive.
Unpack the source of PostgreSQL $version yourself and say FLO_PG_SOURCE=/folder make test-core."
}

work=$(mktemp -d "${TMPDIR:-/tmp}/pg_flo_source.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
command -v apt-get >/dev/null || no_source "there is no apt-get here."

package=postgresql-${version%%.*}
installed=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null) || no_source "$package is not installed from a package."

# Lines like "postgresql-15 | 15.9-0+deb12u1 | http://archive/debian bookworm/main amd64 Packages": which versions are where
apt-cache madison "$package" 2>/dev/null | awk -F ' [|] ' '/Packages/ { split($3, where, " "); print $2, where[1] }' >"$work/versions"
[ -s "$work/versions" ] || no_source "apt knows no archive that has $package (apt-get update?)."

mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/download" "$work/unpacked"
for uri in $(awk '{ print $2 }' "$work/versions" | sort -u); do
	for file in /etc/apt/sources.list.d/*.sources; do
		[ ! -f "$file" ] || awk -v RS= -v ORS='\n\n' -v uri="$uri" '{ for (i = 1; i <= NF; i++) if ($i == uri || $i == uri "/") { print; next } }' "$file" |
			sed 's/^Types:.*/Types: deb-src/' >>"$work/parts/all.sources"
	done
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ ! -f "$file" ] || grep -F "$uri" "$file" | sed -n 's/^deb /deb-src /p' >>"$work/parts/all.list"
	done
done
own_apt()
{
	(cd "$work/download" && apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/parts" \
		-o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" "$@") >"$work/log" 2>&1
}
own_apt update && ! grep -q '^[WE]: Failed' "$work/log" || no_source "the package archive cannot be reached."

# This very version, else another of the same major one: archives do not keep all
for known in "$installed" $(awk '{ print $1 }' "$work/versions"); do
	own_apt source --download-only "$package=$known" && break
	rm -f "$work"/download/*
done
ls "$work"/download/*.orig.tar.* >/dev/null 2>&1 || no_source "the archive does not serve the source of $package."
tar -xf "$work"/download/*.orig.tar.* -C "$work/unpacked" 2>"$work/log" || no_source "the source package cannot be unpacked."
mkdir -p "$(dirname "$folder")"
rm -rf "$folder"
mv "$work"/unpacked/* "$folder"
chmod -R a+rX "$folder"
is_source || no_source "the source package has no regression suite."
echo "$folder"
