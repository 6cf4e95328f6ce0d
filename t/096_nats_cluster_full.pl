
# An account with a limit in a cluster of three nats-servers, each of which keeps
# everything: it is full while rows are written, the server that leads the stream dies
# meanwhile, and the limit is raised.  The group waits, says so, and goes on.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# All copies count, so a stream gets a third of it
sub account
{
	my ($size) = @_;
	return "accounts { A { jetstream: { max_mem: 1M, max_file: $size, max_streams: 10, max_consumers: 20 }, "
	  . 'users: [ { user: test, password: test }, { user: pgflo, password: pgflo } ] } }';
}
my @nats = FloTest::Nats->cluster('trio', 3, conf => account('12MB'));
my %nats = map { $_->{name} => $_ } @nats;
my $stream = 'pgflo_g_stream';
my $conf = "pg_flo.nats_url = '" . join(',', map { $_->url } @nats) . "'\npg_flo.stream_replicas = 3\n"
  . "pg_flo.nats_user = 'pgflo'\npg_flo.nats_password = 'pgflo'\n";
my $source = flo_node('source', undef, conf => $conf);
my $dest = flo_node('dest', undef, conf => $conf);

transfer_tables($source, $dest);
$_->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i;
	CREATE TABLE t (id bigserial PRIMARY KEY, v text);
	ALTER TABLE t ALTER v SET STORAGE EXTERNAL') for $source, $dest;
create_group($source, $dest, 'g', options => q{'{"compression": "none"}'},
	worker_options => q{'{"on_error": "stop", "lock_timeout": "1h"}'});

sub raise
{
	my ($size) = @_;
	for my $one (@nats) { $one->configure(account($size)); $one->reload; }
}
sub write_mb
{
	my ($mb) = @_;
	$source->safe_psql('postgres', "DO \$\$ BEGIN FOR i IN 1 .. $mb * 4 LOOP
		INSERT INTO t (v) SELECT repeat(md5((i * r)::text), 80) FROM generate_series(1, 100) r; COMMIT;
		END LOOP; END \$\$");
}
# It waits for room, of the account that is meant, at a glance too
sub is_full
{
	my ($limit, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	ok(wait_until($source, 'postgres', "SELECT state = 'waiting' AND detail ~ '^broker full: .* of $limit that "
			. "the account may keep, slowest consumer postgres' FROM flo.status", "the replicator to wait for room"),
		"$name: the replicator says what it waits for, and for whom")
	  or diag(status_of($source, 'g', 'replicator', "concat_ws(' | ', state, detail, last_error)"));
	ok(wait_until($source, 'postgres', q{SELECT state ~ '^waiting'
			AND hint ~ '^(See to the slowest consumer|broker full: )' FROM flo.overview}, 'flo.overview'),
		"$name: flo.overview says it, or what to do");
}
sub moves { return $source->safe_psql('postgres', 'SELECT count(*) FROM moves'); }

# --- under load ----------------------------------------------------------------------------------

my $lock = FloTest::Session->new($dest);
my $load = transfer_load($source, rate => 100);
moves_arrive($source, $dest, 'at first');
is($nats[0]->api("STREAM.INFO.$stream")->{config}{num_replicas}, 3, 'the stream is on three servers');
$lock->query('BEGIN; LOCK TABLE t');
write_mb(8);
is_full('12 MB', 'full');
is(status_of($source, 'g', 'replicator', 'restarts') . status_of($dest, 'g', 'postgres', 'restarts'), '00',
	'neither side was started again for that');
my $before = moves();
ok(await(sub { moves() > $before + 20 }, 'the source'), 'the source is written to meanwhile');

# --- the leader dies --------------------------------------------------------------------------------

my $leader;
ok(await(sub { $leader = $nats[0]->stream_leader($stream) }, 'the cluster to be whole'), 'the stream is led');
$nats{$leader}->kill9;
my ($left) = grep { $_->{name} ne $leader } @nats;
ok(await(sub { my $cluster = eval { $left->api("STREAM.INFO.$stream")->{cluster} };
			$cluster && $cluster->{leader} && $cluster->{leader} ne $leader }, 'another leader'), 'by another one');
is_full('12 MB', 'the leader killed');
$nats{$leader}->start;

# --- more room, while the worker still holds all ------------------------------------------------------

raise('96MB');
$before = moves();
wait_caught_up($source, $source, 'g');
wait_state($source, 'g', 'replicator', 'streaming');
cmp_ok($nats[0]->api("STREAM.INFO.$stream")->{state}{bytes}, '>', 8 * 1024 * 1024,
	'more room, by a reload: the stream holds what the source kept');
$lock->query('COMMIT');
moves_arrive($source, $dest, 'more room');

# One transaction that does not fit
$source->safe_psql('postgres', 'INSERT INTO t (v) SELECT repeat(md5(i::text), 320) FROM generate_series(1, 4000) i');
is_full('96 MB', 'one transaction larger than the account');
raise('384MB');
moves_arrive($source, $dest, 'room for it');

stop_load($load);
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_, "nothing is lost or doubled: $_") for qw(accounts moves t);
is($dest->safe_psql('postgres', 'SELECT sum(balance) FROM accounts'), '100000', 'the sum is what it was');
for my $side ([ $source, 'replicator' ], [ $dest, 'postgres' ])
{
	is(status_of($side->[0], 'g', $side->[1], 'state'), 'streaming', "the $side->[1] streams");
}
$_->stop('fast') for $source, $dest;
done_testing();
