#!/bin/bash
# make model: the protocol as it is must hold, and must fail without any one of
# its rules.  As many runs at a time as there are CPUs.  Needs spin and gcc (Debian packages of those names).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
command -v spin >/dev/null || { echo "make model needs spin: apt-get install spin" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
runs=0

model=pipe.pml

# check holds|fails NAME SWITCH...
check()
{
	while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
	runs=$((runs + 1))
	mkdir "$work/$runs"
	(cd "$work/$runs" && run "$@") &
}

# One of them, in a folder of its own; it leaves a file "ok" there
run()
{
	want=$1 name=$2
	shift 2
	spin -a "$@" "$here/$model" >spin.out 2>&1 || { cat spin.out; return; }
	gcc -O2 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -o pan pan.c
	./pan -m200000 -w22 >pan.out 2>&1 || true
	states=$(sed -n 's/^ *\([0-9][0-9.e+]*\) states, stored.*/\1/p' pan.out)
	if grep -q 'errors: 0' pan.out && ! grep -qE 'max search depth too small|out of memory' pan.out; then got=holds; else got=fails; fi
	# a run that ended for want of room proves nothing
	grep -qE 'max search depth too small|out of memory' pan.out && got=unfinished
	if [ "$got" = "$want" ]; then
		touch ok
		echo "ok      $name: $got ($states states)"
	else
		echo "FAILED  $name: $got instead of $want ($states states)"
		grep -E '^pan|errors:' pan.out
	fi
}

check holds "a connection lost, a worker's crash" -DPURGE
check holds "two connections lost" -DPURGE -DLOSSES=2 -DCRASHES=0
check holds "heartbeats" -DPURGE -DHEARTBEATS=1
check holds "a refused publish" -DPURGE -DREFUSALS=1
check fails "without epochs (rules 3, 5)" -DWITHOUT_EPOCH -DLOSSES=1
check fails "without slow start (rule 4)" -DWITHOUT_SLOW_START -DLOSSES=1
check fails "without slack when purging (rule 16)" -DPURGE -DWITHOUT_SLACK -DLOSSES=2
check fails "heartbeats anywhere (rule 14)" -DHEARTBEAT_ANYWHERE -DHEARTBEATS=1
check holds "a transaction longer than the slack" -DPURGE -DEND2=4 -DW=1 -DLOSSES=0
check holds "a backlog: restarts with purging close behind" -DPURGE -DBACKLOG=4 -DW=1 -DLOSSES=0 -DCRASHES=2
check holds "a backlog of transactions longer than a message" -DPURGE -DBACKLOG=3 -DLENGTH=3 -DW=1 -DLOSSES=0 -DCRASHES=2
check holds "a backlog, W = 2" -DPURGE -DBACKLOG=4 -DW=2 -DLOSSES=0
check holds "a backlog, a connection lost, a restart" -DPURGE -DBACKLOG=3 -DW=1
check fails "a backlog entered only outside of transactions (rule 20)" -DPURGE -DBACKLOG=4 -DW=1 -DLOSSES=0 -DENTER_OUTSIDE
check fails "acknowledging half a transaction (rule 27)" -DPURGE -DEND2=4 -DW=1 -DLOSSES=0 -DACK_HALF
check fails "acknowledging before the flush (rule 27)" -DPURGE -DACK_UNFLUSHED

model=open.pml
check holds "pieces: a connection or the source lost, a worker's crash" -DW=1 -DWITHDRAWS=0
check holds "pieces: a withdrawal" -DW=1 -DLOSSES=0
check holds "pieces: the transaction is rolled back" -DW=1 -DABORTS -DCRASHES=0 -DWITHDRAWS=0
check holds "pieces: the broker forgets its newest message" -DW=1 -DFORGETS=1 -DWITHDRAWS=0 -DCRASHES=0 -DLOSSES=0
check holds "pieces: a small stream, with a budget" -DW=1 -DLONG -DLIMIT=7 -DBUDGET=3 -DWITHDRAWS=0 -DCRASHES=0
check fails "a piece moves the position (rule 41)" -DW=1 -DPIECE_MOVES -DWITHDRAWS=0
check fails "no way back to pieces (rule 43)" -DW=1 -DNO_BACK -DWITHDRAWS=0 -DLOSSES=0
check fails "pieces of two sessions together (rule 44)" -DW=1 -DAPPEND -DWITHDRAWS=0
check fails "pieces of a dead transaction kept (rule 44)" -DW=1 -DLONG -DLIMIT=7 -DBUDGET=3 -DWITHDRAWS=0 -DCRASHES=0 -DKEEP_OLD
check fails "pieces not counted (rule 44)" -DW=1 -DNO_COUNT -DNO_BACK -DWITHDRAWS=0 -DLOSSES=0
check fails "pieces not held (rule 45)" -DW=1 -DNO_HOLD -DWITHDRAWS=0 -DLOSSES=0
check fails "pieces held until the commit only (rule 45)" -DW=1 -DHOLD_TO_COMMIT -DWITHDRAWS=0 -DLOSSES=0
check fails "no budget (rule 46)" -DW=1 -DLONG -DLIMIT=7 -DNO_BUDGET -DWITHDRAWS=0 -DCRASHES=0 -DLOSSES=0

model=helper.pml
check holds "a helper applies before the commit"
check fails "no file behind the helper (rule 50)" -DNO_SPOOL
check fails "pieces handed over with a batch open (rule 51)" -DOPEN_BATCH
check fails "a commit without the origin (rule 52)" -DNO_ORIGIN
check fails "a position read before the origin is held (rule 52)" -DREAD_FIRST
check fails "the helper does not look at the position (rule 52)" -DNO_CHECK
check fails "a helper in the way that stays (rule 53)" -DNO_GIVE_UP

model=compare.pml
check holds "a comparison at a marker"
check fails "a batch open at the marker (rule 60)" -DOPEN_BATCH
check fails "a worker that goes on too early (rule 60)" -DNO_HANDSHAKE
check fails "a worker beyond the marker already (rule 60)" -DBEYOND
check fails "tables locked too late (rule 60)" -DLOCK_LATE
check fails "a reader that stays in the way (rule 61)" -DSTAY

model=cutover.pml
check holds "a cut-over"
check fails "the source opens by itself (rule 68)" -DUNDO_ALONE
check fails "the destination opens before all is in (rule 67)" -DOPEN_EARLY
check fails "\"cancelled\" is not final (rule 63)" -DUNFINAL
check fails "attempts without a number (rule 63)" -DNO_ID
check fails "the end read before the fence stands (rule 65)" -DFENCE_LATE
check fails "the way back made too late (rule 64)" -DSLOT_LATE
check fails "nobody may act alone (rule 69)" -DNO_FORCE
check fails "a standby without the fence (rule 70)" -DLOSE_F
model=cutover2.pml
check holds "a cut-over, there and back and there again"

wait
[ "$(find "$work" -name ok | wc -l)" = "$runs" ]
