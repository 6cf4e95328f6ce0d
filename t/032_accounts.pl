
# An account for each destination, with exactly the configuration of doc/security.md: all
# that a group does works from one account to another, and a destination that may do
# everything in its own reaches no other group and has nothing delivered elsewhere.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloNatsClient;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $doc = "$FindBin::Bin/../doc";
my ($conf) = slurp_file("$doc/security.md") =~ /^```conf\n(accounts \{.*?^\})\n```$/ms
  or BAIL_OUT('doc/security.md shows no accounts');

# The same once more for a destination "billing" of group "other", as the text says
my ($imports) = $conf =~ /imports: \[\n(.*?)^ *\]/ms or die;
my ($account) = $conf =~ /^(  analytics: \{.*?^  \}\n)/ms or die;
$imports =~ s/^.*"\$JS\.API\.INFO".*\n//m or die;
s/analytics/billing/g, s/pgflo([._])users/pgflo$1other/g, s/state_users/state_other/g for $imports, $account;
$conf =~ s/(imports: \[\n)/$1$imports/ or die;
$conf =~ s/(?=^  analytics: \{)/$account/m or die;
# the test's own user, in the account of group "users"
$conf =~ s/(users: \[)( \{ user: "analytics")/$1 { user: test, password: test },$2/ or die;

my $nats = FloTest::Nats->new('broker', conf => $conf);
my %password = (source => 'of the source', analytics => 'of the destination', billing => 'of the destination');
my ($source, $dest, $other) = map {
	flo_node($_, $nats, conf => "pg_flo.nats_user = '$_'\npg_flo.nats_password = '$password{$_}'\n"
		  . "pg_flo.nats_inbox_prefix = '_INBOX_" . ($_ eq 'source' ? $_ : 'destination') . "'\n")
} qw(source analytics billing);

sub client { return FloNatsClient->new($nats->port, user => $_[0], pass => $password{ $_[0] }); }
sub same
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_caught_up($source, $dest, 'users');
	is_same_table($source, $dest, 't', $name);
}

# --- everything works ----------------------------------------------------------------------

$source->safe_psql('postgres', q{
	CREATE TABLE t (id serial PRIMARY KEY, v text);
	INSERT INTO t (v) SELECT repeat('x', 100) FROM generate_series(1, 20000);
	CREATE TABLE secrets (id int PRIMARY KEY); INSERT INTO secrets SELECT generate_series(1, 100)});
create_copy_group($source, $dest, 'users', tables => q{'{t}'}, sync_schema => 1, track_ddl => 1);
create_copy_group($source, $other, 'other', tables => q{'{secrets}'}, sync_schema => 1);
$source->safe_psql('postgres', q{INSERT INTO t (v) VALUES ('streamed'); ALTER TABLE t ADD COLUMN w int;
	UPDATE t SET w = 1 WHERE id < 10});
same('a copy with its schema, the stream and DDL');
wait_caught_up($source, $other, 'other');
is_same_table($source, $other, 'secrets', 'another group with another account');
$source->safe_psql('postgres', q{SELECT flo.alter_replicator('users', '{"large_transaction_size": "1MB"}')});
wait_state($source, 'users', 'replicator', 'streaming');
my $large = $source->background_psql('postgres');
$large->query_safe(q{BEGIN; INSERT INTO t (v) SELECT repeat('y', 100) FROM generate_series(1, 100000)});
ok(wait_until($_, 'postgres', 'SELECT max(open_bytes) > 0 FROM flo.status', 'pieces'),
	'a large transaction is out before its commit, at ' . $_->name) for $source, $dest;
$large->query_safe('COMMIT');
$large->quit;
same('a large transaction');
my $lsn = $source->safe_psql('postgres', q{SELECT flo.sync_sequences('users')});
is($dest->safe_psql('postgres', "SELECT flo.wait_for('users', '$lsn')"), 't', 'sequences');
$dest->safe_psql('postgres', 'DELETE FROM t WHERE id < 4');
my $comparison = $source->safe_psql('postgres', q{SELECT flo.compare('users', 't', repair => true)});
ok(wait_until($source, 'postgres', "SELECT bool_and(state = 'repaired') FROM flo.comparisons WHERE id = $comparison",
	'a comparison'), 'a comparison that repairs');
same('what it has repaired');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('users', 'nats', 'events', '{"start": "latest"}');
	SELECT flo.start_group('users', 'events')});
wait_state($dest, 'users', 'events', 'streaming');
ok(wait_until($source, 'postgres', q{SELECT count(*) = 2 FROM flo.stream_status('users') WHERE last_seen IS NOT NULL},
	'it to be heard of'), 'a second worker is heard of');
my $backfill = $source->safe_psql('postgres', q{SELECT flo.backfill('users', 't', 'events', 'id <= 5')});
ok(wait_until($source, 'postgres', "SELECT finished_at IS NOT NULL FROM flo.backfills WHERE id = $backfill", 'its end'),
	'a backfill');
is($source->safe_psql('postgres', "SELECT state, rows_sent FROM flo.backfills WHERE id = $backfill"), 'done|5',
	'of its rows');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('users', 'events')});
wait_state($dest, 'users', 'events', 'stopped');
my $events = $source->safe_psql('postgres',
	q{SELECT consumer FROM flo.stream_status('users') WHERE worker_name = 'events'});
