
# Events that are larger than what nats-server finds again after a crash: its files
# hold no record of more than 32 MB, whatever max_payload says.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloNatsClient;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker', conf => "max_payload: 64MB\nmax_pending: 256MB");
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

sub src { return $source->safe_psql('postgres', $_[0]); }
sub insert { my ($id, $mb) = @_; src("INSERT INTO big VALUES ($id, repeat('x', $mb * 1024 * 1024))"); }
sub messages { return FloNatsClient->new($nats->port)->api("STREAM.INFO.$_[0]")->{state}{messages}; }

src('CREATE TABLE big (id int PRIMARY KEY, v text); ALTER TABLE big ALTER v SET STORAGE EXTERNAL');
create_group($source, undef, 'g');
my %worker = (events => {}, rows => { kv_bucket => 'rows' });
create_event_worker($dest, 'g', 'nats', $_, $worker{$_}) for sort keys %worker;
insert(1, 0);
insert(2, 30);
wait_caught_up($source, $dest, 'g', member => $_) for sort keys %worker;
insert(3, 33);
my $lsn = src('SELECT pg_current_wal_lsn()');
for my $worker (sort keys %worker)
{
	wait_until($dest, 'postgres',
		"SELECT durable_lsn >= '$lsn' OR last_error IS NOT NULL FROM flo.status WHERE member = '$worker'",
		"the end of $worker");
	like(status_of($dest, 'g', $worker, 'last_error'), qr/too large for .*34\d{6} bytes.*33\d{6}/,
		"$worker: it is refused");
	$dest->safe_psql('postgres', qq{SELECT flo.alter_worker('g', '$worker', '{"oversize": "reference"}');
		SELECT flo.start_group('g', '$worker')});
}
insert(4, 0);
wait_caught_up($source, $dest, 'g', member => $_) for sort keys %worker;
is(messages($_), '4', "$_ has all") for qw(cdc_g KV_rows);
$nats->kill9;
$nats->start;
insert(5, 0);
wait_caught_up($source, $dest, 'g', member => $_) for sort keys %worker;
is(messages($_), '5', "$_ has all after a crash of the broker") for qw(cdc_g KV_rows);

done_testing();
