
# Workers that come late: what they need may be purged, or taken in by others.
# They wait for flo.resync() and go on by themselves; none begins in the middle,
# and none waits for ever for what the broker does not have.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloChunk;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $table = 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE nokey (a int, b text)';
my $next = 1000000;

$_->safe_psql('postgres', $table) for $source, $dest;
$source->safe_psql('postgres', q{ALTER TABLE nokey REPLICA IDENTITY FULL;
	INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 500) i;
	INSERT INTO nokey SELECT i % 10, 'x' FROM generate_series(1, 500) i});

sub insert
{
	$next++;
	$source->safe_psql('postgres', "INSERT INTO t VALUES ($next, 'streamed');
		INSERT INTO nokey VALUES ($next, 'streamed')");
}

# A worker in a database of its own
sub late
{
	my ($db, $group, %param) = @_;
	my $options = $param{options} || "'{}'";
	my $sink = $param{sink} || 'postgres';

	$dest->safe_psql('postgres', "CREATE DATABASE $db");
	$dest->safe_psql($db,
		"CREATE EXTENSION pg_flo; $table; SELECT flo.create_worker('$group', sink => '$sink', worker_name => 'late',
		options => $options); SELECT flo.start_group('$group')");
}

sub wait_detail
{
	my ($db, $group, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_until($dest, $db, "SELECT state = 'waiting' AND detail ~ '$pattern' FROM flo.status
		WHERE group_name = '$group' AND member = 'late'", $name), $name);
}

sub same
{
	my ($db, $group, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_state($dest, $group, 'late', 'streaming', $db);
	insert();
	wait_caught_up($source, $dest, $group, dest_db => $db);
	is_same_table($source, $dest, $_, "$name: $_", [ 'postgres', $db ]) for qw(t nokey);
}

sub purged
{
	my ($group) = @_;
	insert() for 1 .. 8;
	wait_caught_up($source, $dest, $group);
	wait_until($source, 'postgres',
		"SELECT bool_and(first_lsn > (SELECT start_lsn FROM flo.generations WHERE group_name = '$group'))
		FROM flo.stream_status('$group')", 'history to be purged')
	  or die;
}

# --- the copy was taken in by others ------------------------------------------------------

create_copy_group($source, $dest, 'g', tables => q{'{t, nokey}'});
wait_caught_up($source, $dest, 'g');
wait_until($source, 'postgres', q{SELECT state = 'streaming' FROM flo.status}, 'the end of the copy') or die;
late('one', 'g');
wait_detail('one', 'g', q{needs flo\.resync\(.*g.*\) at the source: the copy was taken in by other workers and is gone},
	'a copy that is gone is waited for, and the remedy is named');
is($dest->safe_psql('one', 'SELECT count(*) FROM t'), '0', 'nothing is applied meanwhile');
purged('g');
pass('it does not keep the stream from being purged');
wait_detail('one', 'g', 'history purged', 'its history is purged now, too');
$dest->restart;
wait_detail('one', 'g', 'needs flo.resync', 'it waits after a restart as well');
$source->safe_psql('postgres', q{SELECT flo.resync('g', copy => false)});
wait_detail('one', 'g', 'the group began anew without a copy', 'going on without a copy is not what it needs');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
same('one', 'g', 'it goes on by itself after flo.resync()');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_, "and the other worker has the same: $_") for qw(t nokey);

# The out: begin with what comes from now on
wait_until($source, 'postgres', q{SELECT state = 'streaming' FROM flo.status}, 'the end of the copy') or die;
purged('g');
late('two', 'g');
wait_detail('two', 'g', 'history purged', 'another that is late');
$dest->safe_psql('two', q{SELECT flo.alter_worker('g', 'late', '{"start": "latest"}')});
wait_state($dest, 'g', 'late', 'streaming', 'two');
insert();
wait_caught_up($source, $dest, 'g', dest_db => 'two');
is($dest->safe_psql('two', 'SELECT array_agg(id) FROM t'), "{$next}",
	'start => latest goes on without the rows before');

# --- earliest: what the stream still holds --------------------------------------------------

# a transaction of many chunks, the beginning of which is purged
$source->safe_psql('postgres', q{INSERT INTO t SELECT i, repeat(md5(i::text), 100)
	FROM generate_series(100001, 101500) i});
insert();
wait_caught_up($source, $dest, 'g');
wait_caught_up($source, $dest, 'g', dest_db => 'one');
wait_caught_up($source, $dest, 'g', dest_db => 'two');
late('three', 'g', options => q{'{"start": "earliest"}'});
wait_state($dest, 'g', 'late', 'streaming', 'three');
insert();
wait_caught_up($source, $dest, 'g', dest_db => 'three');
my $first = $dest->safe_psql('three', 'SELECT count(*) FILTER (WHERE id BETWEEN 100001 AND 101500) IN (0, 1500),
	max(id) FILTER (WHERE id >= 1000000), count(*) > 0 FROM t');
is($first, "t|$next|t", 'start => earliest begins with the first whole transaction that is there');

# --- a marker whose copy is gone --------------------------------------------------------------

for my $db (qw(one two three))
{
	$dest->safe_psql($db, q{SELECT flo.drop_group('g')});
	$dest->safe_psql('postgres', "DROP DATABASE $db");
}
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
$dest->safe_psql('postgres', 'TRUNCATE t, nokey');

# nothing is purged while there are few messages: no heartbeats meanwhile
$source->append_conf('postgresql.conf', "pg_flo.heartbeat_interval = '60s'\n");
$source->reload;
$source->safe_psql('postgres', 'DELETE FROM t; DELETE FROM nokey');
create_group($source, $dest, 'm', tables => q{'{t}'});
$source->safe_psql('postgres', q{SELECT flo.add_table('m', 'nokey')});
wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the copy of the table') or die;
wait_until($source, 'postgres', q{SELECT state = 'streaming' FROM flo.status}, 'its end') or die;
late('four', 'm');
wait_detail('four', 'm', 'a copy of tables that the stream goes on with was taken in by other workers',
	'a marker whose copy is gone');
$source->append_conf('postgresql.conf', "pg_flo.heartbeat_interval = '1s'\n");
$source->reload;
$source->safe_psql('postgres', q{SELECT flo.resync('m')});
same('four', 'm', 'and flo.resync() lets it go on');

# --- a file -----------------------------------------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir();
late('five', 'm', sink => 'file', options => qq{'{"start": "copy", "directory": "$dir"}'});
wait_until($dest, 'five', q{SELECT state ~ 'waiting|streaming' FROM flo.status}, 'the file worker') or die;
purged('m') if status_of($dest, 'm', 'late', 'state', 'five') ne 'waiting';
$dest->safe_psql('five', q{SELECT flo.drop_worker('m', 'late')});
system("rm -f $dir/*");
purged('m');
$dest->safe_psql('five',
	qq{SELECT flo.create_worker('m', sink => 'file', worker_name => 'late',
	options => '{"start": "copy", "directory": "$dir"}'); SELECT flo.start_group('m')});
wait_detail('five', 'm', 'needs flo.resync', 'an event sink that wants the rows waits as well');
$source->safe_psql('postgres', q{SELECT flo.resync('m')});
wait_state($dest, 'm', 'late', 'streaming', 'five');
insert();
wait_caught_up($source, $dest, 'm', dest_db => 'five');
my @events = map { JSON::PP::decode_json($_) } grep { /\S/ } map { split /\n/,
	slurp_file($_) } glob("$dir/pg_flo_log_*.jsonl");
my %ids;
$ids{ $_->{NewTuple}{id} }++ for grep { $_->{Table} eq 't' && $_->{Type} eq 'INSERT' } @events;
is_deeply([ sort { $a <=> $b } keys %ids ],
	[ split /,/, $source->safe_psql('postgres', q{SELECT string_agg(id::text, ',' ORDER BY id) FROM t}) ],
	'its file has every row');
is_deeply([ grep { $ids{$_} > 1 } keys %ids ], [], 'once');

for my $db (qw(four five))
{
	$dest->safe_psql($db, q{SELECT flo.drop_group('m')});
}
$dest->safe_psql('postgres', q{SELECT flo.drop_group('m')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('m', purge_stream => true)});

# --- one that takes no copy is heard of first ------------------------------------------------------

$_->safe_psql('postgres', 'TRUNCATE t, nokey') for $source, $dest;
insert();
create_copy_group($source, undef, 'e', tables => q{'{t, nokey}'});
$dir = PostgreSQL::Test::Utils::tempdir();
$dest->safe_psql('postgres', qq{SELECT flo.create_worker('e', sink => 'file', options => '{"directory": "$dir"}')});
start_member($dest, 'e', 'file');
wait_until($source, 'postgres', q{SELECT detail ~ 'all tables are published' FROM flo.status}, 'the copy') or die;
late('events', 'e');
same('events', 'e', 'the copy stays for the one that is just starting');
$dest->safe_psql($_, q{SELECT flo.drop_group('e')}) for qw(events postgres);
$source->safe_psql('postgres', q{SELECT flo.drop_group('e', purge_stream => true)});

# --- in the middle of a copy that others take in -------------------------------------------------

$_->safe_psql('postgres', 'TRUNCATE t, nokey') for $source, $dest;
$source->safe_psql('postgres', q{INSERT INTO t SELECT i, repeat(md5(i::text), 40) FROM generate_series(1, 20000) i;
	INSERT INTO nokey SELECT i % 10, 'x' FROM generate_series(1, 500) i});
halt_at($source, 'copied.after');
create_copy_group($source, $dest, 'p', tables => q{'{t, nokey}'}, wait => 0);
await_halt($source, "the end of the copy") or die;
wait_until($dest, 'postgres', q{SELECT sum(tuples) = 20500 FROM flo.copied_chunks}, 'the first worker to load') or die;
wait_until($dest, 'postgres', q{SELECT detail ~ 'still reading' FROM flo.status}, 'it to wait for the rest') or die;
# as if the source had purged what everyone known had loaded
ok($nats->api('STREAM.PURGE.pgflo_p_copy')->{success}, 'what the first worker has loaded is purged');
late('six', 'p');
wait_state($dest, 'p', 'late', 'copying', 'six');
my $leader = helper_pid($source, 'copy leader');
$source->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
$source->reload;
$source->safe_psql('postgres', "SELECT pg_terminate_backend($leader)");
same('six', 'p', 'a worker that came in the middle');
wait_state($dest, 'p', 'postgres', 'streaming');
wait_caught_up($source, $dest, 'p');
is_same_table($source, $dest, $_, "and the first one: $_") for qw(t nokey);
$dest->safe_psql('six', q{SELECT flo.drop_group('p')});
$dest->safe_psql('postgres', q{SELECT flo.drop_group('p')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('p', purge_stream => true)});

# --- chunks that the broker has lost --------------------------------------------------------------

for my $kind ('the first copy', 'a copy after a marker')
{
	$dest->safe_psql('postgres', 'TRUNCATE t, nokey');
	my $marked = $kind =~ /marker/;
	create_copy_group($source, undef, 'l', tables => $marked ? q{'{t}'} : q{'{t, nokey}'},
		mode => $marked ? 'stream' : 'copy_and_stream');
	wait_state($source, 'l', 'replicator', $marked ? 'streaming' : 'copying');
	$source->safe_psql('postgres', q{SELECT flo.add_table('l', 'nokey'); SELECT flo.resync('l', 't')}) if $marked;
	wait_until($source, 'postgres', q{SELECT detail ~ 'workers are loading' FROM flo.status},
		'everything to be published') or die;
	my $info = $nats->api('STREAM.INFO.pgflo_l_copy');
	my $lost = $info->{state}{last_seq} - 1;
	ok($nats->api('STREAM.MSG.DELETE.pgflo_l_copy', { seq => $lost })->{success}, "$kind: a chunk is lost");

	# a late chunk of a copy that was given up, in another generation
	my $forged = FloChunk->parse($nats->message('pgflo_l_copy', $info->{state}{first_seq}));
	$forged->{generation} = 'x' x 16;
	substr($forged->{records}, 16, 4) = pack('N', 1000);
	ok($nats->publish('pgflo.l.copy.9', $forged->bytes)->{seq}, "$kind: a chunk of another generation comes in");
	$dest->safe_psql('postgres', q{SELECT flo.create_worker('l'); SELECT flo.start_group('l')});
	ok(wait_until($source, 'postgres',
		q{SELECT last_error LIKE '%misses chunks of table "public.%" that the broker does not have any more%'
		FROM flo.status}, 'the loss to be noticed'), "$kind: it is noticed");
	wait_state($dest, 'l', 'postgres', 'streaming');
	wait_state($source, 'l', 'replicator', 'streaming');
	insert();
	wait_caught_up($source, $dest, 'l');
	is_same_table($source, $dest, $_, "$kind: $_") for qw(t nokey);
	$dest->safe_psql('postgres', q{SELECT flo.drop_group('l')});
	$source->safe_psql('postgres', q{SELECT flo.drop_group('l', purge_stream => true)});
}

$_->stop('fast') for $source, $dest;
done_testing();
