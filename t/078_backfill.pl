
# flo.backfill(): the rows of a table once more for one worker of events, in
# stream order, exactly once in files whatever is killed, and nobody else waits.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloBackfill;
use FloEvents;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '200ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $root = PostgreSQL::Test::Utils::tempdir();

mkdir "$root/$_" for qw(a b some);
$source->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text, n int);
	CREATE TABLE other (id int PRIMARY KEY);
	CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
	CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
	INSERT INTO t SELECT i, repeat(md5(i::text), 46), i % 10 FROM generate_series(1, 800) i;
	INSERT INTO parted SELECT * FROM generate_series(1, 19);
});
create_group($source, undef, 'g');
create_event_worker($dest, 'g', 'file', 'a', { directory => "$root/a" });
create_event_worker($dest, 'g', 'file', 'b', { directory => "$root/b" });
create_event_worker($source, 'g', 'file', 'some', { directory => "$root/some", tables => ['other'] });

# --- rows, in order with changes, to one worker alone ---------------------------------

my $id = backfill($source, 't', 'a');
is(wait_done($source, $id, 'the first'), 'done', 'a backfill');
$source->safe_psql('postgres', q{UPDATE t SET v = 'after' WHERE id = 7});
wait_caught_up($source, $dest, 'g', member => 'a');
wait_caught_up($source, $dest, 'g', member => 'b');
my @events = file_events("$root/a");
are_exactly(\@events, 801, 'every row once, and the change');
is(snapshots("$root/a"), 800, 'rows of a backfill say that they are of a snapshot');
is(scalar(grep { $_->{Snapshot} && $_->{Type} ne 'INSERT' } @events), 0, 'and are INSERTs');
is($events[-1]->{Type}, 'UPDATE', 'a later change comes after them');
like($events[0]->{Id}, qr/^g-copy-\d+-\d+-\d+-\d+-\d+$/, 'their Ids are those of copied rows');
is($source->safe_psql('postgres',
		"SELECT rows_sent || ' ' || (lsn = '$events[0]->{CommitLSN}') FROM flo.backfills WHERE id = $id"),
	'800 true', 'what flo.backfills says of it');
is($_->safe_psql('postgres',
		q{SELECT DISTINCT table_name || ' ' || tuples_processed || ' ' || percent FROM flo.copy_progress}),
	'public.t 800 100.0', 'flo.copy_progress of ' . $_->name) for $source, $dest;
is(scalar(file_events("$root/b")), 1, 'another worker gets nothing');
is($source->safe_psql('postgres', q{SELECT phase FROM flo.copy_summary('g')}), 'complete', 'flo.copy_summary()');

# --- which rows ---------------------------------------------------------------------------

$source->safe_psql('postgres', q{
	CREATE FUNCTION is_odd(i int) RETURNS bool LANGUAGE plpgsql STABLE AS $$
	BEGIN RETURN EXISTS (SELECT FROM public.t WHERE id = i) AND i % 2 = 1; END$$});
