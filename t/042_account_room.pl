
# What a group's stream leaves to others in an account with a limit, and what it does not: it
# gets on where nobody has to store anything for that.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub account
{
	my ($size) = @_;
	return "accounts { A { jetstream: { max_mem: 1M, max_file: $size, max_streams: 6, max_consumers: 20 }, "
	  . 'users: [ { user: test, password: test }, { user: pgflo, password: pgflo } ] } }';
}
my $nats = FloTest::Nats->new('broker', room => '1GB', conf => account('4MB'));
my $conf = "pg_flo.nats_user = 'pgflo'\npg_flo.nats_password = 'pgflo'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $plain = q{'{"compression": "none"}'};

$_->safe_psql('postgres', 'CREATE TABLE t (id bigserial PRIMARY KEY, v text);
	ALTER TABLE t ALTER v SET STORAGE EXTERNAL') for $source, $dest;
sub same
{
	my ($name) = @_;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', "$name: the same rows");
}

# --- a transaction of more than seven eighths ------------------------------------------------------

create_group($source, $dest, 'g', options => $plain);
$source->safe_psql('postgres', 'INSERT INTO t (v) SELECT repeat(md5(i::text), 320) FROM generate_series(1, 360) i');
same('a transaction that fits beside what is left to events, which nobody waits for');

# --- the last chunks, which stay in the stream, beside what others have -------------------------------

$nats->api('STREAM.CREATE.app', { name => 'app', subjects => ['app.>'], retention => 'limits', storage => 'file',
	discard => 'new', max_consumers => -1, max_msgs => -1, max_bytes => -1, max_age => 0, num_replicas => 1 });
for (1 .. 10)
{
	$source->safe_psql('postgres', 'INSERT INTO t (v) VALUES (1)');
	wait_caught_up($source, $dest, 'g');
}
ok(await(sub { $nats->api('INFO')->{storage} < 1_000_000 }, 'the stream to be emptied'), 'what is applied is removed');
$nats->publish('app.x', 'x' x (100 * 1024 - 40)) for 1 .. 24;
$source->safe_psql('postgres', q{DO $$ BEGIN
	FOR i IN 1 .. 12 LOOP INSERT INTO t (v) SELECT repeat(md5(i::text), 7500); COMMIT; END LOOP; END $$});
same('rows of a chunk each');

# --- several groups at once ------------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
$nats->stop;
$nats->forget;
$nats->start;
$nats->set_room('1GB', account('32MB'));
for my $group (qw(a b c))
{
	create_group($source, undef, $group, options => $plain);
}
$source->safe_psql('postgres', q{DO $$ BEGIN
	FOR i IN 1 .. 320 LOOP
		INSERT INTO t (v) SELECT repeat(md5(i::text), 1500) FROM generate_series(1, 2); COMMIT;
	END LOOP; END $$});
ok(wait_until($source, 'postgres', q{SELECT count(*) = 3 FROM flo.status WHERE detail ~ '^broker full'}, 'all to wait'),
	'three groups fill an account');
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.status WHERE detail ~ ' of 32 MB'}), 3,
	'and say for what, not for streams, which are used up as well');
cmp_ok($nats->api('INFO')->{storage}, '<', 30 * 1024 * 1024, 'and leave others what each is to leave');

$_->stop('fast') for $source, $dest;
done_testing();
