
# What a group has at the broker is one database's: nobody else removes or changes
# it, whatever way led to the same name.

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
my $dest = flo_node('dest', $nats);
my $stranger = flo_node('stranger', $nats);
my $stream = 'pgflo_g_stream';
my $system = $source->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');

$_->safe_psql('postgres', 'CREATE TABLE t (id serial PRIMARY KEY, v text)') for $source, $dest, $stranger;
create_group($source, $dest, 'g');

# Everything at the broker but what the members themselves change
sub shown
{
	return join "\n", map {
		my $info = $nats->api("STREAM.INFO.$_");
		JSON::PP->new->canonical->encode($info->{config}) . ' ' . ($info->{created} // '');
	} $nats->streams;
}
my $before = shown();
sub untouched
{
	my ($name) = @_;
	is(shown(), $before, "$name: nothing at the broker is other than before");
	$source->safe_psql('postgres', "INSERT INTO t (v) VALUES ('$name')");
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', "$name: the group goes on");
	is(status_of($source, 'g', 'replicator', 'restarts') . status_of($dest, 'g', 'postgres', 'restarts'), '00',
		"$name: undisturbed");
}
# It is not to be had from there: started, asked, resynchronized and removed
sub refused
{
	my ($node, $db, $whose, $name) = @_;

	$node->safe_psql($db, q{SELECT flo.start_group('g')});
	wait_state($node, 'g', 'replicator', 'failed', $db);
	like(status_of($node, 'g', 'replicator', 'detail', $db), $whose, "$name: failed, and names the owner");
	my $row = $node->safe_psql($db, q{SELECT status, detail, hint FROM flo.check('g')
		WHERE item ~ '^owner of the stream'});
	like($row, qr/^error\|.*$whose/, "$name: so does flo.check()");
	unlike($row, qr/purge_stream/, "$name: whose hint is not to remove it");
	like(error_of($node, qq{SELECT flo.$_('g', purge_stream => true)}, $db), qr/^55006: .*$whose.*\n.*force => true/s,
		"$name: $_() is refused")
	  for qw(drop_replicator drop_group);
	untouched($name);
}

# --- another group of the name -------------------------------------------------------------

$source->safe_psql('postgres', 'CREATE DATABASE other');
$source->safe_psql('other', q{CREATE EXTENSION pg_flo; CREATE TABLE t (id serial PRIMARY KEY);
	SELECT flo.create_replicator('g', options => '{"stream_max_bytes": "1MB"}')});
refused($source, 'other', qr/owned by another source: database "postgres" of this cluster/, 'another database');
like(error_of($source, q{SELECT flo.resync('g')}, 'other'), qr{^55000}, 'flo.resync() has nothing to begin anew there');
untouched('another database, resync');
$source->safe_psql('other', q{SELECT flo.drop_group('g')});
untouched('another database, dropped without its stream');

$stranger->safe_psql('postgres',
	q{SELECT flo.create_replicator('g', mode => 'copy_and_stream', options => '{"stream_max_bytes": "1MB"}')});
refused($stranger, 'postgres', qr/owned by another source: database "postgres" of cluster "source" \(system $system\)/,
	'another cluster');
$stranger->safe_psql('postgres', q{SELECT flo.drop_group('g')});

# --- copies of the source -------------------------------------------------------------------

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$source->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-p', $source->port, '-h', $source->host, 'postgres' ], 'pg_dump');
$source->safe_psql('postgres', 'CREATE DATABASE restored');
$source->command_ok([ 'pg_restore', '-d', 'restored', '-p', $source->port, '-h', $source->host, $dump ], 'pg_restore');
refused($source, 'restored', qr/database "postgres" of this cluster/, 'a restored copy in this cluster');
$stranger->safe_psql('postgres', 'CREATE DATABASE restored');
$stranger->command_ok([ 'pg_restore', '-d', 'restored', '-p', $stranger->port, '-h', $stranger->host, $dump ],
	'pg_restore elsewhere');
refused($stranger, 'restored', qr/database "postgres" of cluster "source"/, 'a restored copy in another cluster');

$source->stop('fast');
$source->backup_fs_cold('copy');
$source->start;
wait_state($source, 'g', 'replicator', 'streaming');
$before = shown();
$source->safe_psql('postgres', q{INSERT INTO t (v) VALUES ('after the copy was made')});
wait_caught_up($source, $dest, 'g');
my $clone = PostgreSQL::Test::Cluster->new('clone');
$clone->init_from_backup($source, 'copy');
$clone->append_conf('postgresql.conf', "pg_flo.enabled = off\n");
$clone->start;
like(error_of($clone, q{SELECT flo.drop_group('g', purge_stream => true)}),
	qr/^55006: .*(history diverged|another replicator publishes)/, 'a copy of the files must not remove the stream');
untouched('a copy of the files');
$clone->safe_psql('postgres', q{SELECT flo.drop_group('g')});
untouched('a copy of the files, dropped there');
$clone->stop('fast');

# --- a destination -----------------------------------------------------------------------------

like(error_of($dest, q{SELECT flo.drop_group('g', purge_stream => true)}),
	qr/^55006: .*database "postgres" of cluster "source"/, 'a destination must not remove the stream');
wait_state($dest, 'g', 'postgres', 'streaming');
$before = shown();
untouched('a destination');
my $consumer = $source->safe_psql('postgres', q{SELECT consumer FROM flo.stream_status('g')});
$stranger->safe_psql('postgres', q{SELECT flo.create_worker('g', options => '{"start": "latest"}');
	SELECT flo.start_group('g')});
wait_state($stranger, 'g', 'postgres', 'streaming');
like(error_of($stranger, qq{SELECT flo.drop_consumer('g', '$consumer')}),
	qr/^55006: .*database "postgres" of cluster "source".*\n.*at the source/s, "nor another destination's consumer");
untouched('the consumer of another destination');
$stranger->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'postgres')});
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.stream_status('g')}), '1', 'its own it may');

