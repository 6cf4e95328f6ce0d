# NATS users with exactly the permissions of doc/nats-permissions.conf: all that
# a group does works with them, and they keep out what doc/security.md says.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $conf = slurp_file("$FindBin::Bin/../doc/nats-permissions.conf");
# the test's own user may do everything
$conf =~ s/users = \[/users = [\n    { user: "test", password: "test" }/ or die;
my $nats = FloTest::Nats->new('broker', conf => $conf);

sub node
{
	my ($name) = @_;
	my $node = flo_node($name, $nats, start => 0);
	my ($user) = $name eq 'source' ? 'source' : 'destination';

	$node->append_conf('postgresql.conf',
		"pg_flo.nats_user = '$user'\npg_flo.nats_password = 'of the $user'\npg_flo.nats_inbox_prefix = "
		  . "'_INBOX_$user'\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION pg_flo');
	return $node;
}
my $source = node('source');
my $dest = node('dest');

# --- everything works ----------------------------------------------------------------------

$source->safe_psql('postgres', q{
	CREATE TABLE t (id serial PRIMARY KEY, v text);
	INSERT INTO t (v) SELECT repeat('x', 100) FROM generate_series(1, 20000);
	CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later SELECT generate_series(1, 100);
	SELECT flo.create_replicator('users', tables => '{t}', mode => 'copy_and_stream', sync_schema => true,
		track_ddl => true);
	SELECT flo.start_group('users')});
$dest->safe_psql('postgres', q{
	CREATE TABLE later (id int PRIMARY KEY);
	SELECT flo.create_worker('users'); SELECT flo.start_group('users')});
wait_state($source, 'users', 'replicator', 'streaming');
wait_state($dest, 'users', 'postgres', 'streaming');
$source->safe_psql('postgres', q{INSERT INTO t (v) VALUES ('streamed'); ALTER TABLE t ADD COLUMN w int;
	UPDATE t SET w = 1 WHERE id < 10});
wait_caught_up($source, $dest, 'users');
is_same_table($source, $dest, 't', 'a copy with its schema, the stream and DDL');
$source->safe_psql('postgres', q{SELECT flo.alter_replicator('users', '{"large_transaction_size": "1MB"}')});
wait_state($source, 'users', 'replicator', 'streaming');
my $large = $source->background_psql('postgres');
$large->query_safe(q{BEGIN; INSERT INTO t (v) SELECT repeat('y', 100) FROM generate_series(1, 150000)});
ok(wait_until($_, 'postgres', 'SELECT max(open_bytes) > 0 FROM flo.status', 'pieces'),
	'a large transaction is out before its commit, at the ' . $_->name) for $source, $dest;
$large->query_safe('COMMIT');
$large->quit;
wait_caught_up($source, $dest, 'users');
is_same_table($source, $dest, 't', 'a large transaction');
$source->safe_psql('postgres', q{SELECT flo.add_table('users', 'later')});
ok(wait_until($dest, 'postgres', 'SELECT count(*) = 100 FROM later', 'the table'), 'a table added with its rows');
my $lsn = $source->safe_psql('postgres', q{SELECT flo.sync_sequences('users')});
is($dest->safe_psql('postgres', "SELECT flo.wait_for('users', '$lsn')"), 't', 'sequences');
cmp_ok($dest->safe_psql('postgres', q{SELECT last_value FROM t_id_seq}), '>=', 20001, 'with their values');
# sums and rows of a comparison, and rows that are written again
$dest->safe_psql('postgres', 'DELETE FROM t WHERE id < 4');
my $comparison = $source->safe_psql('postgres', q{SELECT flo.compare('users', 't', repair => true)});
ok(wait_until($source, 'postgres', "SELECT bool_and(state = 'repaired') FROM flo.comparisons WHERE id = $comparison",
	'a comparison'),
	'a comparison that repairs');
for ([ $source, 'source' ], [ $dest, 'destination' ])
{
	my ($node, $name) = @$_;
	my ($member) = $name eq 'source' ? 'replicator' : 'postgres';
	is($node->safe_psql('postgres', q{SELECT worker_name FROM flo.stream_status('users')}), 'postgres',
		"flo.stream_status() at the $name");
	is($node->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', item, detail), '; ') FROM flo.check('users') }
		  . q{WHERE status = 'error'}), '', "flo.check() at the $name");
	# of a row that all have had the stream keeps nothing once some heartbeats came behind it
	$source->safe_psql('postgres', q{INSERT INTO t (v) VALUES ('peeked at')});
	wait_caught_up($source, $dest, 'users');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM flo.peek('users', 1)}), '1', "flo.peek() at the $name");
	is($node->safe_psql('postgres', q{SELECT string_agg(detail, '; ') FROM flo.check_plan()
		WHERE item IN ('NATS', 'JetStream', 'max_payload', 'room at the broker') AND status <> 'ok'}), '',
		"flo.check_plan() at the $name");
	is(status_of($node, 'users', $member, 'last_error'), '', "no error at the $name");
}
ok(wait_until($dest, 'postgres', q{SELECT detail ~ '^2 of the source are here' FROM flo.check('users')
	WHERE item = 'tables of group users'}, 'the comparison'), 'tables are compared');
is($dest->safe_psql('postgres', q{SELECT source_seen_at IS NOT NULL AND lag < '1 min' FROM flo.status}), 't',
	'the source is heard');
my $consumer = $dest->safe_psql('postgres', q{SELECT consumer FROM flo.stream_status('users')});

$dest->safe_psql('postgres', q{SELECT flo.create_worker('users', 'nats', 'rows', '{"kv_bucket": "users_rows"}');
	SELECT flo.start_group('users', 'rows')});
