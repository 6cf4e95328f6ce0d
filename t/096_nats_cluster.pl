
# A cluster of three nats-servers, each of which keeps everything: the one that leads
# the stream dies again and again, all are restarted one by one, and there is no
# majority for a while.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my @nats = FloTest::Nats->cluster('trio', 3);
my %nats = map { $_->{name} => $_ } @nats;
my ($stream, $bucket) = ('pgflo_g_stream', 'KV_pg_flo_state_g');
my $conf = "pg_flo.nats_url = '" . join(',', map { $_->url } @nats) . "'\npg_flo.stream_replicas = 3\n";
my $source = flo_node('source', undef, conf => $conf);
my $dest = flo_node('dest', undef, conf => $conf);
my $load;

transfer_tables($source, $dest);
$_->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i') for $source, $dest;
create_group($source, $dest, 'g', worker_options => q{'{"on_error": "stop"}'});

# The server that leads the stream, when all of them have everything again.  One of 2.9
# can be catching up for ever, until somebody starts it again: whoever operates it would.
sub leader
{
	my ($one) = grep { $_->{pid} } @nats;
	my $since = time();
	my $leader;

	await(
		sub {
			return 1 if $leader = $one->stream_leader($stream) and $one->stream_leader($bucket);
			return 0 if time() < $since + 30;
			$since = time();
			for my $name (map { $one->stream_laggards($_) } $stream, $bucket)
			{
				note("$name is started again, as it does not catch up");
				$nats{$name}->restart;
			}
			return 0;
		},
		'the cluster to be whole') or die 'the cluster does not become whole';
	return $leader;
}
sub arrives
{
	my ($name) = @_;
	my $begun = time();

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	moves_arrive($source, $dest, $name);
	note(sprintf '%s: after %.1f s', $name, time() - $begun);
}
sub same
{
	my ($name) = @_;

	stop_load($load);
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$name: $_") for qw(accounts moves);
	is($dest->safe_psql('postgres', 'SELECT sum(balance) FROM accounts'), '100000', "$name: the sum is what it was");
}

$load = transfer_load($source, rate => 100);
arrives('at first');
is($nats[0]->api("STREAM.INFO.$_")->{config}{num_replicas}, 3, "$_ is on three servers") for $stream, $bucket;

for my $round (1 .. 3)
{
	my $leader = leader();

	$nats{$leader}->kill9;
	arrives("round $round, the leader killed");
	$nats{$leader}->start;
}
same('the leader killed three times');

$load = transfer_load($source, rate => 100);
for my $one (@nats)
{
	leader();
	$one->restart;
	arrives("$one->{name} restarted");
}
leader();
same('a rolling restart');

# --- no majority ------------------------------------------------------------------------------

$load = transfer_load($source, rate => 100);
$_->kill9 for @nats[0, 1];
my $until = time() + 20;
for my $side ([ $source, 'replicator' ], [ $dest, 'postgres' ])
{
	my ($node, $member) = @$side;

	ok(wait_until($node, 'postgres', q{SELECT state ~ 'waiting|backoff'
			AND concat_ws(' ', detail, last_error) ~ 'NATS|JetStream' FROM flo.status}, 'the state without a majority'),
		"no majority: the $member says it");
	my $begun = time();
	$node->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	wait_state($node, 'g', $member, 'stopped');
	cmp_ok(time() - $begun, '<', 8, "no majority: the $member stops at once");
	$node->safe_psql('postgres', q{SELECT flo.start_group('g')});
}
my %from = map { $_->name => -s $_->logfile } $source, $dest;
ok(await(sub { time() > $until }, 'twenty seconds'), 'no majority for 20 s');
for my $node ($source, $dest)
{
	my @lines = grep { / (LOG|ERROR): / && /NATS|JetStream/ }
	  split /\n/, slurp_file($node->logfile, $from{ $node->name });
	cmp_ok(scalar(@lines), '<=', 14, 'no majority: no flood of words by the ' . $node->name) or diag(join "\n", @lines);
}
ok($source->safe_psql('postgres', 'SELECT retained_wal_bytes > 0 FROM flo.status') eq 't', 'the source keeps the WAL');
FloTest::Nats->start_all(@nats[0, 1]);
arrives('a majority again');
same('20 s without a majority');

$_->stop('fast') for $source, $dest;
done_testing();
