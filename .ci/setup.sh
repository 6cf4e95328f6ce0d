#!/bin/bash
# Install what pg_flo needs and this machine lacks: setup.sh [run] [test] [core] [lint] [fuzz] [roots]
#
#	run		compiler, PostgreSQL server and its headers, NATS library and server
#	test	what the TAP tests need on top; Prometheus is not installed for it (monitoring.sh)
#	kafka	what a broker of Kafka, and reading from it, needs on top (test-kafka)
#	search	what a search service needs on top (test-search)
#	core	what unpacks the server's source on top
#	roots	what makes roots of other releases (test-versions)
#	lint	clang, cppcheck and pgindent on top
#	fuzz	clang with its sanitizers and libFuzzer on top
#
# Asks for capabilities, not for packages: whoever built PostgreSQL or NATS from
# source needs nothing from here.  Only Debian and Ubuntu are known to it; on
# anything else it lists what is missing.  Changes nothing when nothing is.
set -u
. "$(dirname "$0")/common.sh"

MIN_MAJOR=15
MAX_MAJOR=18	# of those that are installed; later ones are tried before their release
TRIED_MAJOR=19
MIN_NATS_SERVER=2.9
MIN_NATS_C=3.4.1

want() { case " $WANTED " in *" $1 "*) return 0 ;; esac; return 1; }
WANTED="run $*"

have_command() { command -v "$1" >/dev/null; }

have_pgxs()
{
	local pgxs
	pgxs=$("$PG_CONFIG" --pgxs 2>/dev/null) && [ -f "$pgxs" ] && [ -f "$("$PG_CONFIG" --includedir-server)/postgres.h" ]
}

pg_major() { "$PG_CONFIG" --version 2>/dev/null | sed -nE 's/^PostgreSQL ([0-9]+).*/\1/p'; }

have_header()
{
	have_command "${CC:-cc}" && printf '#define PCRE2_CODE_UNIT_WIDTH 8\n#include <%s>\n' "$1" | "${CC:-cc}" -E -x c - >/dev/null 2>&1
}

# Of clang, or of the one that "clang" will be
clang_major()
{
	local major
	major=$(clang -dumpversion 2>/dev/null | cut -d. -f1)
	[ -n "$major" ] || major=$(apt-cache depends clang 2>/dev/null | sed -nE 's/.*Depends: clang-([0-9]+)$/\1/p' | head -1)
	echo "${major:-14}"
}

have_fuzzer() { have_command clang && [ -f "$(clang -print-file-name="libclang_rt.fuzzer_no_main-$(uname -m).a")" ]; }
have_symbolizer() { have_command llvm-symbolizer || have_command "llvm-symbolizer-$(clang_major)"; }

# The newest supported PostgreSQL of which server and headers can be installed
newest_major()
{
	local n
	for n in $(seq $MAX_MAJOR -1 $MIN_MAJOR); do
		if apt-cache show "postgresql-server-dev-$n" >/dev/null 2>&1 &&
			apt-cache show "postgresql-$n" >/dev/null 2>&1; then
			echo "$n"
			return 0
		fi
	done
	return 1
}

# Prints the packages that are missing; needs apt's lists only when there is no
# pg_config that says which PostgreSQL it is to be.
missing_packages()
{
	local major

	have_command gcc || echo gcc libc6-dev
	have_command make || echo make
	have_header stdio.h || echo libc6-dev

	major=$(pg_major)
	if have_pgxs; then
		[ -x "$("$PG_CONFIG" --bindir)/postgres" ] || echo "postgresql-$major"
	elif [ -n "$major" ] && apt-cache show "postgresql-server-dev-$major" >/dev/null 2>&1; then
		echo "postgresql-$major postgresql-server-dev-$major"
	else
		major=$(newest_major) || major=N
		echo "postgresql-$major postgresql-server-dev-$major"
	fi

	have_header nats.h || have_header nats/nats.h || echo libnats-dev
	have_header curl/curl.h || echo libcurl4-openssl-dev
	have_header pcre2.h || echo libpcre2-dev
	have_header lz4.h || echo liblz4-dev
	have_command nats-server || [ -x /usr/sbin/nats-server ] || echo nats-server

	if want test; then
		have_command prove || echo perl
		perl -MIPC::Run -e 1 2>/dev/null || echo libipc-run-perl
	fi
	if want test || want lint || want kafka; then
		# optional: what is not there is not built
		have_header librdkafka/rdkafka.h || ! can_root || ! apt-cache show librdkafka-dev >/dev/null 2>&1 || echo librdkafka-dev
	fi
	if want kafka; then
		have_command kcat || echo kcat
	fi
	if want kafka || want search; then
		have_command mvn || echo maven
		have_command javac || echo default-jdk-headless
	fi
	if want roots; then
		have_command debootstrap || echo debootstrap
	fi
	if want core; then
		have_command bzip2 || echo bzip2
		have_command xz || echo xz-utils
	fi
	if want lint || want fuzz; then
		have_command clang || echo clang
		have_fuzzer || echo "libclang-rt-$(clang_major)-dev"
	fi
	if want fuzz; then
		have_symbolizer || echo "llvm-$(clang_major)"
	fi
	if want lint; then
		have_command cppcheck || echo cppcheck
		have_command spin || echo spin
	fi
}

missing=$(missing_packages)
if [ -n "$missing" ]; then
	have_command apt-get ||
		die "missing here, by their Debian names: $(echo $missing). Install them and run this again."
	can_root ||
		die "missing: $(echo $missing). Run this as root, or with a sudo that asks for no password."

	apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" </dev/null; }
	apt -qq update || say "apt-get update failed; going on with the lists that are here"
	missing=$(echo $(missing_packages))
	say "installing: $missing"
	log=$(mktemp) || exit 1
	# shellcheck disable=SC2086
	apt -qq -y --no-install-recommends install $missing >"$log" 2>&1 || {
		tail -20 "$log" >&2
		rm -f "$log"
		die "apt could not install: $missing"
	}
	rm -f "$log"
	hash -r
fi

if want test; then
	# elsewhere the test of the metrics says that it was skipped
	"$(dirname "$0")/monitoring.sh" || [ "${CI:-}" != true ] || exit 1
fi

if want lint; then
	"$(dirname "$0")/indent.sh" --fetch || [ "${CI:-}" = true ] || exit 1	# lint says that it could not look
fi

have_pgxs || die "\"$PG_CONFIG --pgxs\" names no existing file even now: set PG_CONFIG"
major=$(pg_major)
[ "$major" -ge $MIN_MAJOR ] && [ "$major" -le $TRIED_MAJOR ] ||
	die "PostgreSQL $major is not supported (only $MIN_MAJOR to $MAX_MAJOR): set PG_CONFIG"

# at_least WANTED FOUND, both with dots
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$1" ]; }

nats_server=$(PATH="$PATH:/usr/sbin:/usr/local/sbin" nats-server --version | sed 's/[^0-9]*//')
at_least $MIN_NATS_SERVER "$nats_server" || die "nats-server $nats_server is too old: $MIN_NATS_SERVER or later is needed"
if have_header nats/version.h; then
	nats_c=$(printf '#include <nats/version.h>\nNATS_VERSION_STRING\n' | ${CC:-cc} -E -P -x c - | tail -1 | tr -d '" ')
	at_least $MIN_NATS_C "$nats_c" || die "nats.c $nats_c is too old: $MIN_NATS_C or later is needed"
fi
exit 0