for my $case (
	[ 't', 'n = 3', 80 ], [ 't', 'public.is_odd(id) AND n = 3', 80 ], [ 't', q{t.v = 'after'}, 1 ], [ 't', 'false', 0 ],
	[ 'parted', undef, 19 ], [ 'parted', 'id > 10', 9 ], [ 'other', undef, 0 ])
{
	my ($table, $where, $count) = @$case;
	my $before = snapshots("$root/a");
	is(wait_done($source, backfill($source, $table, 'a', $where), 'which rows'), 'done', "$table " . ($where // ''));
	is(snapshots("$root/a") - $before, $count, "$count of them");
	is($source->safe_psql('postgres', 'SELECT rows_sent FROM flo.backfills ORDER BY id DESC LIMIT 1'),
		$count, 'rows_sent');
}

# Code that a type of somebody's brings along, wherever values of it go, changes no setting of the process
$source->safe_psql('postgres', q{
	CREATE TYPE mood AS ENUM ('a', 'b');
	CREATE TABLE moods (id int PRIMARY KEY, x mood);
	INSERT INTO moods VALUES (1, 'a'), (2, 'b');
	CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE plpgsql STABLE AS $$
	DECLARE before text := current_setting('search_path');
	BEGIN PERFORM set_config('search_path', 'public', false); RETURN to_json(before); END$$;
	CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood)});
for my $where ('to_json(x)', q{to_json('a'::public.mood)})
{
	wait_done($source, backfill($source, 'moods', 'a', "($where)::text <> '\"public\"'"), $where);
	is($source->safe_psql('postgres', 'SELECT rows_sent FROM flo.backfills ORDER BY id DESC LIMIT 1'), '2',
		"$where changes nothing");
}

# --- what is refused ----------------------------------------------------------------------

sub refused
{
	my ($args, $state, $words, $before) = @_;
	my ($code, $out, $err) = $source->psql('postgres',
		"\\set VERBOSITY verbose\n" . ($before || '') . "; SELECT flo.backfill($args)");
	like($err, qr/\b$state: .*$words/s, "refused: $args");
}

create_copy_group($source, $dest, 'tables', tables => q{'{other}'}, wait => 0, sync_schema => 1);
wait_state($dest, 'tables', 'postgres', 'streaming');
refused(q{'none', 't', 'a'}, '42704', 'none');
refused(q{'g', 'none', 'a'}, '42P01', 'none');
refused(q{'g', 'pg_class', 'a'}, '42704', 'not in group');
refused(q{'g', 'parted_1', 'a'}, '42704', 'not in group');
refused(q{'g', 't', 'none'}, '42704', 'no worker "none"');
refused(q{NULL, 't', 'a'}, '22004', 'group_name');
refused(q{'g', NULL, 'a'}, '22004', 'table_name');
refused(q{'g', 't', NULL}, '22004', 'worker_name');
refused(q{'g', 't', 'a', 'none = 1'}, '42703', 'none');
refused(q{'g', 't', 'a', 'id = '}, '42601', 'syntax error');
refused(q{'g', 't', 'a', ''}, '42601', '');
refused(q{'g', 't', 'a', 'true; DROP TABLE t'}, '42601', '');
refused(q{'g', 't', 'a', 'id'}, '42804', 'boolean');
refused(q{'g', 't', 'a', 'id = 1 ORDER BY 1'}, '42601', 'not an SQL expression');
refused(q{'g', 't', 'a', 'id IN (SELECT 1)'}, '0A000', 'subquery');
refused(q{'g', 't', 'a', 'count(*) > 1'}, '42803', 'aggregate');
refused(q{'g', 't', 'a', 'random() > 0.5'}, '0A000', 'volatile');
refused(q{'g', 't', 'a', 'is_odd(id)'}, '42883', 'is_odd');
refused(q{'g', 't', 'a', $$xmin = '1'$$}, '0A000', 'system column');
refused(q{'tables', 'other', 'postgres'}, '0A000', 'writes to tables.*flo.resync');
$source->safe_psql('postgres', q{CREATE ROLE somebody LOGIN; GRANT USAGE ON SCHEMA flo TO somebody});
refused(q{'g', 't', 'a'}, '42501', '', 'SET ROLE somebody');
is(wait_done($source, backfill($source, 't', 'some'), 'a table that is left out'),
	q{failed: the worker's option tables leaves the table out}, 'a worker that leaves the table out says so');
like(wait_done($source, backfill($source, 't', 'a', '1 / (id - 5) > 0'), 'an error'), qr/^failed: .*division by zero/,
	'a condition that fails says why');
is($source->safe_psql('postgres', 'SET ROLE somebody; SELECT count(*) FROM flo.backfills'), '0',
	'conditions and errors, which have values in them, are not shown to everybody');
is(status_of($source, 'g', 'replicator', 'state'), 'streaming', 'the replicator streams on');

# --- everything else goes on ---------------------------------------------------------------

# A snapshot waits for a transaction that writes, and nobody waits for the snapshot
my $open = FloTest::Session->new($source);
$open->query('BEGIN; INSERT INTO other VALUES (1)');
$id = backfill($source, 't', 'a', 'n = 4');
await(sub { state_of($source, $id) =~ /^snapshot/ }, 'a snapshot to be waited for');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (2001, 'while it waits', 0)});
for my $worker (qw(a b))
{
	ok(await(sub { grep { /while it waits/ } file_lines("$root/$worker") }, "the row at $worker"),
		"worker $worker goes on meanwhile");
}
like(state_of($source, $id), qr/^snapshot: waits for write transactions/, 'the backfill waits');
$open->query('COMMIT');
is(wait_done($source, $id, 'the snapshot'), 'done', 'and comes when the transaction has ended');

# A worker that is stopped is waited for; those that are asked for after it wait, too
my $before = snapshots("$root/a");
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'a')});
wait_state($dest, 'g', 'a', 'stopped');
$id = backfill($source, 't', 'a', 'n = 5');
my $second = backfill($source, 't', 'a', 'n = 6');
my $third = backfill($source, 't', 'b', 'n = 7');
await(sub { state_of($source, $id) eq 'published' }, 'the first to be published');
is(state_of($source, $second), 'waiting', 'the second waits for the first');
is($source->safe_psql('postgres', "SELECT flo.cancel_backfill($second)"), 't', 'one is cancelled');
is($source->safe_psql('postgres', "SELECT flo.cancel_backfill($second)"), 'f', 'but once');
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
refused(q{'g', 't', 'a'}, '55000', 'is stopped');
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
$dest->safe_psql('postgres', q{SELECT flo.start_group('g', 'a')});
is(wait_done($source, $id, 'the first'), 'done', 'a replicator and a worker that are started again go on with it');
is(wait_done($source, $third, 'the third'), 'done', 'those after it have their turn');
is(state_of($source, $second), 'failed: cancelled', 'but for the one that is cancelled');
is(snapshots("$root/a") - $before, 80, 'the first sends its rows once');
is(snapshots("$root/b"), 80, 'and the third');

