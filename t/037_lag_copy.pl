
# Lag in flo.status during copies, with a full broker, with statements and workers
# that wait for a person, and what a replicator says that reads old WAL again.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloHook;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker', room => '4MB');
my $conf = "pg_flo.heartbeat_interval = '100ms'\npg_flo.restart_interval = '500ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $n = 0;

sub insert { $source->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$n . ", 'x')"); }
sub shows
{
	my ($node, $member, $condition, $name, $group) = @_;
	$group ||= 'g';
	ok(wait_until($node, 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = '$group' AND member = '$member' AND $condition)",
		"$member: $condition"), $name)
	  or diag(status_of($node, $group, $member,
		"concat_ws(' | ', state, detail, lag, lag_bytes, pending_bytes, source_seen_at, last_error)"));
}
sub calm
{
	my ($name) = @_;
	shows($dest, 'postgres',
		"state = 'streaming' AND detail IS NULL AND lag = '0' AND pending_bytes = 0 AND lag_bytes = 0",
		"$name: the worker lacks nothing");
	shows($source, 'replicator', "state = 'streaming' AND lag = '0'", "$name: the replicator neither");
}

# --- copies ----------------------------------------------------------------------------

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
insert();
my $lock = FloTest::Session->new($source);
$lock->query('BEGIN');
$lock->query('SELECT pg_current_xact_id()');
create_copy_group($source, $dest, 'g', tables => "'{t}'", wait => 0);
shows($source, 'replicator', "state <> 'streaming' AND lag > '0.5 s'", 'copy that has not begun: the replicator lags');
shows($dest, 'postgres', "state <> 'streaming' AND lag > '0.5 s'", 'copy that has not begun: the worker, too');
my $there = FloTest::Session->new($dest);
$there->query('BEGIN');
$there->query('LOCK TABLE t');
$lock->query('COMMIT');
shows($source, 'replicator', "state = 'copying' AND detail LIKE 'all tables are published%' AND lag = '0'",
	'copy that is published');
shows($dest, 'postgres', "state = 'copying' AND lag > '0.7 s'", 'copy that is not in: the worker lags');
$source->stop('fast');
shows($dest, 'postgres', "state = 'copying' AND lag > '1 s'", 'the source is away, but all is published');
$source->start;
$there->query('COMMIT');
calm('copy');

$there->query('BEGIN');
$there->query('LOCK TABLE t');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
shows($dest, 'postgres', "lag > '0.5 s'", 'copied afresh: the worker lags');
$there->query('COMMIT');
calm('copied afresh');

# One that comes too late for the copy waits for a person
$dest->safe_psql('postgres', 'CREATE DATABASE late');
insert() for 1 .. 40;
wait_caught_up($source, $dest, 'g');
ok(wait_until($source, 'postgres', q{SELECT messages < 40 FROM flo.stream_status('g')}, 'a purge'), 'purged');
$dest->safe_psql('late', q{CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT flo.create_worker('g'); SELECT flo.start_group('g')});
ok(wait_until($dest, 'late',
		q{SELECT state = 'waiting' AND detail LIKE 'needs flo.resync%' AND lag > '0.5 s' FROM flo.status},
		'the late worker'), 'a worker that needs a resync lags');
$dest->safe_psql('late', q{SELECT flo.stop_group('g'); SELECT flo.drop_group('g')});

# A copy whose source is gone
$source->safe_psql('postgres', 'CREATE TABLE more (id int PRIMARY KEY); INSERT INTO more VALUES (1)');
$dest->safe_psql('postgres', 'CREATE TABLE more (id int PRIMARY KEY)');
halt_at($source, 'range.before');
$source->safe_psql('postgres', q{SELECT flo.add_table('g', 'more')});
ok(await_halt($source, 'range'), 'a copy in the midst');
shows($source, 'replicator', "state = 'copying' AND lag > '0.5 s'", 'copy of a table: the replicator lags');
shows($dest, 'postgres', "state = 'copying' AND lag > '0.5 s'", 'copy of a table: the worker lags');
$source->stop('immediate');
shows($dest, 'postgres', "state = 'waiting' AND detail LIKE 'nothing heard from the replicator since%' AND lag > '2 s'",
	'copy of a table: the worker notices that the source is gone');