$source->safe_psql('postgres', q{INSERT INTO t (v) VALUES ('a row'); TRUNCATE later});
wait_caught_up($source, $dest, 'users', member => 'rows');
is(status_of($dest, 'users', 'rows', 'last_error'), '', 'rows in a bucket');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('users', 'rows')});
wait_state($dest, 'users', 'rows', 'stopped');
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('users', 'rows')});
$nats->api('STREAM.DELETE.KV_users_rows');		# it stays, as rows in tables do

# --- and no more than that --------------------------------------------------------------------

# Lines sent to the broker as a user; what it says against them
sub complaints
{
	my ($user, @lines) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $nats->port, Proto => 'tcp', Timeout => 10)
	  or die "connect: $@";
	my @said;

	print $socket 'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,'
	  . qq["user":"$user","pass":"of the $user"}\r\n];
	print $socket "$_\r\n" for @lines, 'PING';
	while (my $line = <$socket>)
	{
		last if $line =~ /^PONG/;
		push @said, $line =~ s/\s+$//r if $line =~ /^-ERR/;
	}
	return join("\n", @said);
}
sub may { my ($user, $subject) = @_; return complaints($user, "PUB $subject 1", 'x') eq ''; }
sub may_hear { my ($user, $subject) = @_; return complaints($user, "SUB $subject 1") eq ''; }

my $state = 'KV_pg_flo_state_users';
for my $subject ('pgflo.users', 'pgflo.users.copy.0',
	(map { "\$KV.pg_flo_state_users.$_" } qw(source generation attempt copy copy.16384 schema schema.1 schema-marked
	sequences sequences.1 worker)),
	(map { "\$JS.API.STREAM.$_.pgflo_users_stream" } qw(PURGE DELETE UPDATE CREATE SNAPSHOT RESTORE MSG.DELETE)),
	(map { "\$JS.API.STREAM.$_.$state" } qw(PURGE DELETE UPDATE CREATE MSG.DELETE)),
	'$JS.API.STREAM.CREATE.mine', '$JS.API.STREAM.INFO.pgflo_other_stream',
	'$JS.API.STREAM.MSG.GET.KV_pg_flo_state_other', '$JS.API.STREAM.NAMES',
	"\$JS.API.CONSUMER.DURABLE.CREATE.$state.mine", '$JS.API.CONSUMER.DURABLE.CREATE.pgflo_other_stream.mine',
	'$JS.API.DIRECT.GET.KV_pg_flo_state_other', '_INBOX_source.x.y')
{
	ok(!may('destination', $subject), "the destination may not publish to $subject");
}
for my $subject ('>', 'pgflo.users', '_INBOX_source.>', '_INBOX.>', '$KV.pg_flo_state_users.>', '$JS.API.>',
	'$JS.ACK.>')
{
	ok(!may_hear('destination', $subject), "nor listen to $subject");
}
for my $subject ('pgflo.other', '$KV.pg_flo_state_other.source', '$JS.API.STREAM.PURGE.pgflo_other_stream',
	'$JS.API.STREAM.INFO.pgflo_other_stream')
{
	ok(!may('source', $subject), "the source may not publish to $subject");
}
ok(!may_hear('source', '_INBOX_destination.>'), 'nor listen to the destination');
ok(may('destination', "\$KV.pg_flo_state_users.worker.x"), 'the destination may write what workers report');

# a key that it may write does not empty the rest of the bucket
my $kept = $nats->api("STREAM.INFO.$state")->{state}{messages};
my $header = "NATS/1.0\r\nNats-Rollup: all\r\n\r\n";
complaints('destination', sprintf('HPUB $KV.pg_flo_state_users.worker.x %d %d', length $header, length($header) + 1),
	$header . 'x');
is($nats->api("STREAM.INFO.$state")->{state}{messages}, $kept, 'a report with a roll-up header removes nothing');

# --- the end --------------------------------------------------------------------------------------

$source->safe_psql('postgres', q{INSERT INTO t (v) VALUES ('after all that')});
wait_caught_up($source, $dest, 'users');
is_same_table($source, $dest, 't', 'the group goes on');
$source->safe_psql('postgres', q{SELECT flo.resync('users')});
ok(wait_until($dest, 'postgres', q{SELECT state = 'streaming' FROM flo.status WHERE member = 'postgres'}, 'the copy'),
	'a resync');
wait_caught_up($source, $dest, 'users');
is_same_table($source, $dest, 't', 'with all rows');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('users', 'nats', options => '{"start": "latest"}');
	SELECT flo.create_worker('users', 'nats', 'core',
		'{"start": "latest", "jetstream": false, "subject": "cdc.users.{table}"}');
	SELECT flo.start_group('users')});
wait_state($dest, 'users', $_, 'streaming') for qw(nats core);
$source->safe_psql('postgres', q{INSERT INTO t (v) VALUES ('as a message')});
wait_caught_up($source, $dest, 'users');
is($nats->last_seq('cdc_users'), 1, 'events as messages, into a stream');
is(status_of($dest, 'users', 'core', 'inserts || coalesce(last_error, $$$$)'), '1', 'and to whoever listens');
$dest->safe_psql('postgres', qq{SELECT flo.drop_worker('users', '$_')}) for qw(nats core);
$nats->api('STREAM.DELETE.cdc_users');
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('users', 'postgres')});
ok(!grep({ $_ eq $consumer } @{ $nats->api('CONSUMER.NAMES.pgflo_users_stream', {})->{consumers} || [] }),
	'the worker is dropped with its consumer');
$source->safe_psql('postgres', q{SELECT flo.drop_replicator('users', purge_stream => true)});
is(join(' ', $nats->streams), '', 'and the replicator with its streams');

done_testing();
