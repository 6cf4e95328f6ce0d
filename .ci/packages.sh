#!/bin/bash
# Debian packages, made in a bare root and tried in another one: packages.sh [SUITE]...
#
# For each suite (default: the one of this machine) debootstrap makes a root, once;
# a copy of it gets what builds packages, another what runs them.  In the first
# dpkg-buildpackage runs and lintian looks at the result; in the second, which has no
# compiler, the packages are installed and debian/tests/smoke is run.
#
#	FLO_ROOTS	where the roots are kept (default /var/cache/pg_flo-roots)
#	FLO_MIRROR	where debootstrap takes packages from
set -eu
. "$(dirname "$0")/common.sh"
roots=${FLO_ROOTS:-/var/cache/pg_flo-roots}
mirror=${FLO_MIRROR:-http://deb.debian.org/debian}
out=$TOP/tmp_packages

[ "$(id -u)" = 0 ] || die "packages are made in roots of their own: run this as root"
command -v debootstrap >/dev/null || die "debootstrap is missing"
[ $# -gt 0 ] || set -- "$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)"

bare_root()			# SUITE
{
	local script=
	[ -e "$roots/$1.ok" ] && return 0
	mkdir -p "$roots"
	rm -rf "${roots:?}/$1"
	[ -e "/usr/share/debootstrap/scripts/$1" ] || script=/usr/share/debootstrap/scripts/sid
	# shellcheck disable=SC2086
	debootstrap --variant=minbase "$1" "$roots/$1" "$mirror" $script >"$roots/$1.log" 2>&1 ||
		die "debootstrap $1 failed: $roots/$1.log"
	touch "$roots/$1.ok"
}

inside()			# ROOT COMMAND...
{
	local root=$1
	shift
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive HOME=/root \
		chroot "$root" "$@" </dev/null
}

# A copy of a bare root with some packages; its /proc is taken away again at the end
mounted=
new_root()			# SUITE ROOT
{
	rm -rf "$2"
	cp -a "$roots/$1" "$2"
	mount -t proc proc "$2/proc"
	mounted="$mounted $2/proc"
	# no server is started by being installed
	printf '#!/bin/sh\nexit 101\n' >"$2/usr/sbin/policy-rc.d"
	chmod 755 "$2/usr/sbin/policy-rc.d"
	inside "$2" apt-get -qq update
}

work=$(mktemp -d /var/tmp/pg_flo_packages.XXXXXX)
# shellcheck disable=SC2086
trap 'for m in $mounted; do umount "$m"; done; rm -rf "$work"' EXIT

version=$(sed -nE '1s/.*\((.*)-[^-]*\).*/\1/p' "$TOP/debian/changelog")
for suite in "$@"; do
	say "$suite: a root that builds"
	bare_root "$suite"
	build=$work/$suite.build
	new_root "$suite" "$build"
	inside "$build" apt-get -qq -y --no-install-recommends install build-essential dpkg-dev lintian >"$work/log" 2>&1 ||
		{ tail -20 "$work/log"; die "apt failed"; }
	mkdir "$build/src"
	git -C "$TOP" archive --prefix="pg-flo-$version/" HEAD | tar -x -C "$build/src"
	src=/src/pg-flo-$version
	inside "$build" apt-get -qq -y --no-install-recommends build-dep "$src" >"$work/log" 2>&1 ||
		{ tail -20 "$work/log"; die "apt failed"; }
	inside "$build" sh -c "cd $src && pg_buildext updatecontrol && dpkg-buildpackage -us -uc -b" >"$work/log" 2>&1 ||
		{ tail -40 "$work/log"; die "dpkg-buildpackage failed"; }
	inside "$build" sh -c 'lintian --fail-on error --allow-root /src/*.changes' || die "lintian has errors"
	rm -rf "${out:?}/$suite"
	mkdir -p "$out/$suite"
	cp "$build"/src/*.deb "$build"/src/*.buildinfo "$out/$suite/"

	say "$suite: a root without a compiler"
	run=$work/$suite.run
	new_root "$suite" "$run"
	mkdir "$run/packages"
	cp "$out/$suite"/*.deb "$run/packages/"
	rm "$run"/packages/*-dbgsym_*
	inside "$run" sh -c 'apt-get -qq -y --no-install-recommends install /packages/*.deb nats-server' >"$work/log" 2>&1 ||
		{ tail -20 "$work/log"; die "the packages cannot be installed"; }
	inside "$run" sh -c '! command -v gcc' || die "there is a compiler after all"
	cp -R "$TOP/debian/tests" "$run/tests"
	inside "$run" /tests/smoke || die "the installed packages do not work"
	(cd "$out/$suite" && ls -l -- *.deb)
done