# A copy goes first, and does not wait for a worker that waits for rows of a backfill
mkdir "$root/f";
create_event_worker($dest, 'tables', 'file', 'f', { directory => "$root/f" });
my $log_before = -s $source->logfile;
halt_at($source, 'backfill.read');
$id = $source->safe_psql('postgres', q{SELECT flo.backfill('tables', 'other', 'f')});
await_halt($source, 'backfill.read') or die;
wait_until($dest, 'postgres', q{SELECT EXISTS (SELECT FROM flo.due_backfills WHERE worker_name = 'f' AND NOT over)},
	'the worker to wait for the rows') or die;
$source->safe_psql('postgres', q{SELECT flo.add_table('tables', 't')});
kill('TERM', halted_pid($source, 'backfill.read', $log_before));
is(wait_done($source, $id, 'one that was put off'), 'done',
	'a backfill goes on after a copy that was asked for meanwhile');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM t'),
	$source->safe_psql('postgres', 'SELECT count(*) FROM t'), 'and the copy is there');

# One that is sent is cancelled: the worker goes on with the stream
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'a')});
wait_state($dest, 'g', 'a', 'stopped');
$id = backfill($source, 't', 'a');
await(sub { state_of($source, $id) eq 'published' }, 'one to be published');
$source->safe_psql('postgres', "SELECT flo.cancel_backfill($id)");
await(sub { !grep { /backfill/ } $nats->streams }, 'its stream to go');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (2002, 'after it', 0)});
$before = snapshots("$root/a");
$dest->safe_psql('postgres', q{SELECT flo.start_group('g', 'a')});
ok(await(sub { grep { /after it/ } file_lines("$root/a") }, 'what comes after it'),
	'what is cancelled holds nobody up');
is(snapshots("$root/a"), $before, 'nothing of it comes');

# Dropped meanwhile: the table, the worker
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'a')});
wait_state($dest, 'g', 'a', 'stopped');
my @queued = map { backfill($source, $_, 'a') } qw(t parted t);
$source->safe_psql('postgres', 'DROP TABLE parted');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g', 'a')});
is(wait_done($source, $queued[0], 'one'), 'done', 'a backfill before a table is dropped');
like(wait_done($source, $queued[1], 'of a table that is dropped'),
	qr/^failed: table public\.parted has been dropped/, 'a table is dropped meanwhile');
is(wait_done($source, $queued[2], 'the one after it'), 'done', 'the one after it has its turn');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'b')});
wait_state($dest, 'g', 'b', 'stopped');
$id = backfill($source, 't', 'b');
await(sub { state_of($source, $id) eq 'published' }, 'one to be published');
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'b')});
is(wait_done($source, $id, 'of a worker that is dropped'), 'failed: the worker has gone',
	'a worker is dropped meanwhile');

# One that is created again may begin after the place of the rows: nobody waits for that
mkdir "$root/c";
create_event_worker($dest, 'g', 'file', 'c', { directory => "$root/c" });
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'c')});
wait_state($dest, 'g', 'c', 'stopped');
$id = backfill($source, 't', 'c');
await(sub { state_of($source, $id) eq 'published' }, 'one to be published');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (2003, 'after the place', 0)});
wait_caught_up($source, $dest, 'g', member => 'a');
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'c')});
create_event_worker($dest, 'g', 'file', 'c', { directory => "$root/c", start => 'latest' });
$source->safe_psql('postgres', q{INSERT INTO t VALUES (2004, 'after its beginning', 0)});
like(wait_done($source, $id,
	'of a worker that is created again'), qr/^failed: the worker was dropped and created again/,
	'a worker is created again meanwhile');
$id = backfill($source, 't', 'c');
is(wait_done($source, $id, 'the next one'), 'done', 'and gets the rows when they are asked for');

$_->stop('fast') for $source, $dest;
done_testing();
