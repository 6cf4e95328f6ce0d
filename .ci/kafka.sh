#!/bin/bash
# make test-kafka: the sink for Kafka against a real broker.
#
# It is started by kafka.sh of the tools beside the checkout (FLO_TOOLS says where
# else), which fetches it from Maven Central once.  Where something is missing for
# that, it says what, and that nothing was tested, and is no failure.
set -u
. "$(dirname "$0")/common.sh"

skip() { echo "SKIPPED: make test-kafka: $*"; exit 0; }

script=${FLO_TOOLS:-$TOP/../shared/tools}/kafka.sh
[ -f "$script" ] || skip "there is no $script (FLO_TOOLS says where it is)"
[ -n "${FLO_NO_SETUP:-}" ] || "$TOP/.ci/setup.sh" test kafka || skip "what it needs cannot be installed"
for command in mvn javac kcat; do
	command -v $command >/dev/null || skip "there is no $command"
done
"$MAKE" -s -C "$TOP" PG_CONFIG="$PG_CONFIG" has-kafka >/dev/null 2>&1 || skip "there is no librdkafka 2.0 or later with its headers"

# whoever runs the servers has to read it, which homes do not let everybody
if [ "$(id -u)" = 0 ]; then
	export TESTSERVERS_CACHE=${TESTSERVERS_CACHE:-/var/cache/pg_flo_testservers}
	mkdir -p "$TESTSERVERS_CACHE"
else
	export TESTSERVERS_CACHE=${TESTSERVERS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/testservers}
fi
bash "$script" fetch || skip "the broker cannot be fetched"

tools=$(server_tmpdir pg_flo_kafka) || exit 1
trap 'rm -rf "$tools"' EXIT
install -m 755 "$script" "$tools/kafka.sh"
FLO_NO_SETUP=1 FLO_TEST_ENV="FLO_KAFKA=$tools/kafka.sh TESTSERVERS_CACHE=$TESTSERVERS_CACHE" \
	"$TOP/.ci/test.sh" 077_kafka_broker
