
# An orderly stop, whoever asks for it and whatever the process does at that moment:
# a line of each member in the server log, no error, and nothing from the postmaster.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloHook;
use FloTest;
use FloTest::Child;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

$FloTest::timeout = 30;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "log_error_verbosity = terse\n");
my $dest = flo_node('dest', $nats, conf => "log_error_verbosity = terse\n");
my @read = map { -s $_->logfile } $source, $dest;

# Has what a stop must not leave been written since the last call?
sub stops_ok
{
	my ($name) = @_;
	my $bad = '';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $i (0, 1)
	{
		my $node = ($source, $dest)[$i];
		my $log = slurp_file($node->logfile, $read[$i]);

		$read[$i] += length $log;
		$bad .= join '', map { $node->name . ": $_\n" } grep {
			/(FATAL|PANIC|ERROR|WARNING):/ || /(pg_flo|background worker).*exited with/ || /was terminated by/
		} grep { !/starting up|shutting down|logical replication launcher/ } split /\n/, $log;
	}
	is($bad, '', "$name: nothing in the log that is no orderly stop");
	return;
}

# Runs SQL and waits for the line that says so
sub stop_by
{
	my ($name, $node, $line, $run) = @_;
	my $from = -s $node->logfile;
	my $begun = time();

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ref $run ? $run->() : $node->safe_psql('postgres', $run);
	ok(await(sub { slurp_file($node->logfile, $from) =~ /LOG: +\Q$line\E: stopped\n/ }, "$line: stopped"),
		"$name: a line says that it has stopped");
	cmp_ok(time() - $begun, '<', 8, "$name: soon");
	is(() = slurp_file($node->logfile, $from) =~ /\Q$line\E: stopped\n/g, 1, "$name: one");
	stops_ok($name);
	return;
}

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{public.t}'});
stops_ok('create and start');

my $replicator = 'replicator of group "g"';
my $worker = 'worker "postgres" of group "g"';

# --- who asks -------------------------------------------------------------------------------

stop_by('stop_group', $_->[0], $_->[1], q{SELECT flo.stop_group('g')}) for [ $source, $replicator ], [ $dest, $worker ];
is(status_of($dest, 'g', 'postgres', 'state'), 'stopped', 'flo.status says so');
is(status_of($dest, 'g', 'postgres', 'last_error IS NULL'), 't', 'without an error');
start_member($source, 'g', 'replicator');
start_member($dest, 'g', 'postgres');

# pg_terminate_backend() is no other: it is started again
for ([ $source, $replicator, 'replicator' ], [ $dest, $worker, 'postgres' ])
{
	my ($node, $line, $member) = @$_;
	my $pid = pid_of($node, 'g', $member);

	stop_by('pg_terminate_backend', $node, $line, "SELECT pg_terminate_backend($pid)");
	wait_other_pid($node, 'g', $member, $pid);
	wait_state($node, 'g', $member, 'streaming');
}
{
	my $launcher = q{SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'pg_flo launcher'};
	my $pid = $dest->safe_psql('postgres', $launcher);
	my $from = -s $dest->logfile;

	$dest->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	ok(wait_until($dest, 'postgres', "SELECT EXISTS ($launcher AND pid <> $pid)", 'a launcher'),
		'a launcher that is terminated comes back');
	my $log = slurp_file($dest->logfile, $from);
	unlike($log, qr/FATAL/, 'it, too, without an error');
	$read[1] = -s $dest->logfile;
}

for my $on ('off', 'on')
{
	$dest->append_conf('postgresql.conf', "pg_flo.enabled = $on\n");
	stop_by('pg_flo.enabled = off', $dest, $worker, sub { $dest->reload }) if $on eq 'off';
	$dest->reload;
}
wait_state($dest, 'g', 'postgres', 'streaming');

for my $mode ('fast', 'smart')
{
	stop_by("pg_ctl stop -m $mode", $_->[0], $_->[1], sub { $_->[0]->stop($mode) })
	  for [ $source, $replicator ], [ $dest, $worker ];
	$_->start for $source, $dest;
	wait_state($source, 'g', 'replicator', 'streaming');
	wait_state($dest, 'g', 'postgres', 'streaming');
	stops_ok("pg_ctl start after $mode");
}

