#!/bin/bash
# Where the time of a lone transaction goes: every step from its commit at the source
# until it can be seen at the destination, by probes in the running processes.
#
#	bench/latency.sh [rate=200] [transactions=1600] [systems=native,pg_flo] [first=no]
#
# As root, since it needs perf with probes.  A probe costs a microsecond or two, which
# all steps that lie between two of them bear.  first=yes gives all processes that are
# measured a real-time priority, for a machine that does other work as well.
set -u
. "$(cd "$(dirname "$0")/../.ci" && pwd)/common.sh"
[ "$(id -u)" = 0 ] || die "bench/latency.sh needs root, for perf"
command -v perf >/dev/null || die "bench/latency.sh needs perf"

exchange=$(server_tmpdir pg_flo_latency)
server=$(pg_bindir)/postgres
trap 'perf probe -q -d "flo_lat:*" 2>/dev/null; rm -rf "$exchange"' EXIT
for function in ProcArrayEndTransaction LogicalDecodingProcessRecord; do
	perf probe -q -f -x "$server" --add "flo_lat:$function=$function" || exit 1
done
events=flo_lat:ProcArrayEndTransaction,flo_lat:LogicalDecodingProcessRecord
for call in exit_fdatasync enter_sendto exit_recvfrom enter_writev exit_read enter_pwrite64 exit_epoll_wait; do
	events=$events,syscalls:sys_$call
done

# latency.pl says which processes, and for how long; what was recorded it gets as text
serve()
{
	while true; do
		until [ -f "$exchange/asked" ]; do sleep 0.05; done
		read -r seconds first processes < "$exchange/asked"
		rm "$exchange/asked"
		for pid in $processes; do
			[ "$first" = yes ] && chrt -a -f -p 1 "$pid"
		done
		perf record -q -m 1024 -k mono -o "$exchange/data" -e "$events" -p "${processes// /,}" -- \
			sleep "$seconds" 2>"$exchange/log" || cat "$exchange/log" >&2
		perf script -i "$exchange/data" -F tid,time,event,trace --ns 2>/dev/null > "$exchange/text"
		mv "$exchange/text" "$exchange/answer"
	done
}
serve &
server_pid=$!
"$TOP/bench/run.sh" latency.pl "exchange=$exchange" "$@"
status=$?
kill $server_pid
exit $status
