# Bare roots of other releases, made by debootstrap and kept; sourced after common.sh.
#
#	FLO_ROOTS	where they are kept (default /var/cache/pg_flo-roots)
#	FLO_MIRROR	where Debian's packages are taken from
#	FLO_UBUNTU	the same for Ubuntu's

roots=${FLO_ROOTS:-/var/cache/pg_flo-roots}

need_roots()
{
	[ "$(id -u)" = 0 ] || die "this happens in roots of its own: run it as root"
	command -v debootstrap >/dev/null || die "debootstrap is missing"
}

debian=${FLO_MIRROR:-http://deb.debian.org/debian}

# "noble" is Ubuntu's, where Debian lacks a server version; all others are Debian's.
# "experimental" is sid, to which new_root adds the server that is not released yet.
bare_root()			# SUITE
{
	local script='' mirror=$debian components=main suite=$1
	[ -e "$roots/$1.ok" ] && return 0
	mkdir -p "$roots"
	rm -rf "${roots:?}/$1"
	case $1 in
		noble)
			mirror=${FLO_UBUNTU:-http://archive.ubuntu.com/ubuntu}
			components=main,universe
			;;
		experimental) suite=sid ;;
	esac
	[ -e "/usr/share/debootstrap/scripts/$suite" ] || script=/usr/share/debootstrap/scripts/$([ "$1" = noble ] && echo gutsy || echo sid)
	# shellcheck disable=SC2086
	debootstrap --variant=minbase --components="$components" "$suite" "$roots/$1" "$mirror" $script >"$roots/$1.log" 2>&1 ||
		die "debootstrap $1 failed: $roots/$1.log"
	touch "$roots/$1.ok"
}

inside()			# ROOT COMMAND...
{
	local root=$1
	shift
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive HOME=/root ${CI:+CI="$CI"} \
		chroot "$root" "$@" </dev/null
}

# The kernel's file systems of a root; unmount_all takes them away again at the end
mounted=
mount_in()			# ROOT
{
	mount -t proc proc "$1/proc"
	mounted="$mounted $1/proc"
	mount -t tmpfs tmpfs "$1/dev/shm"
	mounted="$mounted $1/dev/shm"
}

unmount_all()
{
	local m
	for m in $mounted; do umount "$m"; done
	mounted=
}

# A copy of a bare root, ready for apt
new_root()			# SUITE ROOT
{
	rm -rf "$2"
	cp -a "$roots/$1" "$2"
	mkdir -p "$2/dev/shm"
	mount_in "$2"
	# no server is started by being installed
	printf '#!/bin/sh\nexit 101\n' >"$2/usr/sbin/policy-rc.d"
	chmod 755 "$2/usr/sbin/policy-rc.d"
	# what a power loss would leave of a root is made anew
	mkdir -p "$2/etc/dpkg/dpkg.cfg.d"
	echo force-unsafe-io >"$2/etc/dpkg/dpkg.cfg.d/pg-flo"
	# a mirror that stands still will do; what it has is signed all the same
	printf '%s\n' 'Acquire::Check-Valid-Until "false";' 'Dpkg::Use-Pty "false";' >"$2/etc/apt/apt.conf.d/90pg-flo"
	if [ "$1" = experimental ]; then
		# of its packages the server's alone, with the libpq that goes with it
		echo "deb $debian experimental main" >"$2/etc/apt/sources.list.d/experimental.list"
		printf 'Package: src:postgresql-*\nPin: release a=experimental\nPin-Priority: 900\n' >"$2/etc/apt/preferences.d/experimental"
	fi
	inside "$2" apt-get -qq update
}
