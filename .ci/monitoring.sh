#!/bin/bash
# The programs that t/037_metrics.pl scrapes a group with: Prometheus, promtool and
# two exporters.
#
#	monitoring.sh			get what is missing, quietly
#	monitoring.sh --path	print a folder to be looked in after those of PATH
#
# Debian's packages start services that listen, now or at the next boot, on a
# machine that wanted a test.  So they are not installed: the programs, which need
# the C library alone, are taken out of them and kept in a folder of their own.
set -u
. "$(dirname "$0")/common.sh"

# Root's home may be closed to the user that servers run as
if [ "$(id -u)" = 0 ]; then CACHE=/var/cache/pg_flo/monitoring
else CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/pg_flo/monitoring
fi

have() { [ -x "$CACHE/$1" ] || command -v "$1" >/dev/null; }

missing()
{
	have prometheus || echo prometheus
	# in a package of its own since Debian 13
	have promtool || { apt-cache show promtool >/dev/null 2>&1 && echo promtool || echo prometheus; }
	have prometheus-postgres-exporter || echo prometheus-postgres-exporter
	have prometheus-sql-exporter || echo prometheus-sql-exporter
}

case ${1:-} in
	--path)
		echo "$CACHE"
		exit 0
		;;
	"") ;;
	*) die "usage: .ci/monitoring.sh [--path]" ;;
esac

packages=$(echo $(missing | sort -u))
[ -n "$packages" ] || exit 0
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
	die "missing here, by the names of their Debian packages: $packages"

work=$(mktemp -d "${TMPDIR:-/tmp}/pg_flo_monitoring.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT

# apt checks their signatures; nothing of the machine changes
download()
{
	# shellcheck disable=SC2086
	(cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=3 download $packages) >"$work/log" 2>&1 </dev/null
}

say "getting, not installing: $packages"
download || { can_root && as_root apt-get -qq update >/dev/null 2>&1 </dev/null; download; } || {
	cat "$work/log" >&2
	die "could not be downloaded: $packages"
}
mkdir -p "$CACHE" || exit 1
chmod 755 "$CACHE"
for package in "$work"/*.deb; do
	dpkg-deb -x "$package" "$work/unpacked" || die "$(basename "$package") cannot be unpacked"
done
for program in promtool prometheus prometheus-postgres-exporter prometheus-sql-exporter; do
	have $program && continue
	cp "$work/unpacked/usr/bin/$program" "$CACHE/$program.new" && chmod 755 "$CACHE/$program.new" &&
		mv "$CACHE/$program.new" "$CACHE/$program" || die "the packages lack $program"
done