# --- what it does at that moment --------------------------------------------------------------

# waiting for a lock
my $lock = FloTest::Session->new($dest);
$lock->query('BEGIN; LOCK TABLE t');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (1, 'x')});
ok(wait_until($dest, 'postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity a JOIN flo.status s USING (pid)
	WHERE a.wait_event_type = 'Lock')}, 'a lock'), 'the worker waits for a lock');
stop_by('stopped in a wait for a lock', $dest, $worker, q{SELECT flo.stop_group('g')});
$lock->query('ROLLBACK');
start_member($dest, 'g', 'postgres');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'nothing of it is lost');

# in a statement for a row, which nothing but an interrupt ends
# sleeps: the statement is to be slow
$dest->safe_psql('postgres', q{CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN PERFORM pg_sleep(1000); RETURN new; EXCEPTION WHEN others THEN RETURN new; END$$;
	CREATE TRIGGER nap BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION nap();
	ALTER TABLE t ENABLE ALWAYS TRIGGER nap});
$source->safe_psql('postgres', q{INSERT INTO t VALUES (2, 'x'), (3, 'y')});
ok(wait_until($dest, 'postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity a WHERE a.wait_event = 'PgSleep')},
	'the trigger'), 'the worker is in a trigger');
stop_by('stopped in a trigger that catches all', $dest, $worker, q{SELECT flo.stop_group('g')});
$dest->safe_psql('postgres', 'DROP TRIGGER nap ON t');
start_member($dest, 'g', 'postgres');

# without a broker, and with one that does not answer
$nats->pause;
stop_by('stopped with a broker that is still', $_->[0], $_->[1], q{SELECT flo.stop_group('g')})
  for [ $source, $replicator ], [ $dest, $worker ];
$nats->resume;
start_member($source, 'g', 'replicator');
start_member($dest, 'g', 'postgres');
$nats->stop;
wait_state($source, 'g', 'replicator', 'waiting');
wait_state($dest, 'g', 'postgres', 'waiting');
$read[$_] = -s ($source, $dest)[$_]->logfile for 0, 1;
stop_by('stopped without a broker', $source, $replicator, q{SELECT flo.stop_group('g')});
stop_by('stopped without a broker', $dest, $worker, q{SELECT flo.stop_group('g')});
$nats->start;

# --- helpers ------------------------------------------------------------------------------------

# a copy: leader and copiers at the source, loaders and index builders at the destination
$source->safe_psql('postgres', qq{CREATE TABLE big_$_ (id int PRIMARY KEY, v int UNIQUE);
	INSERT INTO big_$_ SELECT i, i FROM generate_series(1, 2000) i}) for 1 .. 3;
for ([ 'copied', 'range.before', $source ], [ 'loaded', 'load.before', $dest ], [ 'built', 'build.before', $dest ])
{
	my ($group, $point, $node) = @$_;
	my $helpers = qq{FROM pg_stat_activity WHERE backend_type = 'pg_flo' AND query ~ '(copier|leader|loader|builder)'};

	halt_at($node, $point);
	create_copy_group($source, $dest, $group, tables => q{'{big_1, big_2, big_3}'}, sync_schema => 1, wait => 0,
		worker_options => q{'{"loaders": 3}'});
	ok(await_halt($node, $point), "a process comes to $point");
	stop_by("stopped at $point of a copy", $dest, qq{worker "postgres" of group "$group"},
		"SELECT flo.stop_group('$group')");
	stop_by("stopped at $point of a copy", $source, qq{replicator of group "$group"},
		"SELECT flo.stop_group('$group')");
	# the halted one hears nothing of it
	# who has ended since the query saw it is none of ours
	$node->safe_psql('postgres', "SET log_min_messages = error; SELECT pg_terminate_backend(pid) $helpers");
	ok(wait_until($_, 'postgres', "SELECT count(*) = 0 $helpers", 'helpers to end'),
		"$point: no helper stays at " . $_->name)
	  for $source, $dest;
	stops_ok("helpers at $point");
	$dest->safe_psql('postgres', "SELECT flo.drop_worker('$group', 'postgres')");
	$source->safe_psql('postgres', "SELECT flo.drop_group('$group')");
	$dest->safe_psql('postgres', q{DROP TABLE IF EXISTS big_1, big_2, big_3});
	stops_ok("drop after $point");
}

