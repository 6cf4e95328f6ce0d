# Shared by the scripts in this folder and in bench/; sourced, never run.
#
# After flo_common: TOP is the checkout, MAKE and PG_CONFIG are usable names,
# and as_root / as_server run a command as root and as the user that servers
# run as.  PostgreSQL refuses to run as root, so for root that is another user,
# who may not be able to read the checkout: everything it needs is copied.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
MAKE=${MAKE:-make}
PG_CONFIG=${PG_CONFIG:-pg_config}
export LC_ALL=C

die() { echo "pg_flo: $*" >&2; exit 1; }
say() { echo "# $*"; }

# True when as_root will work without asking anybody anything, or when there is
# a terminal on which sudo can ask.
can_root()
{
	[ "$(id -u)" = 0 ] && return 0
	command -v sudo >/dev/null || return 1
	sudo -n true 2>/dev/null && return 0
	[ -t 0 ] && [ -z "${CI:-}" ]
}

as_root()
{
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# The user servers run as: oneself, unless one is root; who came through sudo
# can reach the checkout more likely than anybody else
server_user()
{
	if [ "$(id -u)" != 0 ]; then id -un
	elif [ -n "${FLO_SERVER_USER:-}" ]; then echo "$FLO_SERVER_USER"
	elif [ "${SUDO_USER:-root}" != root ] && id "$SUDO_USER" >/dev/null 2>&1; then echo "$SUDO_USER"
	elif id postgres >/dev/null 2>&1; then echo postgres
	else echo nobody
	fi
}

as_server()
{
	if [ "$(id -u)" = 0 ]; then
		(cd / && runuser -u "$(server_user)" -- "$@")
	else
		"$@"
	fi
}

# A new folder the server user owns and can reach: not below the checkout,
# which may lie in somebody's closed home.
server_tmpdir()
{
	local dir
	dir=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX") || exit 1
	chmod 755 "$dir"
	[ "$(id -u)" = 0 ] && chown "$(server_user)" "$dir"
	echo "$dir"
}

pg_bindir() { "$PG_CONFIG" --bindir; }
pg_pkglibdir() { "$PG_CONFIG" --pkglibdir; }

# PostgreSQL::Test::Cluster and friends, as installed by the server's -dev package
pg_perl_lib() { echo "$(dirname "$("$PG_CONFIG" --pgxs)")/../test/perl"; }

# Are these files of the checkout the installed ones?
same_files()
{
	local file there
	for file in "$@"; do
		case $file in
			*.so) there=$(pg_pkglibdir) ;;
			*) there=$("$PG_CONFIG" --sharedir)/extension ;;
		esac
		cmp -s "$TOP/$file" "$there/$(basename "$file")" ||
			die "$file of this checkout is not the one installed in $there, and neither that folder nor sudo can be used: run \"make install\" as somebody who may"
	done
}

# Build in the checkout and install, with sudo where that is needed.  When
# nothing may be installed here, the installed modules must be these ones.
build_and_install()
{
	# what can be seen before the build is
	[ -w "$(pg_pkglibdir)" ] || can_root || same_files pg_flo.control
	"$MAKE" -C "$TOP" PG_CONFIG="$PG_CONFIG" all || die "the build failed"
	if [ -w "$(pg_pkglibdir)" ] || can_root; then
		if [ -w "$(pg_pkglibdir)" ]; then
			"$MAKE" -C "$TOP" PG_CONFIG="$PG_CONFIG" install || die "make install failed"
		else
			as_root "$MAKE" -C "$TOP" PG_CONFIG="$PG_CONFIG" install || die "make install failed"
		fi
	else
		same_files pg_flo.so pg_flo_bus.so pg_flo_http.so $(cd "$TOP" && ls pg_flo_kafka.so 2>/dev/null) pg_flo.control $(cd "$TOP" && ls pg_flo--*.sql)
	fi
}

# A copy of the server below a folder, in which modules can be installed that
# no other server must load: prints its pg_config.  The server finds its files
# by the way from its own program to them, so only programs are copied.
private_server()
{
	local root=$1 dir
	mkdir -p "$root$(pg_bindir)"
	cp -R "$(pg_bindir)/." "$root$(pg_bindir)/"
	for dir in --pkglibdir --sharedir; do
		dir=$("$PG_CONFIG" $dir)
		mkdir -p "$root$dir"
		cp -Rsf "$(realpath "$dir")/." "$root$dir/"
	done
	dir=$("$PG_CONFIG" --includedir)
	mkdir -p "$root$(dirname "$dir")"
	ln -sfn "$dir" "$root$dir"
	echo "$root$(pg_bindir)/pg_config"
}

# The source of pg_flo 0.1, of which upgrades are tried: it is in the history of a clone only
former_source()		# FOLDER
{
	local commit=fe77c9dc6ec09df2abddbeeaca4cbb99d6ad9172
	git -C "$TOP" -c safe.directory="$TOP" cat-file -e "$commit^{commit}" 2>/dev/null || return 1
	rm -rf "$1"
	mkdir -p "$1"
	git -C "$TOP" -c safe.directory="$TOP" archive "$commit" | tar -x -C "$1"
}

# An apt of one's own: private_apt FOLDER SOURCES_LINE... makes its configuration, for
# which nothing is installed and only those archives exist; own_apt FOLDER
# COMMAND... is apt-get with it, in FOLDER/download.  Nothing of the machine changes.
private_apt()
{
	local folder=$1
	shift
	mkdir -p "$folder/parts" "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/download"
	printf '%s\n' "$@" >"$folder/parts/own.list"
}

own_apt()
{
	local folder=$1
	shift
	(cd "$folder/download" && apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$folder/parts" \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Status=/dev/null \
		-o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder/cache" -o Acquire::Retries=3 \
		-o APT::Sandbox::User="$(id -un)" "$@")
}
