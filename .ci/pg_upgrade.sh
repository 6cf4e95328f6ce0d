#!/bin/bash
# t/095_pg_upgrade.pl in a bare root of a newer Debian (17 in trixie, 18 in forky; see
# CONTRIBUTING.md), from the server of this machine.  As root:
#
#	.ci/pg_upgrade.sh ROOT
#
# The older server, with pg_flo of this checkout and what libraries the root lacks, is
# copied to opt/older there.  The root itself is only read.
set -eu
. "$(dirname "$0")/common.sh"

root=$1
[ -x "$root/usr/bin/pg_config" ] || { say "SKIPPED: no PostgreSQL in $root"; exit 0; }
MAKEFLAGS=-s build_and_install

work=$(server_tmpdir pg_flo_upgrade) || exit 1
trap 'umount "$work/root/proc" "$work/root/dev" 2>/dev/null; umount "$work/root"; rm -rf "$work"' EXIT
mkdir "$work/root" "$work/new" "$work/scratch"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/new,workdir=$work/scratch" "$work/root"
mount --bind /proc "$work/root/proc"
mount --bind /dev "$work/root/dev"

older=$(private_server "$work/root/opt/older")
older=${older#"$work/root"}
older=${older%/bin/pg_config}
# real files, as the root does not have what the links lead to
cp -RLf "$(pg_pkglibdir)/." "$work/root/opt/older$(pg_pkglibdir)/" --remove-destination
cp -RLf "$("$PG_CONFIG" --sharedir)/." "$work/root/opt/older$("$PG_CONFIG" --sharedir)/" --remove-destination
libraries=/opt/older/libraries
mkdir "$work/root$libraries"
lacking()
{
	chroot "$work/root" sh -c "for f in $older/bin/* $older/lib/*.so; do LD_LIBRARY_PATH=$libraries ldd \$f 2>/dev/null; done" |
		sed -n 's/^[[:space:]]*\([^ ]*\) => not found$/\1/p' | sort -u
}
for round in 1 2 3; do
	missing=$(lacking)
	[ -n "$missing" ] || break
	for library in $missing; do
		cp -L "$(ldconfig -p | sed -n "s|.*$library .*=> ||p" | head -1)" "$work/root$libraries/"
	done
done

mkdir "$work/root/root/pg_flo"
(cd "$TOP" && tar --exclude=./.git --exclude=./tmp_check --exclude='*.[od]' --exclude='*.so' --exclude=./.build_for -cf - .) |
	tar -x --no-same-owner -C "$work/root/root/pg_flo"
chroot "$work/root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin FLO_NO_SETUP=1 MAKEFLAGS="-s -j$(nproc)" \
	FLO_TEST_ENV="FLO_UPGRADE_FROM=$older LD_LIBRARY_PATH=$libraries" /root/pg_flo/.ci/test.sh 095_pg_upgrade