# A copy of a destination: the registration is that of the one which goes on
$dest->stop('fast');
$dest->backup_fs_cold('copy');
$dest->start;
wait_state($dest, 'g', 'postgres', 'streaming');
untouched('before the copy of a destination');
my $twin = PostgreSQL::Test::Cluster->new('twin');
$twin->init_from_backup($dest, 'copy');
$twin->append_conf('postgresql.conf', "pg_flo.enabled = off\n");
$twin->start;
wait_until($source, 'postgres', q{SELECT acked_lsn > '0/0' FROM flo.stream_status('g')}, 'a report') or die;
my ($lsn) = $twin->safe_psql('postgres', q{SELECT remote_lsn FROM pg_replication_origin_status});
ok(wait_until($source, 'postgres', "SELECT acked_lsn > '$lsn' FROM flo.stream_status('g')",
	'the destination to be ahead'), 'the destination is ahead of its copy');
like(error_of($twin, q{SELECT flo.drop_worker('g', 'postgres')}), qr/^55006: .*another copy of this database/,
	'a copy of a destination must not take its registration');
my ($out, $err) = ('', '');
is($twin->psql('postgres', q{SELECT flo.drop_group('g', force => true)}, stdout => \$out, stderr => \$err), 0,
	'with force it is dropped there');
like($err, qr/WARNING: .*another copy of this database/, 'and the registration stays');
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.stream_status('g')}), '1', 'which it does');
$twin->stop('fast');
untouched('a copy of a destination');

# --- the owner, and who is told to ----------------------------------------------------------------

# a worker that goes on makes itself a bucket whenever there is none
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
is(error_of($source, q{SELECT flo.drop_replicator('g')}), '', 'dropped without its stream');
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g'); SELECT flo.start_group('g')});
wait_state($source, 'g', 'replicator', 'failed');
like(status_of($source, 'g', 'replicator', 'detail'), qr/earlier group of this name/,
	'a new group of the name does not go on with it');
like($source->safe_psql('postgres', q{SELECT hint FROM flo.check('g') WHERE item ~ '^owner of the stream'}),
	qr/purge_stream/, 'here the way out is to remove it');
is(error_of($source, q{SELECT flo.drop_group('g', purge_stream => true)}), '', 'which the owner may');
is_deeply([ $nats->streams ], [], 'all of it');

# One that was made and holds nothing yet is somebody's too
my $owner = qq{pg_flo group g, }
	  . qq{owner {"version":1,"system_identifier":"1","database_oid":5,"database":"app","cluster":""}};
$nats->api('STREAM.CREATE.pgflo_g_stream', { name => 'pgflo_g_stream', subjects => ['pgflo.g'], storage => 'file',
	retention => 'limits',
	discard => 'new', max_bytes => 100000, num_replicas => 1, description => $owner });
$before = shown();
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', mode => 'copy'); SELECT flo.start_group('g')});
wait_state($source, 'g', 'replicator', 'failed');
like(status_of($source, 'g', 'replicator', 'detail'), qr/database "app" of another cluster \(system 1\)/,
	'an empty stream of another owner');
is(shown(), $before, 'it is left as it is');
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true, force => true)});
is_deeply([ $nats->streams ], [], 'with force it goes');

$_->stop('fast') for $source, $dest, $stranger;
done_testing();
