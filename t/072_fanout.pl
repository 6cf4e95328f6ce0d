
# Several workers of one group, each with its own sink and position; copied rows
# as events; standard output; flo.peek.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloHook;
use FloTest;
use IO::Select;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $dir = PostgreSQL::Test::Utils::tempdir() . '/events';
mkdir $dir;
my ($one, $two) = map { FloHook->new($_) } 'one', 'two';

# --- four workers, one stream ------------------------------------------------------------

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g');
create_event_worker($dest, 'g', 'file', 'file', { directory => $dir });
create_event_worker($dest, 'g', 'webhook', 'one', { url => $one->url });
create_event_worker($dest, 'g', 'webhook', 'two', { url => $two->url });

sub insert
{
	my ($from, $to) = @_;
	$source->safe_psql('postgres', "INSERT INTO t SELECT i, 'v' || i FROM generate_series($from, $to) i");
}
sub all_have
{
	my ($n, $when) = @_;
	wait_caught_up($source, $dest, 'g');
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_same_table($source, $dest, 't', "$when: postgres");
	are_exactly([ file_events($dir) ], $n, "$when: file");
	are_exactly([ $_->events ], $n, "$when: a webhook") for $one, $two;
}

insert(1, 100);
all_have(100, 'four workers');
is($dest->safe_psql('postgres',
	q{SELECT string_agg(member || ':' || sink || ':' || state || ':' || inserts, ' ' ORDER BY member) FROM flo.status}),
	'file:file:streaming:100 one:webhook:streaming:100 postgres:postgres:streaming:100 two:webhook:streaming:100',
	'flo.status shows each');
is($source->safe_psql('postgres', q{SELECT string_agg(worker_name, ' ' ORDER BY worker_name)
	FROM flo.stream_status('g')}), 'file one postgres two', 'stream_status, too');

# What the source had decided to purge before it knew of a worker goes while that one starts
$source->safe_psql('postgres', 'CREATE DATABASE other');
$source->safe_psql('other', q{CREATE EXTENSION pg_flo; CREATE TABLE p (id int PRIMARY KEY);
	SELECT flo.create_replicator('p')});
start_member($source, 'p', 'replicator', 'other');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('p', 'webhook', 'keeper', '{"url": "http://127.0.0.1:1/"}');
	SELECT flo.start_group('p')});
wait_state($dest, 'p', 'keeper', 'streaming');
for my $id (1 .. 12)
{
	my $before = $nats->last_seq('pgflo_p_stream');
	$source->safe_psql('other', "INSERT INTO p VALUES ($id)");
	await(sub { $nats->last_seq('pgflo_p_stream') > $before }, 'a chunk');
}
my $late = FloHook->new('late');
$dest->safe_psql('postgres', "SELECT flo.create_worker('p', 'webhook', 'late', '{\"secret\": \"s\", \"url\": \""
	  . $late->url . "\"}')");
my ($starting, $lock) = map { FloTest::Session->new($dest) } 1 .. 2;
my $waiting = q{SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'flo.secrets'::regclass};
$starting->query(q{BEGIN; SELECT flo.start_group('p', 'late'); LOCK TABLE flo.secrets});
$lock->send('BEGIN; LOCK TABLE flo.secrets');
wait_until($dest, 'postgres', $waiting, 'a lock that the worker meets');
$starting->query('COMMIT');
$starting->close;
$lock->result;
wait_until($dest, 'postgres', $waiting, 'the worker to begin');
$nats->api('STREAM.PURGE.pgflo_p_stream', { keep => 6 });
$lock->query('COMMIT');
$lock->close;
$source->safe_psql('other', 'INSERT INTO p VALUES (100)');
ok(await(sub { grep { $_->{NewTuple}{id} == 100 } $late->events }, 'the newest event'),
	'a worker begins with what is left when the stream is purged meanwhile');
is(status_of($dest, 'p', 'late', 'state'), 'streaming', 'and is no failure');
$dest->safe_psql('postgres', "SELECT flo.drop_worker('p', '$_')") for qw(keeper late);
$source->safe_psql('other', q{SELECT flo.drop_group('p', purge_stream => true)});

# One is stopped, one fails: the others go on, and the stream keeps what they need
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'one')});
wait_state($dest, 'g', 'one', 'stopped');
$two->answer('500 No');
insert($_ * 100 + 1, $_ * 100 + 100) for 1 .. 10;
wait_caught_up($source, $dest, 'g', member => $_) for 'postgres', 'file';
is_same_table($source, $dest, 't', 'a stopped and a failing worker do not keep up postgres');
are_exactly([ file_events($dir) ], 1100, 'nor file');
is(scalar $one->events, 100, 'the stopped one has nothing');
ok(wait_until($dest, 'postgres', q{SELECT lag_bytes > 0 AND lag > '0' FROM flo.status WHERE member = 'two'}, 'a lag'),
	'its lag is its own');
