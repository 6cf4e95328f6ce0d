
# From where WAL is read again: not far, after a stop, a shutdown or a crash of a
# replicator that was up to date, and nothing is written in vain for it.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $mb = 1024 * 1024;
my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "autovacuum = off\ncheckpoint_timeout = 1h\nmax_wal_size = 10GB\n");
my $dest = flo_node('dest', $nats);
my $rows = 0;

sub value { return $source->safe_psql('postgres', "SELECT $_[0]"); }
sub insert_lsn { return value('pg_current_wal_insert_lsn()'); }

# How far the slot's restart point lies behind a place, bytes
sub behind { return value("'$_[0]'::pg_lsn - restart_lsn FROM pg_replication_slots"); }

# WAL that is nobody's, and a row that is the group's behind it
sub write_wal
{
	my ($megabytes) = @_;

	$source->safe_psql('postgres', "SELECT pg_logical_emit_message(false, 'test', repeat('x', $mb))
		FROM generate_series(1, $megabytes)");
	$source->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$rows . ')');
	wait_caught_up($source, $dest, 'g');
	return;
}

# Records of running transactions since a place
sub records
{
	my ($from) = @_;
	my ($out, $err) = run_command([ 'pg_waldump', '--path', $source->data_dir . '/pg_wal', '--rmgr', 'Standby',
			'--start', $from, '--end', insert_lsn() ]);

	return () = $out =~ /RUNNING_XACTS/g;
}

# The server's own such records come from these: they are to be ours alone
sub writer { return value("pid FROM pg_stat_activity WHERE backend_type = 'background writer'"); }
my $writer;
sub hold_writer { $writer = writer(); pause_process($writer); }
sub release_writer { kill 'CONT', $writer if $writer; undef $writer; }
END { release_writer(); }

sub set_distance
{
	$source->safe_psql('postgres', "ALTER SYSTEM SET pg_flo.restart_distance = '$_[0]'");
	$source->reload;
	return;
}

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)') for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{public.t}'});
hold_writer();

# --- a stop ------------------------------------------------------------------------

my $begun;
# it is given a second, and on a busy machine may need a second try
for (1 .. 2)
{
	write_wal(30);
	cmp_ok(behind(insert_lsn()), '>', 20 * $mb, 'nothing is written below the distance');
	$begun = time();
	$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	wait_state($source, 'g', 'replicator', 'stopped');
	cmp_ok(time() - $begun, '<', 8, 'a stop is quick');
	last if behind(insert_lsn()) < $mb;
	start_member($source, 'g', 'replicator');
}
cmp_ok(behind(insert_lsn()), '<', $mb, 'and has moved the restart point');

# a worker that is away costs a moment, no more
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
$source->safe_psql('postgres', "SELECT pg_logical_emit_message(false, 'test', repeat('x', $mb))
	FROM generate_series(1, 9)");
$source->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$rows . ')');
$begun = time();
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
cmp_ok(time() - $begun, '<', 8, 'a stop is quick without a worker');
start_member($source, 'g', 'replicator');
start_member($dest, 'g', 'postgres');

# one that stops says what it has
$source->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$rows . ')');
my $end = insert_lsn();
wait_until($dest, 'postgres', "SELECT count(*) = $rows FROM t", 'the row');
for my $member ([ $dest, 'postgres' ], [ $source, 'replicator' ])
{
	$member->[0]->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	wait_state($member->[0], 'g', $member->[1], 'stopped');
}
is(value("confirmed_flush_lsn >= '$end' FROM pg_replication_slots"), 't', 'a worker that stops says how far it is');
start_member($source, 'g', 'replicator');
start_member($dest, 'g', 'postgres');

# here, too
for (1 .. 3)
{
	write_wal(30);
	$end = insert_lsn();
	release_writer();
	$source->stop('fast');
	$source->start;
	last if behind($end) < $mb;
	wait_state($source, 'g', 'replicator', 'streaming');
	hold_writer();
}
cmp_ok(behind($end), '<', $mb, 'a shutdown has moved it, too');
wait_state($source, 'g', 'replicator', 'streaming');
hold_writer();

# --- a crash -------------------------------------------------------------------------

