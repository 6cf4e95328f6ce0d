
# A cluster of three whose account is small: events need room of the same limit as the
# stream they are made of, so the stream leaves them some, also where the account hears
# later than the stream what is under way.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @nats = FloTest::Nats->cluster('trio', 3,
	conf => 'accounts { A { jetstream: { max_mem: 1M, max_file: 12MB, max_streams: 10, max_consumers: 20 }, users: [ '
	  . '{ user: test, password: test }, { user: pgflo, password: pgflo } ] } }');
my $conf = "pg_flo.nats_url = '" . join(',', map { $_->url } @nats) . "'\npg_flo.stream_replicas = 3\n"
  . "pg_flo.nats_user = 'pgflo'\npg_flo.nats_password = 'pgflo'\n";
my $source = flo_node('source', undef, conf => $conf);
my $dest = flo_node('dest', undef, conf => $conf);

$_->safe_psql('postgres', q{CREATE TABLE t (id bigserial PRIMARY KEY, v text);
	ALTER TABLE t ALTER v SET STORAGE EXTERNAL}) for $source, $dest;
create_group($source, undef, 'g', options => q{'{"compression": "none"}'});
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g', sink => 'nats', options => '{"start": "earliest"}')});

# chunks of 240 kB, which with three replicas are a sixteenth of the account each
$source->safe_psql('postgres', q{DO $$ BEGIN
	FOR i IN 1 .. 30 LOOP INSERT INTO t (v) SELECT repeat(md5(i::text), 7500); COMMIT; END LOOP;
	FOR i IN 1 .. 30 LOOP INSERT INTO t (v) SELECT repeat(md5(r::text), 40) FROM generate_series(1, 100) r;
		COMMIT; END LOOP; END $$});
my $last = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
ok(wait_until($source, 'postgres', q{SELECT detail ~ '^broker full' FROM flo.status}, 'the account to be full'),
	'the replicator waits while nobody takes what there is');
ok(wait_until($source, 'postgres', q{SELECT detail ~ '12 MB that the account may keep' FROM flo.status}, 'the reason'),
	'and says for what');

$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
my $taken = 0;
sub take { $taken += eval { $nats[0]->api('STREAM.PURGE.cdc_g')->{purged} } // 0; return; }
for (1 .. $FloTest::timeout)
{
	take();
	last if $dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$last', '1 s', 'nats')") eq 't';
}
take();
is($taken, 3030, 'who takes events away gets all of them, each once');
is($dest->safe_psql('postgres', q{SELECT restarts FROM flo.status WHERE member = 'nats'}), '0', 'in one go');

done_testing();
