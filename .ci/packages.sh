#!/bin/bash
# What is shipped, made in bare roots and tried in others: packages.sh [SUITE]...
#
# For each suite (default: the one of this machine) debootstrap makes a root, once.  In
# one that gets what builds packages dpkg-buildpackage makes the source and the packages;
# lintian finds no error; the SQL tests pass with them installed.  In that of the first
# suite
#
#   - a second build, in another folder, has the same result to the bit,
#   - rpmbuild makes its packages of what PGXN takes (make dist): it builds, and the
#     %files of the specification are all that is installed.
#
# In another one, which has no compiler, pg_flo 0.1 is installed, if this is a clone that
# has its source, clusters are made with it and upgraded to the packages, as
# debian/tests/smoke does.  Packages, and a summary of them, are in tmp_packages/.
#
#	FLO_ROOTS	where the roots are kept, and more: roots.sh
#	DEB_BUILD_OPTIONS	noopt for a quick look
set -eu
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/roots.sh"
out=$TOP/tmp_packages
jobs=$(nproc)

need_roots
[ $# -gt 0 ] || set -- "$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)"

work=$(mktemp -d /var/tmp/pg_flo_packages.XXXXXX)
trap 'unmount_all; rm -rf "$work"' EXIT

version=$(sed -nE '1s/.*\((.*)-[^-]*\).*/\1/p' "$TOP/debian/changelog")

# What does not work is shown by the end of its output
quietly()		# WHAT COMMAND...
{
	local what=$1
	shift
	"$@" >"$work/log" 2>&1 || { tail -40 "$work/log"; die "$what"; }
}

install_in() { local root=$1; shift; quietly "apt failed" inside "$root" apt-get -qq -y --no-install-recommends "$@"; }

# The last commit, as whoever makes packages gets it
unpack()		# FOLDER
{
	mkdir -p "$1/pg-flo-$version"
	git -C "$TOP" archive HEAD | tar -x -C "$1/pg-flo-$version"
	tar -c --exclude=debian --sort=name --mtime=@0 --owner=0 --group=0 -C "$1" "pg-flo-$version" | gzip -n >"$1/pg-flo_$version.orig.tar.gz"
}

# The root that builds is kept for the next time
building_root()		# SUITE
{
	build=$roots/$1.build
	if [ -e "$build.ok" ]; then
		mount_in "$build"
		inside "$build" apt-get -qq update
	else
		bare_root "$1"
		new_root "$1" "$build"
	fi
	rm -rf "$build/one" "$build/other" "$build/former" "$build/rpm"
	unpack "$build/one"
	unpack "$build/other/longer/folder"
	install_in "$build" install build-essential dpkg-dev lintian rpm unzip
	install_in "$build" build-dep "/one/pg-flo-$version"
	touch "$build.ok"
}

build_packages()	# FOLDER WORDS_OF_ENVIRONMENT...
{
	local folder="$1/pg-flo-$version"
	shift
	quietly "dpkg-buildpackage failed in $folder" inside "$build" \
		env "$@" DEB_BUILD_OPTIONS="parallel=$jobs nocheck ${DEB_BUILD_OPTIONS:-}" MAKEFLAGS="-j$jobs" \
		sh -c 'cd "$0" && pg_buildext updatecontrol && dpkg-buildpackage -us -uc' "$folder"
}

same_packages()
{
	local package
	for package in "$build"/one/*.deb; do
		cmp "$package" "$build/other/longer/folder/$(basename "$package")" || die "a package depends on where it was made"
	done
}

# pg_flo 0.1 had no packages: its files, made in haste, with what those of today depend on
former_package()	# PACKAGE
{
	local root=/former/root
	quietly "pg_flo 0.1 could not be built" inside "$build" sh -c "cd /former && make -s -j$jobs COPT='-w -O0' install DESTDIR=$root"
	mkdir "$build$root/DEBIAN"
	dpkg-deb -f "$1" Package Architecture Maintainer Depends Description >"$build$root/DEBIAN/control"
	echo "Version: 0.1-1" >>"$build$root/DEBIAN/control"
	quietly "pg_flo 0.1 could not be packed" inside "$build" dpkg-deb -b $root /former/
	echo "$build"/former/*.deb
}

rpm_packages()
{
	local archive pgmajor
	archive=$TOP/pg_flo-$version.0.zip
	quietly "make dist failed" "$MAKE" -s -C "$TOP" dist
	pgmajor=$(inside "$build" sh -c "cd /one/pg-flo-$version && pg_buildext supported-versions" | head -1)
	mkdir -p "$build/rpm/SOURCES"
	mv "$archive" "$build/rpm/SOURCES/"
	cp "$TOP/contrib/rpm/pg_flo.spec" "$build/rpm/"
	# what it requires is here by other names
	quietly "rpmbuild failed" inside "$build" rpmbuild -ba --nodeps --define '_topdir /rpm' --define "_smp_mflags -j$jobs" \
		--define "pgmajor $pgmajor" --define "pgconfig /usr/lib/postgresql/$pgmajor/bin/pg_config" /rpm/pg_flo.spec
	find "$build/rpm/SOURCES" "$build"/rpm/*RPMS -type f -exec cp {} "$out/" \;
}

rm -rf "${out:?}"
mkdir -p "$out"
for suite in "$@"; do
	say "$suite: a root that builds"
	building_root "$suite"
	perl "$TOP/.ci/meta.pl" || die "files of the release do not fit"
	build_packages /one TZ=UTC
	inside "$build" sh -c 'lintian --fail-on error --allow-root /one/*.changes' || die "lintian has errors"
	mkdir -p "$out/$suite"
	cp "$build"/one/*.deb "$build"/one/*.dsc "$build"/one/*.tar.* "$build"/one/*.buildinfo "$build"/one/*.changes "$out/$suite/"
	if [ "$suite" = "$1" ]; then
		build_packages "/other/longer/folder" TZ=Asia/Tokyo LC_ALL=C LANGUAGE=de USER=somebody
		same_packages
		rpm_packages
	fi

	say "$suite: a root without a compiler"
	run=$work/$suite.run
	new_root "$suite" "$run"
	mkdir "$run/packages" "$run/former"
	cp "$out/$suite"/*.deb "$run/packages/"
	rm "$run"/packages/*-dbgsym_*
	if former_source "$build/former"; then
		cp "$(former_package "$(ls "$run"/packages/*-flo_*.deb)")" "$run/former/"
		install_in "$run" install "/former/$(ls "$run/former")" nats-server
	else
		say "without pg_flo 0.1, which is in the history of a clone only"
		install_in "$run" install $(cd "$run" && ls -d "$PWD"/packages/*.deb | sed "s,^$run,,") nats-server
	fi
	inside "$run" sh -c '! command -v gcc' || die "there is a compiler after all"
	cp -R "$TOP/debian/tests" "$run/tests"
	# shellcheck disable=SC2016
	inside "$run" sh -c '[ -z "$(ls /former)" ] || set -- /packages/*.deb; exec /tests/smoke "$@"' sh || die "the packages do not work"

	say "$suite: the SQL tests, with what is installed"
	inside "$build" sh -c "apt-get -qq -y install /one/*-flo_*.deb /one/*-kafka_*.deb" >/dev/null 2>&1 || die "apt failed"
	inside "$build" sh -c "cd /one/pg-flo-$version && debian/tests/installcheck" || die "SQL tests fail"
	inside "$build" sh -c "apt-get -qq -y purge 'postgresql-*-pg-flo'" >/dev/null 2>&1
	unmount_all
done

# --- what is in them ---------------------------------------------------------------

for package in "$out"/*/*.deb; do
	case $package in *-dbgsym_*) continue ;; esac
	echo "$(stat -c %s "$package") bytes: ${package#"$out"/}, $(dpkg-deb -f "$package" Installed-Size) kB installed"
	dpkg-deb -c "$package" | awk '$3 > 0 { print "  " $3 " " substr($6, 2) }'
done >"$out/summary"
ls -l "$out"/*.rpm "$out"/*.zip >>"$out/summary"
grep -v '^  ' "$out/summary"
