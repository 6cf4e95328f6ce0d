#!/bin/bash
# make power: machines that lose power, as root and where there are loop devices and
# mkfs.xfs (xfsprogs); SECONDS= and SEED= as in make torture.
#
# Each machine of t/04b_power_devices.pl (source, destination, broker) has an ext4 file system
# of its own in an image, and the images lie in an XFS file system, which makes a copy of one
# in an instant (reflink).  To lose power is: all processes of the machine are stopped
# (SIGSTOP), then its image is copied, then they are killed; the copy is mounted in place of
# the image.  It has what the file system had given to its device by then, flushed or not,
# and nothing of what was in the page cache: fsync alone makes a write stand.  What a disk
# with a volatile cache of its own would lose beyond that (writes that were given to it and
# not flushed) is not lost here.
#
# The test asks for that through two pipes: "copy NAME..." and "replace NAME...".
set -u
. "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || die "make power mounts file systems and needs root"
command -v mkfs.xfs >/dev/null || die "make power needs mkfs.xfs (xfsprogs)"

# The images' own writes are as fast as memory where they can lie there
room=/dev/shm
[ -d $room ] && [ "$(df --output=avail -m $room | tail -1)" -gt 6000 ] || room=${TMPDIR:-/tmp}
dir=$(server_tmpdir pg_flo_power)
carrier=$(mktemp "$room/pg_flo_power.XXXXXX")
machines="source dest broker"

clean_up()
{
	local machine

	[ -z "${server:-}" ] || kill "$server" 2>/dev/null
	for machine in $machines; do umount -l "$dir/$machine" 2>/dev/null; done
	umount -l "$dir/carrier" 2>/dev/null
	rm -rf "$dir" "$carrier"
}
trap clean_up EXIT

set -e
truncate -s 6G "$carrier"
mkfs.xfs -q -m reflink=1 "$carrier"
mkdir "$dir/carrier"
mount -o loop "$carrier" "$dir/carrier"
for machine in $machines; do
	truncate -s 1500M "$dir/carrier/$machine.img"
	mkfs.ext4 -q "$dir/carrier/$machine.img"
	mkdir "$dir/$machine"
	mount -o loop "$dir/carrier/$machine.img" "$dir/$machine"
	chown "$(server_user)" "$dir/$machine"
done
mkfifo "$dir/requests" "$dir/answers"
chown "$(server_user)" "$dir/requests" "$dir/answers"
set +e

copy() { cp --reflink=always "$dir/carrier/$1.img" "$dir/carrier/$1.next"; }

# The killed processes have let go of it, or are about to
replace()
{
	local i

	for i in $(seq 50); do
		umount "$dir/$1" 2>/dev/null && break
		sleep 0.1		# sleeps: between two attempts
	done
	mv "$dir/carrier/$1.next" "$dir/carrier/$1.img" && mount -o loop "$dir/carrier/$1.img" "$dir/$1"
}

serve()
{
	local request machine answer

	while read -r request; do
		answer=done
		for machine in ${request#* }; do
			"${request%% *}" "$machine" || answer="failed: $request"
		done
		echo "$answer" >&4
	done
}
exec 3<>"$dir/requests" 4<>"$dir/answers"
serve <&3 &
server=$!

FLO_TEST_ENV="FLO_FILE_SECONDS=0 FLO_POWER=$dir FLO_POWER_SECONDS=${SECONDS_TO_RUN:-120} FLO_POWER_SEED=${SEED:-}" \
	"$TOP/.ci/test.sh" 04b_power_devices