is($dest->safe_psql('postgres', q{SELECT bool_and(lag_bytes = 0) FROM flo.status WHERE member IN ('file', 'postgres')}),
	't', 'the others have none');
my $kept = $nats->api('STREAM.INFO.pgflo_g_stream')->{state}{messages};
$two->answer('200 OK');
start_member($dest, 'g', 'one');
all_have(1100, 'when they are back');
ok(wait_until($source, 'postgres', "SELECT messages < $kept FROM flo.stream_status('g') LIMIT 1", 'a purge'),
	'what all have is purged');

# --- flo.peek -------------------------------------------------------------------------------

$source->safe_psql('postgres', q{BEGIN; INSERT INTO t VALUES (5001, 'a'), (5002, 'b'); DELETE FROM t WHERE id = 1;
	COMMIT; INSERT INTO t VALUES (5003, 'c')});
wait_caught_up($source, $dest, 'g');
my $peek = q{SELECT string_agg(concat_ws(' ', event->>'Type', event->'NewTuple'->>'id'), ',' ORDER BY seq, event->>'Id')
	FROM flo.peek('g', %s)};
for my $node ($source, $dest)
{
	is($node->safe_psql('postgres', sprintf($peek, 3)), 'INSERT 5002,DELETE,INSERT 5003', 'peek in ' . $node->name);
}
is($dest->safe_psql('postgres', q{SELECT event->>'Id' FROM flo.peek('g', 1)}), (file_events($dir))[-1]{Id},
	'Ids are those of the workers');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.peek('g', 1000)}) > 3, 1, 'more, as far as the stream goes');
like(error_of($dest, q{SELECT * FROM flo.peek('nobody')}), qr/^42704/, 'peek of an unknown group');
like(error_of($dest, q{SELECT * FROM flo.peek('g', 0)}), qr/^22023/, 'peek of no events');
like(error_of($dest, q{SELECT * FROM flo.peek('g', NULL)}), qr/^22004/, 'peek of NULL events');

# --- rules and routes hold for events, too ---------------------------------------------------

$dest->safe_psql('postgres', q{
	INSERT INTO flo.rules (group_name, worker_name, table_name, column_name, action, arguments) VALUES
		('g', 'file', 't', 'v', 'mask', '{}'), ('g', 'file', 't', 'id', 'lt', '{"value": 5102}');
	INSERT INTO flo.routes (group_name, worker_name, source_table, destination_table, column_mappings) VALUES
		('g', 'file', 't', 'customers', '{"v": "secret"}');
});
$source->safe_psql('postgres', q{INSERT INTO t VALUES (5101, 'masked'), (5102, 'dropped');
	INSERT INTO t VALUES (5100, 'masked')});
wait_caught_up($source, $dest, 'g');
my @shaped = grep { $_->{Table} eq 'customers' } file_events($dir);
is_deeply([ map { $_->{NewTuple} } @shaped ],
	[ { id => 5101, secret => 'm****d' }, { id => 5100, secret => 'm****d' } ], 'masked, filtered and renamed');
is_deeply([ map { $_->{Id} } @shaped ],
	[ map { $_->{Id} } grep { ($_->{NewTuple}{id} || 0) =~ /^510[01]$/ } $one->events ], 'Ids do not depend on rules');
$dest->safe_psql('postgres', 'DELETE FROM flo.rules; DELETE FROM flo.routes');

# --- a worker's own progress is no change -----------------------------------------------------

my $here = "$dir.here";
mkdir $here;
$source->safe_psql('postgres', q{INSERT INTO t VALUES (6000, 'x')});
create_event_worker($source, 'g', 'file', 'here', { directory => $here, start => 'latest' });
$source->safe_psql('postgres', q{INSERT INTO t VALUES (6001, 'x')});
# what each of these writes of its progress is behind the place that the next one waits for
wait_caught_up($source, $source, 'g', member => 'here') for 1 .. 3;
is(join(' ', map { $_->{NewTuple}{id} } file_events($here)), '6001',
	'start => latest, and flo.progress never feeds itself');
$source->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'here')});
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.progress WHERE worker_name = 'here'}), '0',
	'drop_worker removes the position');

# --- drop, and begin again ------------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'one'); SELECT flo.drop_worker('g', 'two')});
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.workers}), '2', 'two are dropped');
insert(7001, 7100);
wait_caught_up($source, $dest, 'g');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});

# --- copied rows are events -----------------------------------------------------------------------

my $copy = "$dir.copy";
mkdir $copy;
$source->safe_psql('postgres', q{
	TRUNCATE t;
	INSERT INTO t SELECT i, repeat('c', 200) FROM generate_series(1, 20000) i;
	INSERT INTO t VALUES (20001, repeat('big', 500000));
	SELECT flo.create_replicator('c', mode => 'copy_and_stream');
	SELECT flo.start_group('c');
});
$dest->safe_psql('postgres',
	qq{SELECT flo.create_worker('c', 'file', options => '{"directory": "$copy", "start": "copy", "max_size": "1MB"}');
	SELECT flo.start_group('c')});
