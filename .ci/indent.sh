#!/bin/bash
# make indent: all C of src/ and fuzz/ in PostgreSQL's own form
#
#	indent.sh			rewrite typedefs.list and every file that is not in form
#	indent.sh --check	change nothing: print the diff of what would be rewritten
#	indent.sh --fetch	only get the tools
#
# The tools are the server's own pgindent and pg_bsd_indent.  Always those of
# PostgreSQL 17, whichever server is built for: other versions may form a file
# in another way.  Debian 13 has them in its postgresql-server-dev-17.  Any other
# machine takes that package, and the C library which its program needs, from
# Debian 13's archive by an apt configuration of its own; apt checks the
# signatures, nothing of the machine changes, and what was got once is kept in
# ~/.cache/pg_flo for ever (remove that folder to get it anew).
set -u
. "$(dirname "$0")/common.sh"

MAJOR=17
SUITE=trixie
ARCHIVE=${FLO_DEBIAN_ARCHIVE:-http://deb.debian.org/debian}
CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/pg_flo/indent-$MAJOR
TOOLS=usr/lib/postgresql/$MAJOR/bin
TYPEDEFS=usr/share/postgresql/$MAJOR/typedefs.list

work=$(mktemp -d "${TMPDIR:-/tmp}/pg_flo_indent.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT

# --- the tools --------------------------------------------------------------------

# Sets root and indent when a folder has all that is needed and it runs here
tools_in()
{
	root=$1
	indent=$root/$TOOLS/pg_bsd_indent
	[ ! -x "$root/pg_bsd_indent" ] || indent=$root/pg_bsd_indent
	[ -f "$root/$TOOLS/pgindent" ] && [ -f "$root/$TYPEDEFS" ] && "$indent" --version >/dev/null 2>&1
}

no_tools()
{
	[ ! -s "$work/log" ] || sed 's/^/	/' "$work/log" >&2
	die "$1
pgindent and pg_bsd_indent come with Debian 13's postgresql-server-dev-$MAJOR, from $ARCHIVE (FLO_DEBIAN_ARCHIVE is another mirror)."
}

fetch_tools()
{
	local keyring loader new=$CACHE.new.$$

	keyring=$(ls /usr/share/keyrings/debian-archive-keyring.* 2>/dev/null | head -1)
	[ -n "$keyring" ] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
		no_tools "apt-get, dpkg-deb and Debian's keyring (debian-archive-keyring) are needed to get pgindent."
	private_apt "$work/apt" "deb [signed-by=$keyring] $ARCHIVE $SUITE main"
	own_apt "$work/apt" update >"$work/log" 2>&1 && ! grep -q '^[WE]: ' "$work/log" ||
		no_tools "the package archive cannot be reached, or is not signed by Debian."
	own_apt "$work/apt" download "postgresql-server-dev-$MAJOR" libc6 >"$work/log" 2>&1 ||
		no_tools "pgindent could not be downloaded."

	mkdir -p "$work/unpacked" "$(dirname "$CACHE")" "$new/$TOOLS" "$new/$(dirname $TYPEDEFS)" "$new/lib" || exit 1
	for package in "$work"/apt/download/*.deb; do
		dpkg-deb -x "$package" "$work/unpacked" 2>"$work/log" || no_tools "$(basename "$package") cannot be unpacked."
	done
	cp "$work/unpacked/$TOOLS/pgindent" "$work/unpacked/$TOOLS/pg_bsd_indent" "$new/$TOOLS/" &&
		cp "$work/unpacked/$TYPEDEFS" "$new/$TYPEDEFS" &&
		find "$work/unpacked" \( -name 'libc.so.6' -o -name 'ld-linux*.so.*' \) -type f -exec cp {} "$new/lib/" \; ||
		no_tools "the packages lack what they had."

	# An older C library than the program was built with does not run it
	loader=$(cd "$new/lib" && ls ld-linux*.so.*)
	printf '#!/bin/sh\nhere=$(dirname "$0")\nexec "$here/lib/%s" --library-path "$here/lib" "$here/%s/pg_bsd_indent" "$@"\n' \
		"$loader" "$TOOLS" >"$new/pg_bsd_indent"
	chmod -R a+rX "$new"
	chmod a+x "$new/pg_bsd_indent" "$new/lib/$loader"
	rm -rf "$CACHE"
	mv "$new" "$CACHE"
	tools_in "$CACHE" || no_tools "$CACHE/pg_bsd_indent does not run here."
}

tools_in "" || tools_in "$CACHE" || fetch_tools
[ "${1:-}" != --fetch ] || exit 0

# --- the form -----------------------------------------------------------------------

# form FOLDER: its typedefs.list, src/ and fuzz/.  Until nothing changes any
# more: a comment that moved may be filled anew in the next turn.
form()
{
	local turn before after=
	for turn in 1 2 3 4; do
		before=$after
		(cd "$1" && perl "$TOP/.ci/typedefs.pl" "$root/$TYPEDEFS" $(sources)) >"$work/typedefs" || exit 1
		cmp -s "$work/typedefs" "$1/typedefs.list" || cp "$work/typedefs" "$1/typedefs.list"
		# it leaves its own files where it is, and tells nobody that it failed but by what it says
		(cd "$1" && sources) | sed "s|^|$1/|" | (cd "$work" && xargs -P "$(nproc)" -n 40 perl "$root/$TOOLS/pgindent" \
			--indent="$indent" --typedefs="$work/typedefs") >"$work/log" 2>&1 && [ ! -s "$work/log" ] ||
			{ cat "$work/log" >&2; die "pgindent failed"; }
		after=$(cd "$1" && cat $(sources) typedefs.list | cksum)
		[ "$before" != "$after" ] || return 0
	done
	die "pgindent does not come to an end: it forms its own output anew each time"
}

sources() { find src fuzz -name '*.[ch]' -not -path 'fuzz/build/*' | sort; }

cd "$TOP" || exit 1
case ${1:-} in
	--check)
		mkdir "$work/a" "$work/b"
		for copy in a b; do
			sources | xargs cp --parents -t "$work/$copy"
			cp typedefs.list "$work/$copy/"
		done
		form "$work/b"
		(cd "$work" && diff -urpd a b >diff) && exit 0
		sed -E 's/^((---|\+\+\+) [^	]*)	.*/\1/' "$work/diff"
		exit 1
		;;
	"") form "$TOP" ;;
	*) die "usage: .ci/indent.sh [--check | --fetch]" ;;
esac
