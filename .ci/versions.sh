#!/bin/bash
# The tests with other releases of PostgreSQL: versions.sh VERSION... (15 to 19)
#
#	make test-versions VERSIONS="16 17 18"			everything in each
#	make test-versions VERSIONS=17 TESTS="020_types rules"
#
# For each version debootstrap makes a bare root of a Debian or Ubuntu release that has
# it, once; a copy of that gets the server, by the same set-up whatever else the README
# says that one needs, and is kept, too.  The checkout's files are copied in, built there
# with warnings as errors and tested by "make test".  Ends with a line for each version.
#
# An older server of this machine, with pg_flo of this checkout and the libraries that the
# root lacks, goes to /opt/older there: t/095_mixed.pl and t/095_pg_upgrade.pl take both.
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
		19) echo experimental ;;
		*) die "no release is known that has PostgreSQL $1" ;;
	esac
}

# The root of a release with everything that building and testing with a server take
ready_root()		# SUITE VERSION
{
	local root=$roots/$1.tests
	if [ -e "$root.ok" ]; then
		mount_in "$root"
	else
		bare_root "$1" && new_root "$1" "$root" &&
			inside "$root" apt-get -qq -y --no-install-recommends install ca-certificates make procps psmisc \
				"postgresql-$2" "postgresql-server-dev-$2" >"$root.log" 2>&1 || return 1
	fi
	copy_checkout "$root"
	inside "$root" env PG_CONFIG="$(config_of "$2")" sh -c 'cd /pg_flo && .ci/setup.sh test' >>"$root.log" 2>&1 || return 1
	touch "$root.ok"
}

# Leaves in "older_env" the environment of tests that take the older server, too; nothing
# where that of this machine is not older
copy_older()		# ROOT VERSION
{
	local server library missing libraries=/opt/older/libraries
	rm -rf "$1/opt/older"
	[ "$("$PG_CONFIG" --version | sed -nE 's/^PostgreSQL ([0-9]+).*/\1/p')" -lt "$2" ] || return 0
	(MAKEFLAGS=-s build_and_install) >>"$1.log" 2>&1 || return 1
	server=$(private_server "$1/opt/older")
	server=${server#"$1"}
	server=${server%/bin/pg_config}
	# real files, as the root does not have what the links lead to
	for library in "$(pg_pkglibdir)" "$("$PG_CONFIG" --sharedir)"; do
		cp -RLf "$library/." "$1/opt/older$library/" --remove-destination
	done
	mkdir "$1$libraries"
	# those that libraries lack in turn, too
	while missing=$(lacking "$1" "$server" $libraries) && [ -n "$missing" ]; do
		for library in $missing; do
			cp -L "$(ldconfig -p | sed -n "s|.*$library .*=> ||p" | head -1)" "$1$libraries/" || return 1
		done
	done
	older_env="FLO_OLDER=$server LD_LIBRARY_PATH=$libraries"
}

lacking()			# ROOT SERVER LIBRARIES
{
	# shellcheck disable=SC2016
	inside "$1" env LD_LIBRARY_PATH="$3" sh -c 'for f in "$0"/bin/* "$0"/lib/*.so; do ldd "$f" 2>/dev/null; done' "$2" |
		sed -nE 's/^[[:space:]]*([^ ]*) => not found$/\1/p' | sort -u
}

# Of the servers that a root may have, the one that is meant
config_of()			# VERSION
{
	echo "/usr/lib/postgresql/$1/bin/pg_config"
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
	if ! ready_root "$suite" "$version"; then
		[ ! -e "$root.log" ] || tail -20 "$root.log"
		echo "pg_flo: no root of $suite: $root.log" >&2
		exit 75
	fi
	older_env=
	case ${TESTS:-095_} in
		*095_*) copy_older "$root" "$version" || say "tests with an older server are SKIPPED: $root.log" ;;
	esac
	log=$roots/$suite.tests.out
	config=$(config_of "$version")
	# shellcheck disable=SC2016
	inside "$root" env PG_CONFIG="$config" FLO_TEST_ENV="$older_env" sh -c 'cd /pg_flo && FLO_NO_SETUP=1 make test COPT="-O1 -Werror" TESTS="$1" JOBS="$2" AGAIN="$3"' sh \
		"${TESTS:-}" "${JOBS:-}" "${AGAIN:-}" 2>&1 | tee "$log"
	[ "${PIPESTATUS[0]}" = 0 ] || failed=1
	server="$(inside "$root" "$config" --version), $(inside "$root" nats-server --version)"
	summary="$summary$server: $(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -1)
"
	unmount_all
done
printf '%s' "$summary"
exit $failed