is(error_of($source, "SELECT flo.drop_consumer('users', '$events')"), '', 'the source drops its consumer');
is(@{ $nats->api('CONSUMER.NAMES.pgflo_users_stream', {})->{consumers} }, 1, 'which is gone');
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('users', 'events')});
ok(!$nats->api('STREAM.DELETE.cdc_users')->{error}, 'its events are in the account');
for ([ $source, 'replicator' ], [ $dest, 'postgres' ])
{
	my ($node, $member) = @$_;
	my $name = $node->name;

	is($node->safe_psql('postgres', q{SELECT worker_name FROM flo.stream_status('users')}), 'postgres',
		"flo.stream_status() at $name");
	is($node->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', item, detail), '; ') FROM flo.check('users')
		WHERE status = 'error'}), '', "flo.check() at $name");
	is(status_of($node, 'users', $member, 'last_error'), '', "no error at $name");
}
ok(wait_until($source, 'postgres', q{SELECT last_seen > now() - interval '20 s' FROM flo.stream_status('users')},
	'a report'), 'the worker is heard');
is($dest->safe_psql('postgres', q{SELECT source_seen_at IS NOT NULL AND lag < '1 min' FROM flo.status}), 't',
	'and the source');

# --- and no more than that --------------------------------------------------------------------

my $mine = client('analytics');
my $theirs = client('billing');
is(join(' ', $nats->streams), 'KV_pg_flo_state_users pgflo_users_stream', 'its account has the streams of its group');
sub consumer
{
	my ($stream, $name, %config) = @_;
	return $mine->api("CONSUMER.DURABLE.CREATE.$stream.$name", { stream_name => $stream, config => {
		durable_name => $name, deliver_policy => 'all', ack_policy => 'none', max_deliver => -1,
		replay_policy => 'instant', %config } });
}
is(consumer('pgflo_other_stream', 'mine')->{error}{err_code}, 10059, 'no consumer of another stream');
for my $call (qw(STREAM.INFO.pgflo_other_stream STREAM.MSG.GET.pgflo_other_stream STREAM.INFO.KV_pg_flo_state_other
	STREAM.MSG.GET.KV_pg_flo_state_other CONSUMER.NAMES.pgflo_other_stream STREAM.PURGE.pgflo_other_stream
	STREAM.DELETE.pgflo_other_stream))
{
	my $request = $call =~ /GET/ ? { seq => 1 } : $call =~ /NAMES/ ? {} : undef;
	is($mine->api($call, $request)->{error}{err_code}, 10059, "no such stream: $call");
}
is(@{ $theirs->api('CONSUMER.NAMES.pgflo_other_stream', {})->{consumers} }, 1, 'its worker has the only consumer');

# what a consumer delivers is heard in its own account, twice, so that all have heard of the
# first who ever will, and by nobody else; subjects that others use, and one that nobody does
my @elsewhere = ('pgflo.other', '$KV.pg_flo_state_other.source', 'elsewhere');
my %here = map { $_ => client('analytics') } @elsewhere;
my @others = map { client($_) } qw(source billing);
$here{$_}->subscribe($_) for @elsewhere;
for my $client (@others) { $client->subscribe($_) for @elsewhere; }
for my $n (0 .. $#elsewhere)
{
	my $made = consumer('pgflo_users_stream', "to$n", deliver_policy => 'new', deliver_subject => $elsewhere[$n]);
	is($made->{error}{description}, undef, "a consumer that delivers to $elsewhere[$n]");
}
my %data;
for my $row (1 .. 2)
{
	$source->safe_psql('postgres', "INSERT INTO t (v) VALUES ('not for others $row')");
	wait_caught_up($source, $dest, 'users');
	for my $subject (@elsewhere)
	{
		my $message;

		# signs of life are between them
		while ($message = $here{$subject}->next(30))
		{
			$data{ $message->{data} } = 1;
			last if $message->{data} =~ /not for others $row/;
		}
		ok($message, "row $row is heard in its own account, on $subject");
	}
}
for my $n (0, 1)
{
	my ($name) = (qw(source billing))[$n];
	my $heard = 0;

	$others[$n]->flush;
	while (my $message = $others[$n]->next(0)) { $heard++ if $data{ $message->{data} }; }
	is($heard, 0, "and not in that of $name");
}
ok(!$mine->api("CONSUMER.DELETE.pgflo_users_stream.to$_")->{error}, 'it is removed') for 0 .. $#elsewhere;
$source->safe_psql('postgres', 'INSERT INTO secrets VALUES (101)');
wait_caught_up($source, $other, 'other');
is_same_table($source, $other, 'secrets', 'the other group goes on');
is(status_of($other, 'other', 'postgres', 'last_error'), '', 'with nothing in its stream that is not its own');

# --- the permissions of a destination, too ----------------------------------------------------

my ($permissions) = slurp_file("$doc/nats-permissions.conf") =~ /^(  destination = \{.*?^  \}\n)/ms or die;
$conf =~ s/(user: "analytics".*?) \}/$1, permissions: \$destination }/ or die;
$nats->configure($permissions . $conf);
$nats->restart;
$source->safe_psql('postgres', q{INSERT INTO t (v) VALUES ('with permissions')});
same('it goes on with permissions');
$mine = client('analytics');
$mine->publish('pgflo.users', 'x');
$mine->flush;
like("@{ $mine->{errors} || [] }", qr/Permissions Violation for Publish to "pgflo.users"/, 'which hold');

# --- the end --------------------------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.drop_group('users')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('users', purge_stream => true)});
is(join(' ', $nats->streams), '', 'the group is dropped with its streams');
$_->stop('fast') for $source, $dest, $other;
done_testing();
