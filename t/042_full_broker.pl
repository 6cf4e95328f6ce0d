
# A broker without room for more: whatever limit is met, both sides wait, what
# frees space needs none, and both go on by themselves.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker', room => '4MB');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats, conf => "max_worker_processes = 30\n");

sub users
{
	return 'accounts { A { jetstream: { ' . $_[0]
	  . ' }, users: [ { user: test, password: test }, { user: pgflo, password: pgflo } ] } }';
}
sub shows
{
	my ($node, $member, $pattern, $name) = @_;
	ok(wait_until($node, 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g' AND member = '$member'"
		  . " AND concat_ws(' ', state, detail) ~ '$pattern')", "$member to show $pattern"), $name)
	  or diag(status_of($node, 'g', $member, "concat_ws(' | ', state, detail, last_error)"));
}
sub restarts
{
	return status_of($source, 'g', 'replicator', 'restarts') . ' ' . status_of($dest, 'g', 'postgres', 'restarts');
}
sub same { wait_caught_up($source, $dest, 'g'); is_same_table($source, $dest, 't', "$_[0]: the same rows"); }
sub drop_both
{
	$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
	$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
	$_->safe_psql('postgres', 'TRUNCATE t, hidden') for $source, $dest;
}
# An empty broker with these limits, in an account of its own where "user" is set
sub as_user
{
	my ($user, $room, $accounts) = @_;
	$_->append_conf('postgresql.conf', "pg_flo.nats_user = '$user'\npg_flo.nats_password = '$user'\n")
	  for $source, $dest;
	$_->reload for $source, $dest;
	$nats->stop;
	$nats->forget;
	$nats->start;
	$nats->set_room($room, $accounts);
}
# some MB, in transactions of half a chunk to two chunks
sub write_mb
{
	my ($mb) = @_;
	$source->safe_psql('postgres', "DO \$\$ BEGIN FOR i IN 1 .. $mb * 4 LOOP
		INSERT INTO t (v) SELECT repeat(md5((i * r)::text), 40 + i % 60) FROM generate_series(1, 100) r;
		UPDATE t SET v = left(v, 100) WHERE id % 50 = i % 50 AND length(v) > 100; COMMIT; END LOOP; END \$\$");
}

# values that travel at their length, and lie at the broker with that
my $plain = q{'{"compression": "none"}'};
$_->safe_psql('postgres', 'CREATE TABLE t (id bigserial PRIMARY KEY, v text); CREATE TABLE hidden (v text PRIMARY KEY);
	ALTER TABLE t ALTER v SET STORAGE EXTERNAL') for $source, $dest;
create_group($source, $dest, 'g', options => $plain, worker_options => q{'{"lock_timeout": "1h"}'});
my $stream = 'pgflo_g_stream';

# --- the server's limit ------------------------------------------------------------------------

my $lock = FloTest::Session->new($dest);
$lock->query('BEGIN; LOCK TABLE t');
write_mb(8);
shows($source, 'replicator', '^waiting broker full: .* of .*, slowest consumer postgres',
	"the server's limit: the replicator waits and says who holds what is there");
my $before = restarts();
like($nats->publish('$KV.pg_flo_state_g.probe', 'x')->{error}{description}, qr/insufficient resources/,
	'nothing more can be stored, reports neither');
cmp_ok($source->safe_psql('postgres', "SELECT retained_wal_bytes FROM flo.status WHERE member = 'replicator'"), '>',
	2 * 1024 * 1024, 'the source keeps the WAL');
# a rule that comes while it waits holds for what is committed after that
$source->safe_psql('postgres', q{INSERT INTO flo.rules (group_name, stage, table_name, column_name, action)
	VALUES ('g', 'replicator', 'hidden', 'v', 'mask')});
shows($source, 'replicator', '^waiting broker full', 'it still waits');
$source->safe_psql('postgres', q{INSERT INTO hidden VALUES ('secret')});
$lock->query('COMMIT');
same("the server's limit");
is($dest->safe_psql('postgres', 'SELECT v FROM hidden'), 's****t',
	'nothing is published without a rule that came meanwhile');
is(restarts(), $before, 'without a restart on either side');
is($before, '0 0', 'nor while it filled up');

# Begun anew while it is full: the worker, then both
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
write_mb(8);
shows($source, 'replicator', '^waiting broker full', 'the worker stopped');
kill9_member($source, 'g', 'replicator');
wait_until($source, 'postgres', 'SELECT true', 'the source') or die;
shows($source, 'replicator', '^waiting broker full', 'a replicator that begins while it is full waits');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
same('a worker that starts while it is full');

$lock->query('BEGIN; LOCK TABLE t');
write_mb(8);
shows($source, 'replicator', '^waiting broker full', 'full once more');
$nats->kill9;
$nats->start;
$lock->query('COMMIT');
same('nats-server killed while it is full');

# One transaction that does not fit
$source->safe_psql('postgres', q{INSERT INTO t (v) SELECT repeat(md5(i::text), 30) FROM generate_series(1, 6000) i});
shows($source, 'replicator', '^waiting broker full', 'one transaction larger than the broker');
$nats->set_room('64MB');
same('it goes on when there is more room');
$nats->set_room('4MB');

# A destination that is gone holds everything: its registration can be removed
$dest->safe_psql('postgres', 'CREATE DATABASE gone');
$dest->safe_psql('gone', 'CREATE EXTENSION pg_flo; CREATE TABLE t (id bigserial PRIMARY KEY, v text)');
$dest->safe_psql('gone', q{SELECT flo.create_worker('g', options => '{"start": "latest"}');
	SELECT flo.start_group('g')});
wait_state($dest, 'g', 'postgres', 'streaming', 'gone');
wait_until($source, 'postgres', q{SELECT EXISTS (SELECT FROM flo.stream_status('g') WHERE database = 'gone')},
	'its registration') or die;
$dest->safe_psql('gone', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped', 'gone');
my $gone = $source->safe_psql('postgres', q{SELECT consumer FROM flo.stream_status('g') WHERE database = 'gone'});
$dest->safe_psql('postgres', 'DROP DATABASE gone');
write_mb(8);
shows($source, 'replicator', '^waiting broker full', 'full because of a destination that is gone');
is(error_of($source, "SELECT flo.drop_consumer('g', '$gone')"), '', 'its registration can be removed');
same('a destination that is gone');

# --- the account's limits ------------------------------------------------------------------------

drop_both();
as_user('pgflo', '1GB', users('max_mem: 1M, max_file: 4MB, max_streams: 10, max_consumers: 20'));
create_group($source, $dest, 'g', options => $plain, worker_options => q{'{"lock_timeout": "1h"}'});
$lock->query('BEGIN; LOCK TABLE t');
write_mb(8);
shows($source, 'replicator', '^waiting broker full: .* of 4096 kB that the account may keep, slowest consumer postgres',
	"the account's limit");
$before = restarts();
$lock->query('COMMIT');
same("the account's limit");
is(restarts(), $before, 'without a restart');

# --- events in such an account -------------------------------------------------------------------

sub taken_events
{
	my $taken = 0;
	my $purge = sub { $taken += $nats->api('STREAM.PURGE.cdc_g')->{purged} // 0; };
	my $last = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');

	shows($dest, 'nats', '^waiting for (room in stream|the replicator, which waits: broker full)',
		'events fill the account');
	ok(await(sub { $purge->();
				$dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$last', '1 s', 'nats')") eq 't' },
			'events to get on'), 'and get on as others take them');
	$purge->();
	return $taken;
}
# each once, whatever was refused before and behind it; a stream that fills the account, before
# its worker has begun or while it waits, leaves events their room
for my $late (0, 1)
{
	drop_both();
	as_user('pgflo', '1GB', users('max_mem: 1M, max_file: 4MB, max_streams: 10, max_consumers: 20'));
	create_group($source, undef, 'g', options => $plain);
	$dest->safe_psql('postgres', q{SELECT flo.create_worker('g', sink => 'nats', options => '{"start": "earliest"}')});
	$dest->safe_psql('postgres', q{SELECT flo.start_group('g')}) if !$late;
	wait_state($dest, 'g', 'nats', 'streaming') if !$late;
	# rows that have a chunk each: where it finds no room, its event finds none either
	$source->safe_psql('postgres', q{DO $$ BEGIN
		FOR i IN 1 .. 30 LOOP INSERT INTO t (v) SELECT repeat(md5(i::text), 7500); COMMIT; END LOOP;
		FOR i IN 1 .. 30 LOOP
			INSERT INTO t (v) SELECT repeat(md5(r::text), 40) FROM generate_series(1, 100) r; COMMIT;
		END LOOP; END $$});
	shows($source, 'replicator', '^waiting broker full: .* of 4096 kB', 'the account is full');
	$dest->safe_psql('postgres', q{SELECT flo.start_group('g')}) if $late;
	is(taken_events(), 3030, 'each once');
}

# copied rows as events: the copy's stream leaves them their room as well
drop_both();
as_user('pgflo', '1GB', users('max_mem: 1M, max_file: 4MB, max_streams: 10, max_consumers: 20'));
write_mb(8);
my $rows = $source->safe_psql('postgres', 'SELECT count(*) FROM t');
create_copy_group($source, undef, 'g', wait => 0, options => $plain);
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g', sink => 'nats', options => '{"start": "copy"}');
	SELECT flo.start_group('g')});
is(taken_events(), $rows, 'copied rows, each once');

# --- a copy ------------------------------------------------------------------------------------

drop_both();
as_user('', '4MB');
write_mb(8);
$lock->query('BEGIN; LOCK TABLE t');
create_copy_group($source, $dest, 'g', wait => 0, options => $plain, worker_options => q{'{"lock_timeout": "1h"}'});
shows($source, 'replicator', 'broker full: .* of ', 'a copy that does not fit waits');
write_mb(2);
$lock->query('COMMIT');
same('a copy');
ok(await(sub { ($nats->api("STREAM.INFO.pgflo_g_copy")->{error}{err_code} // 0) == 10059 }, 'its stream to go'),
	'its stream is gone');

# --- no stream more ------------------------------------------------------------------------------

drop_both();
as_user('pgflo', '1GB', users('max_mem: 1M, max_file: 100MB, max_streams: 1, max_consumers: 20'));
$source->safe_psql('postgres', "SELECT flo.create_replicator('g', options => $plain); SELECT flo.start_group('g')");
shows($source, 'replicator', '^waiting broker full: 1 of 1 streams that the account may have',
	'an account that may have no stream more');
$nats->set_room('1GB', users('max_mem: 1M, max_file: 100MB, max_streams: 5, max_consumers: 20'));
wait_state($source, 'g', 'replicator', 'streaming');
start_member($dest, 'g', 'postgres') if $dest->safe_psql('postgres', q{SELECT flo.create_worker('g')}) eq '';
write_mb(1);
same('it goes on when it may');

$_->stop('fast') for $source, $dest;
done_testing();
