
# Bad input that shows only with a broker, or for want of one: every case is a
# clear error with SQLSTATE and hint from the function, or is told by flo.status
# and flo.check, and leaves nothing half-created.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker', start => 0);
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $table = 'CREATE TABLE t (id int PRIMARY KEY, v text)';

$_->safe_psql('postgres', $table) for $source, $dest;

# What flo.check says about the broker, the worst first
sub check_says
{
	my ($node, $pattern, $name) = @_;
	my $rows = $node->safe_psql('postgres', q{SELECT item, status, detail, hint FROM flo.check()
		WHERE status = 'error'});

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($rows, $pattern, $name);
}

# detail and last_error of a member, once it matches
sub status_says
{
	my ($node, $group, $member, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_until($node, 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = '$group' AND member = '$member'
			AND concat_ws(' ', state, detail, last_error) ~* '$pattern')",
		$name), $name);
}

# --- NATS unreachable ------------------------------------------------------------------------

check_says($source, qr/nats.*error/i, 'check: NATS is unreachable');
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', tables => '{t}'); SELECT flo.start_group('g')});
status_says($source, 'g', 'replicator', '(waiting|backoff).*(nats|connect)', 'status: the replicator waits for NATS');
is($source->safe_psql('postgres', q{SELECT coalesce(concat(detail, last_error), '') ~ 'XX000' FROM flo.status}), 'f',
	'no internal error');
my $start = time();
like(error_of($source, q{SELECT * FROM flo.stream_status('g')}), qr/^08/, 'stream_status: a connection error');
like(error_of($source, q{SELECT flo.drop_group('g', purge_stream => true)}), qr/^08.*\n?/s,
	'drop_group: a connection error');
cmp_ok(time() - $start, '<', 25, 'both within 10 s');
like(error_of($source, q{SELECT flo.drop_group('g', purge_stream => true)}), qr/hint: .*force/s,
	'which knows the way out');

# a worker may be configured meanwhile, and waits
like(error_of($dest, q{SELECT flo.create_worker('g')}) || 'fine', qr/^(08|fine)/,
	'create_worker works, or is a connection error');
is($dest->safe_psql('postgres', q{SELECT (SELECT count(*) FROM flo.workers) = (SELECT count(*) FROM flo.groups)}), 't',
	'nothing half-created');

# everything goes on when NATS comes
$nats->start;
wait_state($source, 'g', 'replicator', 'streaming');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')})
  if $dest->safe_psql('postgres', 'SELECT count(*) FROM flo.workers') eq '0';
start_member($dest, 'g', 'postgres');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (1, 'late')});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'and then they stream');
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.check('g') WHERE status = 'error'}), '0',
	'check finds no error any more');

# dropped by force without a broker: a warning names what stays there
$nats->kill9;
{
	my ($out, $err);
	$dest->psql('postgres', q{SELECT flo.drop_group('g', force => true)}, stdout => \$out, stderr => \$err);
	like($err, qr/WARNING:.*pgflo_g_/s, 'drop_group by force names the consumer that stays');
	$source->psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true, force => true)}, stdout => \$out,
		stderr => \$err);
	like($err, qr/WARNING:.*pgflo_g_stream/s, 'and the stream');
	is($source->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '0', 'no slot stays here');
	is($source->safe_psql('postgres', 'SELECT count(*) FROM flo.groups'), '0', 'and no group');
}
$nats->start;

# --- a stream that belongs to another source ---------------------------------------------------

# The stream of the group dropped by force is still there, of an earlier generation
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', tables => '{t}'); SELECT flo.start_group('g')});
status_says($source, 'g', 'replicator', '^failed.*(generation|another|belongs|foreign)',
	'status: the stream is of another generation');
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
is_deeply([ $nats->streams ], [], 'purge_stream clears it');

create_group($source, $dest, 'g', tables => q{'{t}'});
my $rival = flo_node('rival', $nats);
$rival->safe_psql('postgres', "$table; INSERT INTO t VALUES (99, 'rival')");
$rival->safe_psql('postgres', q{SELECT flo.create_replicator('g', tables => '{t}'); SELECT flo.start_group('g')});
status_says($rival, 'g', 'replicator', '^failed.*(another|belongs|foreign|source)',
	'status: the stream belongs to another source');
like($rival->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', item, status, detail), '; ') FROM flo.check('g') }
	  . q{WHERE status = 'error'}),
	qr/stream|source|failed/i, 'check says so too');