$source->start;
calm('copied after all');

# --- a full broker ---------------------------------------------------------------------

# Another group that nobody reads fills it
$source->safe_psql('postgres', 'CREATE TABLE fills (id bigserial PRIMARY KEY, v text)');
create_group($source, undef, 'h', tables => "'{fills}'");
$source->safe_psql('postgres', "INSERT INTO fills (v) SELECT string_agg(md5((i * j)::text), '')
	FROM generate_series(1, 1000) i, generate_series(1, 160) j GROUP BY i");
shows($source, 'replicator',
	"state = 'waiting' AND detail LIKE 'broker full%' AND lag > '0.5 s' AND pending_bytes > 10000",
	'broker full: lag and bytes of the one that filled it', 'h');
$source->safe_psql('postgres', 'INSERT INTO t SELECT i, repeat(md5(i::text), 100) FROM generate_series(1000, 1100) i');
shows($source, 'replicator', "state = 'waiting' AND detail LIKE 'broker full%' AND lag > '0.5 s' AND pending_bytes > 0",
	'broker full: and of another');
shows($dest, 'postgres',
	"state = 'waiting' AND detail LIKE 'for the replicator, which waits: broker full%' AND lag > '0.5 s'",
	'broker full: the worker that is idle because of it');
$source->safe_psql('postgres', q{SELECT flo.drop_group('h', purge_stream => true)});
calm('room again');

# --- who waits for a person ------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
$_->safe_psql('postgres', 'TRUNCATE t') for $source, $dest;
$source->safe_psql('postgres',
	q{SELECT flo.create_replicator('g', schemas => '{public}', track_ddl => true, except_tables => '{fills}')});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g', options => '{"ddl": "hold"}')});
start_member($dest, 'g', 'postgres');
$source->safe_psql('postgres', 'ALTER TABLE t ADD w int');
insert() for 1 .. 5;
shows($dest, 'postgres',
	"state = 'waiting' AND detail LIKE 'for flo.release_ddl%' AND lag > '0.5 s' AND pending_bytes > 500",
	'held DDL: lag and pending bytes');
$dest->safe_psql('postgres', 'SELECT flo.release_ddl(id) FROM flo.pending_ddl');
calm('released');

# An endpoint
my $hook = FloHook->new('down');
my $url = $hook->url;
$dest->safe_psql('postgres',
	qq[SELECT flo.create_worker('g', sink => 'webhook', worker_name => 'hook', options => '{"url": "$url"}')]);
start_member($dest, 'g', 'hook');
$hook->answer('503 Busy');
insert() for 1 .. 3;
shows($dest, 'hook', "state = 'waiting' AND detail LIKE 'for endpoint%' AND lag > '0.5 s' AND pending_bytes > 0",
	'endpoint: lag and pending bytes');
my $pending = status_of($dest, 'g', 'hook', 'pending_bytes');
insert() for 1 .. 10;
shows($dest, 'hook', "pending_bytes > $pending", 'endpoint: they grow, although nothing is taken');
$hook->answer('200 OK');
shows($dest, 'hook', "state = 'streaming' AND lag = '0' AND pending_bytes = 0", 'endpoint: taken');

# --- WAL that is read again ------------------------------------------------------------

# Kept by a transaction that is open all the time
my $open = FloTest::Session->new($source);
$open->query('BEGIN');
$open->query("INSERT INTO t VALUES (-1, 'open')");
$source->safe_psql('postgres',
	"SELECT count(pg_logical_emit_message(false, 'x', repeat('x', 1000000))) FROM generate_series(1, 40)");
insert();
wait_caught_up($source, $dest, 'g');
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
shows($source, 'replicator', "state = 'stopped'", 'stopped');
halt_at($source, 'decode.before');
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
ok(await_halt($source, 'decode'), 'a process reads');
shows($source, 'replicator',
	"state = 'waiting' AND detail ~ '^reading WAL again from [0-9A-F]+/[0-9A-F]+, (39|4[0-9]) MB to go\$'",
	'reading WAL again');
kill9_member($source, 'g', 'replicator');
shows($source, 'replicator', "state = 'streaming'", 'read');
calm('read again');
$open = undef;
done_testing();
