#!/bin/bash
# make test-search: the sink for search services against a real OpenSearch node.
#
# It is started by opensearch.sh of the tools beside the checkout (FLO_TOOLS says where
# else), which fetches it from Maven Central once.  Where something is missing for
# that, it says what, and that nothing was tested, and is no failure.
set -u
. "$(dirname "$0")/common.sh"

skip() { echo "SKIPPED: make test-search: $*"; exit 0; }

script=${FLO_TOOLS:-$TOP/../shared/tools}/opensearch.sh
[ -f "$script" ] || skip "there is no $script (FLO_TOOLS says where it is)"
[ -n "${FLO_NO_SETUP:-}" ] || "$TOP/.ci/setup.sh" test search || skip "what it needs cannot be installed"
for command in mvn javac; do
	command -v $command >/dev/null || skip "there is no $command"
done
bash "$script" fetch || skip "the service cannot be fetched"

dir=$(mktemp -d)
trap 'bash "$script" stop "$dir" >/dev/null 2>&1; rm -rf "$dir"' EXIT
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport')
url=$(bash "$script" start "$dir" "$port") || exit 1
FLO_NO_SETUP=1 FLO_TEST_ENV="FLO_SEARCH_URL=$url" "$TOP/.ci/test.sh" 076_search_node
