
# flo.wait_for() at a destination is true only when every row committed below the
# LSN is there, rows of tables that are being added, copied afresh or joined with
# rows included, from the moment the statement at the source was committed; and
# it always becomes true in the end.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats, conf => "max_replication_slots = 20\n");

my @tables = qw(t big second third joined);
$_->safe_psql('postgres', join('', map { "CREATE TABLE $_ (id int PRIMARY KEY, v text);" } @tables)
	  . 'CREATE SCHEMA side; CREATE TABLE side.moved (id int PRIMARY KEY, v text);
		CREATE TABLE keyless (id int NOT NULL, v text)') for $source, $dest;
$source->safe_psql('postgres', "INSERT INTO $_ SELECT g, 'v' FROM generate_series(1, 2000) g")
  for @tables, 'side.moved', 'keyless';

sub lsn { return $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()'); }
sub is_there
{
	return $dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$_[0]', '" . ($_[1] // '0 s') . "', "
		  . ($_[2] ? "'$_[2]'" : "'postgres'") . ')');
}
sub rows_of { return $dest->safe_psql('postgres', "SELECT count(*) FROM $_[0]"); }

# The worker has read beyond the LSN, and yet: not everything
sub is_owed
{
	my ($lsn, $what) = @_;

	wait_until($dest, 'postgres', "SELECT received_lsn > '$lsn' FROM flo.status
		WHERE group_name = 'g' AND member = 'postgres'", "the worker to read on ($what)") or die;
	is(is_there($lsn), 'f', "$what: not there, though the stream is read beyond it");
	is($dest->safe_psql('postgres', "SELECT durable_lsn < '$lsn' AND lag_bytes > 0 AND lag > interval '0'
		FROM flo.status WHERE member = 'postgres'"), 't', "$what: so says flo.status");
}

# The same while the worker goes on with rows of other tables: the source cannot begin the copy yet
my $n = 10000;
sub is_owed_meanwhile
{
	my ($lsn, $what) = @_;

	$n++;
	$source->safe_psql('postgres', "INSERT INTO t VALUES ($n, 'later')");
	wait_until($dest, 'postgres', "SELECT EXISTS (SELECT FROM t WHERE id = $n)", "a later row ($what)") or die;
	is_owed(@_);
}

# A copy whose reading, or whose end, is held up
my $held;
sub hold
{
	my ($point, $name) = @_;
	$held = { point => $point, name => $name, from => -s $source->logfile };
	halt_at($source, $point);
	return;
}
sub held
{
	await_halt($source, $held->{name}) or die;
	$held = halted_pid($source, @$held{qw(point from)}) or die;
	return;
}
sub go_on { kill('TERM', $held); }

create_group($source, $dest, 'g', tables => q{'{public.t}'});
$dest->safe_psql('postgres',
	q{SELECT flo.create_worker('g', sink => 'stdout', worker_name => 'events', options => '{"start": "latest"}')});
start_member($dest, 'g', 'events');
# one that takes a single table and has no other
$dest->safe_psql('postgres', 'CREATE DATABASE narrow');
$dest->safe_psql('narrow', q{CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT flo.create_worker('g', worker_name => 'narrow', options => '{"tables": ["public.t"]}')});
start_member($dest, 'g', 'narrow', 'narrow');
wait_caught_up($source, $dest, 'g');

# --- added, and while that copy runs: added and copied afresh -------------------------------------

hold('range.before', 'copier g');
$source->safe_psql('postgres', q{SELECT flo.add_table('g', 'big')});
my $added = lsn();
held();
is(is_there($added, '2 s'), 'f', 'add_table: not there while the table is read');
is($dest->safe_psql('postgres', "SELECT durable_lsn < '$added' AND lag > interval '0' FROM flo.status
	WHERE member = 'postgres'"), 't', 'so says flo.status');
go_on();
is(is_there($added, '60 s'), 't', 'it becomes true');
is(rows_of('big'), 2000, 'with all rows there');

# the replicator is busy with a copy that is in: of what is asked for then nothing but messages is in the stream
wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the end of the copy') or die;
hold('published.after', 'copy leader g');
$source->safe_psql('postgres', q{SELECT flo.resync('g', 'big')});
held();
wait_caught_up($source, $dest, 'g');
$source->safe_psql('postgres', q{SELECT flo.add_table('g', 'second')});
my $second = lsn();
is_owed_meanwhile($second, 'add_table behind another one');
$source->safe_psql('postgres', q{SELECT flo.resync('g', 't')});
my $afresh = lsn();
is_owed_meanwhile($afresh, 'resync of a table');
is(is_there($afresh, '60 s', 'events'), 't', 'events are not waited for');

# also for a worker that begins again, or does not run
kill9_member($dest, 'g', 'postgres');
wait_until($dest, 'postgres', 'SELECT true', 'the destination');
wait_state($dest, 'g', 'postgres', 'streaming|copying');
is_owed_meanwhile($afresh, 'after a crash of the destination');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'postgres')});
wait_state($dest, 'g', 'postgres', 'stopped');
is(is_there($second), 'f', 'nor is it there for a worker that does not run');
is($dest->safe_psql('postgres', "SELECT durable_lsn < '$second' FROM flo.status WHERE member = 'postgres'"), 't',
	'as its status says');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g', 'postgres')});
go_on();
is(is_there($afresh, '60 s'), 't', 'both become true');
is(rows_of('second'), 2000, 'with all rows there');
wait_caught_up($source, $dest, 'g', member => 'postgres');
is_same_table($source, $dest, 't', 'copied afresh');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM flo.owed_copies'), 0, 'nothing is owed');
wait_caught_up($source, $dest, 'g', dest_db => 'narrow');
is($dest->safe_psql('narrow', 'SELECT count(*) > 1000, (SELECT count(*) FROM flo.owed_copies) FROM t'), 't|0',
	'a worker that does not take the table owes nothing either');
$dest->safe_psql('narrow', q{SELECT flo.drop_group('g')});

# --- all tables afresh ----------------------------------------------------------------------------

$dest->safe_psql('postgres', 'DELETE FROM big WHERE id > 1000');
hold('range.before', 'copier g');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
my $all = lsn();
held();
$source->safe_psql('postgres', q{SELECT flo.wait_for('g')});
is(is_there($all, '3 s'), 'f', 'resync of all: not there while they are read');
kill9_member($source, 'g', 'replicator');
wait_until($source, 'postgres', 'SELECT true', 'the source');
is(is_there($all, '60 s'), 't', 'a crash later it becomes true');
is(rows_of('big'), 2000, 'with all rows there');

# Asked for before the generation begins
my $open = FloTest::Session->new($source);
$open->query(q{BEGIN; INSERT INTO t VALUES (-1, 'open')});
$source->safe_psql('postgres', q{SELECT flo.resync('g', copy => false)});
wait_until($source, 'postgres', q{SELECT detail ~ 'write transactions' FROM flo.status}, 'the slot to wait') or die;
$source->safe_psql('postgres', q{SELECT flo.resync('g', 'second')});
my $early = lsn();
hold('range.before', 'copier g');
$open->query('COMMIT');
$open->close;
held();
wait_until($dest, 'postgres', q{SELECT EXISTS (SELECT FROM flo.owed_copies WHERE relation <> 0)},
	'it to be owed') or die;
is(is_there($early), 'f', 'asked for before the generation: not there while it is read');
go_on();
is(is_there($early, '60 s'), 't', 'then it is');

# --- joined with rows -----------------------------------------------------------------------------

$source->safe_psql('postgres', q{SELECT flo.drop_replicator('g', purge_stream => true)});
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g', force => true)});
$dest->safe_psql('postgres', 'TRUNCATE t, big, second, third, joined; DROP TABLE side.moved;
	CREATE TABLE moved (id int PRIMARY KEY, v text)');
$dest->safe_psql('postgres', 'CREATE TABLE tree (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)');
$source->safe_psql('postgres', q{CREATE TABLE tree (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	ALTER TABLE joined DROP CONSTRAINT joined_pkey;
	SELECT flo.create_replicator('g', schemas => '{public}', mode => 'stream', track_ddl => true,
		options => '{"keyless_tables": "skip"}');
	SELECT flo.add_table('g', 'side.moved', copy => false); SELECT flo.remove_table('g', 'side.moved')});
$source->safe_psql('postgres', q{SELECT flo.remove_table('g', 'third')});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g', options => '{"copy_into": "truncate"}')});
start_member($dest, 'g', 'postgres');
wait_caught_up($source, $dest, 'g');
hold('published.after', 'copy leader g');
$source->safe_psql('postgres', q{SELECT flo.add_table('g', 'third')});
held();
wait_caught_up($source, $dest, 'g');
for my $case (
	[ 'SET SCHEMA', 'ALTER TABLE side.moved SET SCHEMA public', 'moved' ],
	[ 'a key', 'ALTER TABLE keyless ADD PRIMARY KEY (id)', 'keyless' ],
	[ 'ATTACH', 'ALTER TABLE tree ATTACH PARTITION joined FOR VALUES FROM (1) TO (100000)', 'joined' ])
{
	my ($what, $statement, $table) = @$case;
	$source->safe_psql('postgres', $statement);
	push @$case, lsn();
	is_owed_meanwhile($case->[3], $what);
}

# --- given up before it began ---------------------------------------------------------------------

$source->safe_psql('postgres', q{CREATE TABLE gone (id int PRIMARY KEY); INSERT INTO gone SELECT generate_series(1, 10);
	SELECT flo.remove_table('g', 'gone')});
$source->safe_psql('postgres', q{SELECT flo.add_table('g', 'gone')});
my $removed = lsn();
is_owed_meanwhile($removed, 'add_table');
$source->safe_psql('postgres', q{SELECT flo.remove_table('g', 'gone')});
wait_until($dest, 'postgres', q{SELECT count(*) = 3 FROM flo.owed_copies}, 'it to be withdrawn')
  or die $dest->safe_psql('postgres', 'TABLE flo.owed_copies')
  . $source->safe_psql('postgres', 'SELECT relation::regclass, * FROM flo.copy_requests');
pass('a table that was removed before its copy is not waited for');
$source->safe_psql('postgres', q{CREATE TABLE dropped (id int PRIMARY KEY); SELECT flo.resync('g', 'dropped')});
is_owed_meanwhile(lsn(), 'resync');
$source->safe_psql('postgres', 'DROP TABLE dropped');
go_on();
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM flo.owed_copies'), 0,
	'nothing is owed in the end, not of the table that was dropped');
is(rows_of($_), 2000, "$_ is there") for qw(third moved keyless joined);

# --- said in a transaction that is undone here, or given up ---------------------------------------

# The next transaction of the source cannot be applied: the LSN that flo.skip() takes
my $conflict = 500000;
$dest->safe_psql('postgres', q{ALTER TABLE t ADD CONSTRAINT refused CHECK (v NOT LIKE 'refused%') NOT VALID});
sub refused
{
	my ($what, $statement) = @_;

	$conflict++;
	$source->safe_psql('postgres', "BEGIN; $statement; INSERT INTO t VALUES ($conflict, 'refused'); COMMIT");
	wait_until($dest, 'postgres', "SELECT coalesce(last_error, '') ~ 'check constraint .refused' FROM flo.status
		WHERE member = 'postgres' AND state = 'backoff'", "the error ($what)") or die;
	return status_of($dest, 'g', 'postgres', 'last_error') =~ m{transaction at ([0-9A-F]+/[0-9A-F]+)} ? $1 : die;
}

hold('published.after', 'copy leader g');
$source->safe_psql('postgres', q{SELECT flo.resync('g', 'third')});
held();
wait_caught_up($source, $dest, 'g');
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'postgres', '{"ddl": "hold"}')});
$source->safe_psql('postgres', q{SELECT flo.resync('g', 'second')});
my $undone = lsn();
is_owed_meanwhile($undone, 'resync');
$source->safe_psql('postgres', q{BEGIN; SELECT flo.remove_table('g', 'second'); CREATE INDEX ON t (v); COMMIT});
wait_until($dest, 'postgres', q{SELECT detail ~ 'flo.release_ddl' FROM flo.status WHERE member = 'postgres'},
	'the statement to be held') or die;
is_owed($undone, 'a withdrawal whose transaction is not in');
$dest->safe_psql('postgres', q{SELECT flo.skip_ddl(id) FROM flo.pending_ddl});
is(is_there($undone, '60 s'), 't', 'it is once that is');
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'postgres', '{"ddl": "apply"}')});

my $asked = refused('a request', q{SELECT flo.add_table('g', 'second')});
my $skipped = lsn();
$dest->safe_psql('postgres', "SELECT flo.skip('g', 'postgres', '$asked')");
is_owed_meanwhile($skipped, 'a request in a transaction that was skipped');
$asked = refused('a withdrawal', q{SELECT flo.remove_table('g', 'second')});
is(is_there($skipped), 'f', 'a withdrawal in one that cannot be applied');
$dest->safe_psql('postgres', "SELECT flo.skip('g', 'postgres', '$asked')");
is(is_there($skipped, '60 s'), 't', 'nobody waits for it when that one is skipped');
$asked = refused('a request', q{SELECT flo.add_table('g', 'second')});
$skipped = lsn();
$dest->safe_psql('postgres', "DELETE FROM second; SELECT flo.skip('g', 'postgres', '$asked')");
is_owed_meanwhile($skipped, 'another one that was skipped');
go_on();
is(is_there($skipped, '60 s'), 't', 'its copy comes');
is_same_table($source, $dest, 'second', 'with all rows');

$_->stop('fast') for $source, $dest;
done_testing();