set_distance('4MB');
write_wal(2) for 1 .. 10;
$end = insert_lsn();
ok(await(sub { behind($end) < 8 * $mb }, 'the restart point to follow'), 'while it runs the restart point follows');
release_writer();
kill9_member($source, 'g', 'replicator');
$source->poll_query_until('postgres', 'SELECT 1', '1');
cmp_ok(behind($end), '<', 8 * $mb, 'and is there after a crash');
wait_state($source, 'g', 'replicator', 'streaming');
write_wal(1);
is_same_table($source, $dest, 't');
hold_writer();

# --- always a transaction open, but never the same one ----------------------------------

my @sessions = map { FloTest::Session->new($source) } 1, 2;
my $open = q{BEGIN; SELECT pg_logical_emit_message(true, 'test', 'x')};
write_wal(2) for 1 .. 6;	# the last record has none open
$sessions[0]->query($open);
for my $i (1 .. 12)
{
	write_wal(2);
	$sessions[ $i % 2 ]->query($open);
	$sessions[ 1 - $i % 2 ]->query('COMMIT');
}
$end = insert_lsn();
ok(await(sub { behind($end) < 12 * $mb }, 'the restart point to follow'), 'it follows transactions that overlap');
$sessions[0]->query('COMMIT');
$_->close for @sessions;

# --- a long transaction -----------------------------------------------------------------

my $session = FloTest::Session->new($source);
$session->query('BEGIN; CREATE TEMP TABLE held (id int)');
$session->query('INSERT INTO held VALUES (1)');
my $from = insert_lsn();
write_wal(2) for 1 .. 10;
ok(await(sub { behind($from) < 8 * $mb }, 'the restart point'), 'it follows to where the transaction began');
cmp_ok(behind(insert_lsn()), '>', 15 * $mb, 'and no further');
$from = insert_lsn();
write_wal(2) for 1 .. 10;
cmp_ok(records($from), '<=', 1, 'nothing is written in vain');
$begun = time();
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
cmp_ok(time() - $begun, '<', 8, 'a stop is quick');
cmp_ok(records($from), '<=', 1, 'nor then');
start_member($source, 'g', 'replicator');
$session->query('COMMIT');
write_wal(2) for 1 .. 3;
$end = insert_lsn();
ok(await(sub { behind($end) < 8 * $mb }, 'the restart point'), 'it follows again when that is over');

# --- nothing to do ------------------------------------------------------------------------

# an idle server: what was written last is confirmed, and nothing more comes
set_distance('1MB');
ok( await(
		sub {
			my $lsn = insert_lsn();
			my $seen = $dest->safe_psql('postgres', q{SELECT source_seen_at FROM flo.status WHERE member = 'postgres'});

			wait_until($dest, 'postgres', "SELECT source_seen_at > '$seen'::timestamptz + interval '3 s'
				FROM flo.status WHERE member = 'postgres'", 'the source to be heard');
			return insert_lsn() eq $lsn;
		},
		'silence'),
	'no WAL is written when nothing happens');
cmp_ok(behind(insert_lsn()), '<', 3 * $mb, 'with the restart point near');

# --- a place that a former process has found, and not confirmed -------------------------------

$source->safe_psql('postgres', q{SELECT flo.alter_replicator('g', '{"release_wal": "applied"}')});
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
for ("SELECT pg_logical_emit_message(false, 'test', repeat('x', 100)) FROM generate_series(1, 200000)", 'CHECKPOINT')
{
	$source->safe_psql('postgres', $_);
	$source->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$rows . ')');
}
wait_caught_up($source, $source, 'g');
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_until($dest, 'postgres', "SELECT count(*) = $rows FROM t", 'the rows');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
my $kept = value('restart_lsn FROM pg_replication_slots');
# with a copy to look after it confirms before it has read all
$source->safe_psql('postgres', q{SELECT flo.resync('g', 't')});
halt_at($source, 'confirm.after');
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
await_halt($source);
cmp_ok(behind(insert_lsn()), '>', 20 * $mb, 'it is read again from further back');
is(value("confirmed_flush_lsn > '$kept'::pg_lsn + 20 * $mb FROM pg_replication_slots"), 't', 'and all is confirmed');
is(value('restart_lsn FROM pg_replication_slots'), $kept, 'and WAL is kept until it is read');
release_writer();
$source->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
$source->stop('immediate');
$source->start;
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_state($source, 'g', 'replicator', 'streaming');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't');

done_testing();
