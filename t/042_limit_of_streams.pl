
# An account that takes only small streams from now on: what a larger one holds stays and is
# delivered, and when it is gone the stream is made smaller.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub accounts
{
	return "accounts { A { jetstream: { max_mem: 1M, max_file: 1GB, store_max_stream_bytes: $_[0] },"
	  . ' users: [ { user: test, password: test }, { user: pgflo, password: pgflo } ] } }';
}
my $nats = FloTest::Nats->new('broker', room => '2GB', conf => accounts('128MB'));
my $conf = "pg_flo.nats_user = 'pgflo'\npg_flo.nats_password = 'pgflo'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $mb = 1024 * 1024;

sub stream { return $nats->api('STREAM.INFO.pgflo_g_stream'); }

$_->safe_psql('postgres', 'CREATE TABLE t (id bigserial PRIMARY KEY, v text);
	ALTER TABLE t ALTER v SET STORAGE EXTERNAL') for $source, $dest;
create_group($source, $dest, 'g', options => q{'{"compression": "none", "stream_max_bytes": "64MB"}'});
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
$source->safe_psql('postgres', q{DO $$ BEGIN
	FOR i IN 1 .. 200 LOOP INSERT INTO t (v) SELECT repeat(md5(i::text), 3200); COMMIT; END LOOP; END $$});
wait_caught_up($source, $source, 'g');
my $before = stream()->{state};

$nats->configure(accounts('8MB'));
$nats->reload;
my $from = -s $source->logfile;
$source->safe_psql('postgres', q{SELECT flo.alter_replicator('g', '{"stream_max_bytes": "4MB"}')});
ok(await(sub { slurp_file($source->logfile, $from) =~ /WARNING:  stream "pgflo_g_stream" keeps its limits/ }, 'a word'),
	'the stream cannot be made smaller yet');
my $after = stream()->{state};
is("$after->{first_seq} $after->{bytes}", "$before->{first_seq} $before->{bytes}", 'nothing is removed');
is(status_of($source, 'g', 'replicator', 'last_error'), '', 'which is no error');

$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'what it holds is delivered');
ok(await(sub { stream()->{config}{max_bytes} == 4 * $mb }, 'the limit to fall'), 'the limit falls when it is gone');
$source->safe_psql('postgres', q{INSERT INTO t (v) VALUES ('more')});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'and more is');

$_->stop('fast') for $source, $dest;
done_testing();