for (1 .. 3)
{
	wait_until($dest, 'postgres', q{SELECT state = 'copying' OR state = 'streaming' FROM flo.status
		WHERE member = 'file'}, 'copying');
	wait_other_pid($dest, 'c', 'file', kill9_member($dest, 'c', 'file'));
}
wait_state($dest, 'c', 'file', 'streaming');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (20002, 'after')});
wait_caught_up($source, $dest, 'c');
my @lines = file_lines($copy);
lines_are_exactly(\@lines, 20002, 'copied rows, in spite of kills');
my %ids = map { /"NewTuple":\{"id":(\d+)/ ? ($1 => 1) : () } @lines;
is(scalar keys %ids, 20002, 'each row once');
like($lines[0], qr/^\{"Id":"c-copy-[^"]+","Type":"INSERT".*"Xid":null,"CommittedAt":null,/,
	'what a copied row looks like');
like($lines[-1], qr/"id":20002/, 'streamed ones follow');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('c')});

# --- standard output ------------------------------------------------------------------------------

sub stdout_lines { my ($file, $group) = @_; return grep { /^\{"Id":"$group-/ } split /\n/, slurp_file($file); }

create_event_worker($dest, 'c', 'stdout', 'out', { start => 'latest' });
$source->safe_psql('postgres', q{INSERT INTO t VALUES (30001, 'to stdout'), (30002, repeat('long', 20000))});
wait_caught_up($source, $dest, 'c');
my @out = stdout_lines($dest->logfile, 'c');
is(join(' ', map { JSON::PP::decode_json($_)->{NewTuple}{id} } @out), '30001 30002', 'events on standard output');

# To the logging collector
$dest->append_conf('postgresql.conf', "logging_collector = on\nlog_directory = 'log'\nlog_filename = 'collected.log'");
$dest->restart;
wait_state($dest, 'c', 'out', 'streaming');
my $noise = start_noise();
$source->safe_psql('postgres', q{INSERT INTO t SELECT i, repeat('collected', 2000)
	FROM generate_series(30003, 30100) i});
wait_caught_up($source, $dest, 'c');
$noise->finish;
my $collected = $dest->data_dir . '/log/collected.log';
@out = stdout_lines($collected, 'c');
is(scalar(grep { eval { JSON::PP::decode_json($_)->{NewTuple}{id} } } @out), 98,
	'long lines are whole in the log, whatever else is logged');

sub start_noise
{
	my $sql = PostgreSQL::Test::Utils::tempdir() . '/noise.sql';
	append_to_file($sql, "DO \$\$ BEGIN FOR i IN 1..50 LOOP RAISE LOG 'noise'; END LOOP; END \$\$;\n");
	return IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-T', 2, '-f', $sql, '-h', $dest->host, '-p', $dest->port,
		'postgres' ], '>', \my $o, '2>', \my $e);
}

# A reader that has stalled
$dest->stop;
$dest->append_conf('postgresql.conf', 'logging_collector = off');
my $fifo = PostgreSQL::Test::Utils::tempdir() . '/fifo';
POSIX::mkfifo($fifo, 0600) or die;
open my $reader, '+<', $fifo or die;
my ($data, $log) = ($dest->data_dir, $dest->logfile);
system("postgres -D '$data' > '$fifo' 2>> '$log' < /dev/null &");
wait_until($dest, 'postgres', 'SELECT true', 'the server');
$dest->_update_pid(1);
wait_state($dest, 'c', 'out', 'streaming');
$source->safe_psql('postgres', q{INSERT INTO t SELECT i, repeat('stalled', 100) FROM generate_series(30101, 30500) i});
ok(wait_until($dest, 'postgres', q{SELECT state = 'waiting' AND detail ~ 'standard output' FROM flo.status
	WHERE member = 'out'}, 'a stall'), 'a stalled reader is shown');
my $start = time();
$dest->safe_psql('postgres', q{SELECT flo.stop_group('c', 'out')});
wait_state($dest, 'c', 'out', 'stopped');
cmp_ok(time() - $start, '<', 8, 'and does not keep the worker from stopping');
$dest->safe_psql('postgres', q{SELECT flo.start_group('c', 'out')});
my $read = '';
my $until = time() + $FloTest::timeout;
my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
while (time() < $until && $read !~ /"id":30500.*\n/)
{
	sysread($reader, $read, 65536, length $read) if IO::Select->new($reader)->can_read(0.2);
}
my %got = map { /^\{"Id":.*"NewTuple":\{"id":(\d+),.*\}$/ ? ($1 => 1) : () } split /\n/, $read;
is(scalar(grep { $got{$_} } 30101 .. 30500), 400, 'all arrive once it reads again');

close $reader;
$dest->stop('fast');
$source->stop('fast');
done_testing();

use POSIX ();