$rival->safe_psql('postgres', q{SELECT flo.drop_group('g')});
$source->safe_psql('postgres', q{INSERT INTO t VALUES (2, 'mine')});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'the owner of the stream is not disturbed');
is_deeply([ $nats->streams ], [ 'KV_pg_flo_state_g', 'pgflo_g_stream' ], 'dropping the loser leaves the stream alone');
$rival->stop('fast');

# a stream by that name that is no stream of pg_flo's
$nats->api('STREAM.CREATE.pgflo_alien_stream',
	{ name => 'pgflo_alien_stream', subjects => ['pgflo.alien'], storage => 'file' });
$nats->publish('pgflo.alien', 'these are not the bytes you are looking for');
$source->safe_psql('postgres', q{SELECT flo.create_replicator('alien', tables => '{t}');
	SELECT flo.start_group('alien')});
status_says($source, 'alien', 'replicator', '^failed', 'a stream with foreign messages: failed');
$source->safe_psql('postgres', q{SELECT flo.drop_group('alien')});
is($source->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '1', 'and its slot is dropped with it');

# --- a group nobody publishes -------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.create_worker('lonely'); SELECT flo.start_group('lonely')});
status_says($dest, 'lonely', 'postgres', 'waiting.*stream', 'status: the worker waits for the stream');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('lonely')});

# --- what cannot be applied ----------------------------------------------------------------------

$dest->safe_psql('postgres', 'ALTER TABLE t RENAME v TO w');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (3, 'nowhere to go')});
status_says($dest, 'g', 'postgres', 'backoff.*column.*v', 'status: the destination misses a column');
$dest->safe_psql('postgres', 'ALTER TABLE t RENAME w TO v');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT v FROM t WHERE id = 3'), 'nowhere to go',
	'and goes on by itself when it is there');
$dest->safe_psql('postgres', 'ALTER TABLE t RENAME TO t_away');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (4, 'no table')});
status_says($dest, 'g', 'postgres', 'backoff.*public.*t', 'status: the destination misses a table');
$dest->safe_psql('postgres', 'ALTER TABLE t_away RENAME TO t');
wait_caught_up($source, $dest, 'g');
$dest->safe_psql('postgres', 'ALTER TABLE t ADD CHECK (id <> 5)');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (5, 'refused')});
status_says($dest, 'g', 'postgres', 'backoff.*check constraint', 'status: a constraint objects');
is(status_of($dest, 'g', 'postgres', 'last_error_at > now() - interval \'1 min\''), 't', 'with the time');
$dest->safe_psql('postgres', 'ALTER TABLE t DROP CONSTRAINT t_id_check');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM t WHERE id IN (3, 4, 5)'), '3', 'nothing was skipped');

# --- no free slot ---------------------------------------------------------------------------------

{
	# one group is configured while there is a slot, another when there is none
	$source->safe_psql('postgres', q{SELECT flo.create_replicator('noslot', tables => '{t}')});
	$source->safe_psql('postgres', q{
		SELECT count(pg_create_physical_replication_slot('full_' || i))
		FROM generate_series(1, current_setting('max_replication_slots')::int - (SELECT count(*)::int
			FROM pg_replication_slots)) i});
	like(error_of($source, q{SELECT flo.create_replicator('second', tables => '{t}')}),
		qr/^53\w\w\w: .*slot.*hint: .*max_replication_slots/s,
		'create_replicator: no free slot, and the setting to raise');
	is($source->safe_psql('postgres', q{SELECT (SELECT count(*) FROM flo.groups WHERE group_name = 'second'),
		(SELECT count(*) FROM pg_publication WHERE pubname LIKE '%second')}),
		'0|0', 'nothing half-created');
	like($source->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', item, detail, hint), E'\n') FROM flo.check()
		WHERE status <> 'ok'}),
		qr/slot.*max_replication_slots/s, 'check: no free slot, and the setting to raise');
	$source->safe_psql('postgres', q{SELECT flo.start_group('noslot')});
	status_says($source, 'noslot', 'replicator', '^backoff.*slot', 'status: no free slot');
	is(status_of($source, 'g', 'replicator', 'state'), 'streaming', 'the other group is not bothered');
	$source->safe_psql('postgres', q{SELECT flo.drop_group('noslot', purge_stream => true)});
	$source->safe_psql('postgres', q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
		WHERE slot_name LIKE 'full\_%'});
}

# --- no free worker process -----------------------------------------------------------------------

