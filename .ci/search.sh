#!/bin/bash
# make test-search: t/076_search_node.pl with a real OpenSearch node, which the tools at
# FLO_TOOLS (../shared/tools beside the checkout) fetch and start.  Without them,
# without Java or Maven it is skipped, and says so.
set -eu
cd "$(dirname "$0")/.."
tools=${FLO_TOOLS:-$PWD/../shared/tools}

skip()
{
	echo "make test-search: SKIPPED: $1" >&2
	exit 0
}

[ -x "$tools/opensearch.sh" ] || skip "no opensearch.sh in $tools (FLO_TOOLS says where)"
command -v java >/dev/null || skip "no java"
command -v mvn >/dev/null || skip "no mvn"
"$tools/opensearch.sh" fetch || skip "OpenSearch cannot be fetched"

dir=$(mktemp -d)
trap '"$tools/opensearch.sh" stop "$dir" >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport')
url=$("$tools/opensearch.sh" start "$dir" "$port")
FLO_TEST_ENV="FLO_SEARCH_URL=$url" .ci/test.sh 076_search_node