# --- drop ---------------------------------------------------------------------------------------

start_member($source, 'g', 'replicator');
start_member($dest, 'g', 'postgres');
stops_ok('start again');
stop_by('drop_worker', $dest, $worker, q{SELECT flo.drop_worker('g', 'postgres')});
stop_by('drop_group', $source, $replicator, q{SELECT flo.drop_group('g')});

# who holds the slot when it is to be dropped, as a process does that is about to end, is waited for
$source->safe_psql('postgres', q{SELECT flo.create_replicator('held'); SELECT flo.start_group('held')});
wait_state($source, 'held', 'replicator', 'streaming');
$source->safe_psql('postgres', q{SELECT flo.stop_group('held')});
wait_state($source, 'held', 'replicator', 'stopped');
my $slot = $source->safe_psql('postgres', q{SELECT slot_name FROM pg_replication_slots WHERE slot_name ~ 'held'});
my $held = sub {
	return $source->safe_psql('postgres',
		"SELECT count(active_pid) FROM pg_replication_slots WHERE slot_name = '$slot'"); };
my $holder = in_child(sub {
	exec 'pg_recvlogical', '-d', $source->connstr('postgres'), '--slot', $slot, '--start', '-f', '/dev/null',
	  '--no-loop',
	  '-o', 'proto_version=1', '-o', 'publication_names=pgflo_held'; });
await(sub { $held->() == 1 }, 'the slot to be held') or die;
my $dropper = $source->background_psql('postgres');
$dropper->query_until(qr/begun/, "\\echo begun\nSELECT flo.drop_group('held');\n");
wait_until($source, 'postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE query ~ '^SELECT flo.drop_group'
	AND wait_event_type = 'Extension' AND clock_timestamp() - query_start > interval '0.2 s'},
	'the drop to wait') or die;
is($held->(), 1, 'a drop waits for who holds the slot');
end_child($holder);
ok(wait_until($source, 'postgres', "SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = '$slot'",
	'the slot to go'), '... and goes on');
$dropper->quit;

# what has happened is written now and then, also while a group is being dropped; its stop comes
# when the group is locked, or it might be written before
$source->safe_psql('postgres', q{SELECT flo.create_replicator('gone'); SELECT flo.start_group('gone')});
wait_state($source, 'gone', 'replicator', 'streaming');
my $marked = -s $source->logfile;
my $drop = FloTest::Session->new($source);
$drop->query(q{BEGIN; SELECT FROM flo.groups WHERE group_name = 'gone' FOR UPDATE; SELECT flo.drop_group('gone')});
ok(wait_until($source, 'postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity
	WHERE backend_type ~ '^pg_flo' AND wait_event_type = 'Lock')}, 'events to be written'), 'events wait for the drop');
$drop->query('COMMIT');
ok(wait_until($source, 'postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity
	WHERE backend_type ~ '^pg_flo' AND wait_event_type = 'Lock')}, 'them to be written'), '... which ends');
unlike(slurp_file($source->logfile, $marked), qr/ERROR/, '... without an error');

# a database of its own; DROP DATABASE ends its members
$_->safe_psql('postgres', 'CREATE DATABASE d') for $source, $dest;
$_->safe_psql('d', 'CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY)') for $source, $dest;
create_group($source, $dest, 'd', source_db => 'd', dest_db => 'd');
stop_by('DROP DATABASE', $dest, 'worker "postgres" of group "d"', 'DROP DATABASE d WITH (FORCE)');

$nats->stop;
done_testing();
