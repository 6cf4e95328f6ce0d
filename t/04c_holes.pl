
# A stream that a broker has after a loss: no chunk at its begin, then nothing up to its end, which
# is where it was.  A worker that begins looks at each place once, one that waits takes nothing for
# its own that is not there, and what is published goes on behind it.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $stream = 'pgflo_g_stream';

transfer_tables($source, $dest);
$_->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i') for $source, $dest;
create_group($source, $dest, 'g');
my $load = transfer_load($source, rate => 100);
moves_arrive($source, $dest, 'at first');
stop_load($load);
wait_caught_up($source, $dest, 'g');
$_->safe_psql('postgres', q{SELECT flo.stop_group('g')}) for $source, $dest;
wait_state($source, 'g', 'replicator', 'stopped');
wait_state($dest, 'g', 'postgres', 'stopped');

$nats->api("STREAM.PURGE.$stream");
$nats->publish('pgflo.g', 'no chunk') for 0 .. 1200;
my $end = $nats->last_seq($stream);
$nats->api("STREAM.MSG.DELETE.$stream", { seq => $_, no_erase => JSON::PP::true() }) for $end - 1199 .. $end;

my $begun = time();
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_state($dest, 'g', 'postgres', 'streaming|waiting');
cmp_ok(time() - $begun, '<', 15, 'a worker begins at holes');
# some looks whether the broker still delivers
ok(await(sub { time() - $begun > 17 }, 'looks'), 'and waits');
isnt(status_of($dest, 'g', 'postgres', 'state'), 'failed', 'for what comes')
  or diag(status_of($dest, 'g', 'postgres', 'detail'));

start_member($source, 'g', 'replicator');
$load = transfer_load($source, rate => 100);
moves_arrive($source, $dest, 'holes');
stop_load($load);
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_) for qw(accounts moves);

$_->stop('fast') for $source, $dest;
done_testing();
