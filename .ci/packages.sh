#!/bin/bash
# Debian packages, made in a bare root and tried in another one: packages.sh [SUITE]...
#
# For each suite (default: the one of this machine) debootstrap makes a root, once;
# a copy of it gets what builds packages, another what runs them.  In the first
# dpkg-buildpackage runs and lintian looks at the result; in the second, which has no
# compiler, the packages are installed and debian/tests/smoke is run.
#
#	FLO_ROOTS	where the roots are kept, and more: roots.sh
set -eu
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/roots.sh"
out=$TOP/tmp_packages

need_roots
[ $# -gt 0 ] || set -- "$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)"

work=$(mktemp -d /var/tmp/pg_flo_packages.XXXXXX)
trap 'unmount_all; rm -rf "$work"' EXIT

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
