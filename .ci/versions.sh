#!/bin/bash
# The tests with other releases of PostgreSQL: versions.sh VERSION... (15 to 18)
#
#	make test-versions VERSIONS="16 17 18"			everything in each
#	make test-versions VERSIONS=17 TESTS="020_types rules"
#
# For each version debootstrap makes a bare root of a Debian or Ubuntu release that has
# it, once; a copy of that gets what the README says that one needs, by the same set-up,
# and is kept, too.  The checkout's files are copied in, built there with warnings as errors and
# tested by "make test".  Ends with a line for each version.
#
# Ends with status 75 where no such root can be made: no right to, or no archive.
#
#	FLO_ROOTS	where the roots are kept (roots.sh)
#	TESTS		names as for make test; all without it.  JOBS and AGAIN likewise
set -u
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/roots.sh"

(need_roots) || exit 75
[ $# -gt 0 ] || set -- 16 17 18
trap unmount_all EXIT

suite_of()
{
	case $1 in
		15) echo bookworm ;;
		16) echo noble ;;
		17) echo trixie ;;
		18) echo forky ;;
		*) die "no release is known that has PostgreSQL $1" ;;
	esac
}

# The root of a release with everything that building and testing take
ready_root()		# SUITE
{
	local root=$roots/$1.tests
	if [ -e "$root.ok" ]; then
		mount_in "$root"
	else
		bare_root "$1" && new_root "$1" "$root" &&
			inside "$root" apt-get -qq -y --no-install-recommends install ca-certificates make procps psmisc >"$root.log" 2>&1 || return 1
	fi
	copy_checkout "$root"
	inside "$root" sh -c 'cd /pg_flo && .ci/setup.sh test' >>"$root.log" 2>&1 || return 1
	touch "$root.ok"
}

# What is in the folder now, but for what git does not keep
copy_checkout()		# ROOT
{
	rm -rf "$1/pg_flo"
	mkdir "$1/pg_flo"
	git -C "$TOP" ls-files -z --cached --others --exclude-standard |
		(cd "$TOP" && tar --null --ignore-failed-read -c -T -) 2>/dev/null | tar -x -C "$1/pg_flo"
}

summary=
failed=0
for version in "$@"; do
	suite=$(suite_of "$version") || exit 1
	say "PostgreSQL $version, in a root of $suite"
	root=$roots/$suite.tests
	if ! ready_root "$suite"; then
		[ ! -e "$root.log" ] || tail -20 "$root.log"
		echo "pg_flo: no root of $suite: $root.log" >&2
		exit 75
	fi
	log=$roots/$suite.tests.out
	# shellcheck disable=SC2016
	inside "$root" sh -c 'cd /pg_flo && FLO_NO_SETUP=1 make test COPT="-O1 -Werror" TESTS="$1" JOBS="$2" AGAIN="$3"' sh \
		"${TESTS:-}" "${JOBS:-}" "${AGAIN:-}" 2>&1 | tee "$log"
	[ "${PIPESTATUS[0]}" = 0 ] || failed=1
	server="$(inside "$root" pg_config --version), $(inside "$root" nats-server --version)"
	summary="$summary$server: $(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -1)
"
	unmount_all
done
printf '%s' "$summary"
exit $failed