{
	# the launcher, the member there is, the server's own launcher for logical replication: none left
	$dest->append_conf('postgresql.conf', "max_worker_processes = 3\n");
	$dest->restart;
	wait_state($dest, 'g', 'postgres', 'streaming');
	$dest->safe_psql('postgres',
		q{SELECT flo.create_worker('g', worker_name => 'second', options => '{"start": "latest"}')});
	my $error = error_of($dest, q{SELECT flo.start_group('g', 'second')});
	if ($error ne '')
	{
		like($error, qr/^53\w\w\w: .*hint: .*max_worker_processes/s,
			'start_group: no free worker process, and the setting to raise');
	}
	else
	{
		status_says($dest, 'g', 'second', '(backoff|waiting|starting).*max_worker_processes',
			'status: no free worker process, and the setting to raise');
	}
	like($dest->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', item, detail, hint), E'\n') FROM flo.check()
		WHERE status <> 'ok'}),
		qr/max_worker_processes/, 'check says so too');
	is(status_of($dest, 'g', 'postgres', 'state'), 'streaming', 'the other worker is not bothered');
	$dest->append_conf('postgresql.conf', "max_worker_processes = 24\n");
	$dest->restart;
	$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'second')});
}

# --- JetStream off --------------------------------------------------------------------------------

{
	my $off = FloTest::Nats->new('off', jetstream => 0);
	$_->append_conf('postgresql.conf', "pg_flo.nats_url = '" . $off->url . "'\n") for $source, $dest;
	$_->reload for $source, $dest;
	$_->poll_query_until('postgres', "SELECT current_setting('pg_flo.nats_url') = '" . $off->url . "'")
	  for $source, $dest;
	check_says($source, qr/jetstream/i, 'check: JetStream is off');
	$source->safe_psql('postgres', q{SELECT flo.create_replicator('off', tables => '{t}');
		SELECT flo.start_group('off')});
	status_says($source, 'off', 'replicator', '(waiting|backoff).*jetstream', 'status: JetStream is off');
	like(error_of($source, q{SELECT * FROM flo.stream_status('off')}), qr/^08.*jetstream/si,
		'stream_status: JetStream is off');
	$source->psql('postgres', q{SELECT flo.drop_group('off', force => true)});
	is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.groups WHERE group_name = 'off'}), '0',
		'and can be dropped');
	$_->append_conf('postgresql.conf', "pg_flo.nats_url = '" . $nats->url . "'\n") for $source, $dest;
	$_->reload for $source, $dest;
	wait_state($source, 'g', 'replicator', 'streaming');
	wait_state($dest, 'g', 'postgres', 'streaming');
	$source->safe_psql('postgres', q{INSERT INTO t VALUES (6, 'back')});
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', 'a change of pg_flo.nats_url needs no restart');
}

# --- a stream that somebody deleted ---------------------------------------------------------------

# The worker has everything, so nothing is lost: it is made anew
$nats->api('STREAM.DELETE.pgflo_g_stream');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (7, 'after')});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'a stream that was deleted when everybody had everything is made anew');

# --- not preloaded, wal_level ---------------------------------------------------------------------

{
	my $bare = flo_node('bare', $nats, conf => "shared_preload_libraries = ''\nwal_level = replica\n", extension => 0);
	$bare->safe_psql('postgres', "CREATE EXTENSION pg_flo; $table");
	like(error_of($bare, q{SELECT flo.create_replicator('g', tables => '{t}')}),
		qr/^55000: .*hint: .*shared_preload_libraries/s,
		'create_replicator without preloading');
	like(error_of($bare, q{SELECT flo.create_worker('g')}), qr/^55000: .*hint: .*shared_preload_libraries/s,
		'create_worker without preloading');
	like($bare->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', item, detail, hint), E'\n') FROM flo.check()
		WHERE status = 'error'}),
		qr/shared_preload_libraries/, 'check without preloading');
	$bare->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_flo'\n");
	$bare->restart;
	like(error_of($bare, q{SELECT flo.create_replicator('g', tables => '{t}')}),
		qr/^55000: .*wal_level.*hint: .*wal_level/s,
		'create_replicator with wal_level replica');
	is($bare->safe_psql('postgres', 'SELECT (SELECT count(*) FROM flo.groups), (SELECT count(*) FROM pg_publication)'),
		'0|0', 'nothing half-created');

	# wal_level lowered later, while there is no slot yet that would keep the server from starting
	$bare->append_conf('postgresql.conf', "wal_level = logical\n");
	$bare->restart;
	$bare->safe_psql('postgres', q{SELECT flo.create_replicator('g', tables => '{t}')});
	$bare->append_conf('postgresql.conf', "wal_level = replica\n");
	$bare->restart;
	like($bare->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', item, status, detail, hint), E'\n')
		FROM flo.check() WHERE status = 'error'}),
		qr/wal_level/, 'check with wal_level replica');
	$bare->stop('fast');
}

$_->stop('fast') for $source, $dest;
done_testing();
