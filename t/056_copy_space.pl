
# A copy stream that holds one or two of the largest rows only: whatever the
# copiers are at, what has been begun can be finished, and a row that does not
# fit at all is named.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "autovacuum = off\nmax_wal_size = 2GB\n");
my $dest = flo_node('dest', $nats, conf => "autovacuum = off\nmax_wal_size = 2GB\n");
my @tables = (map({ "big$_" } 1 .. 4), 'small');

# A row of so many MB
sub row { my ($id, $mb) = @_; return "SELECT $id, repeat(md5('$id'), $mb * 32768)"; }

for my $node ($source, $dest)
{
	$node->safe_psql('postgres', "CREATE TABLE big$_ (id int PRIMARY KEY, v text);
		ALTER TABLE big$_ ALTER v SET STORAGE EXTERNAL") for 1 .. 5;
	$node->safe_psql('postgres', 'CREATE TABLE small (id int PRIMARY KEY, v text)');
}
$source->safe_psql('postgres', "INSERT INTO big1 " . row(1, 50));
$source->safe_psql('postgres', "INSERT INTO big$_ " . row(1, 30) . ' UNION ALL ' . row(2, 26)) for 2 .. 4;
$source->safe_psql('postgres', q{INSERT INTO small SELECT i, repeat(md5(i::text), 30)
	FROM generate_series(1, 20000) i});

sub tables { return "'{" . join(", ", @_) . "}'"; }

sub finish
{
	my ($group, @copied) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_state($dest, $group, 'postgres', 'streaming');
	wait_state($source, $group, 'replicator', 'streaming');
	wait_caught_up($source, $dest, $group);
	is_same_table($source, $dest, $_, "$group: $_") for @copied;
	$dest->safe_psql('postgres', "SELECT flo.drop_group('$group'); TRUNCATE " . join(', ', @copied));
	$source->safe_psql('postgres', "SELECT flo.drop_group('$group', purge_stream => true)");
}

# --- several large rows at once, more than fit ----------------------------------------------

create_copy_group($source, $dest, 'several', tables => tables(@tables), copy_workers => 5, wait => 0,
	options => q{'{"copy_stream_max_bytes": "64MB"}'}, worker_options => q{'{"loaders": 4}'});
my $peak = peak_memory(sub { status_of($dest, 'several', 'postgres', 'state') eq 'streaming' }, $source, $dest);
# 64 MB and a small multiple of a row of 50 MB
cmp_ok($peak, '<', (64 + 5 * 50) * 1024, "memory of a process stays bounded ($peak kB)");
is($dest->safe_psql('postgres', q{SELECT max(attempt) FROM flo.copied_tables}), '1', 'at the first attempt');
finish('several', @tables);

# --- a copier that ends in the middle of one ---------------------------------------------------

halt_at($source, 'chunk.after:100');
create_copy_group($source, $dest, 'half', tables => tables('big1', 'small'), copy_workers => 1, wait => 0,
	options => q{'{"copy_stream_max_bytes": "64MB"}'}, worker_options => q{'{"loaders": 2}'});
await_halt($source, 'the middle of a row') or die;
my $pid = helper_pid($source, 'copier');
$source->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
$source->reload;
$source->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
finish('half', 'big1', 'small');
ok($source->log_contains('halves of large rows lie in the copy stream'),
	'half a row that takes up too much is not waited for');

# --- a row that does not fit at all ---------------------------------------------------------------

$source->safe_psql('postgres', "INSERT INTO big5 " . row(1, 70));
create_copy_group($source, $dest, 'huge', tables => tables('big5', 'small'), copy_workers => 2, wait => 0,
	options => q{'{"copy_stream_max_bytes": "64MB"}'});
ok(wait_until($source, 'postgres', q{SELECT state = 'copying'
	AND detail ~
	'^a row of table public.big5 needs 70 MB in the copy stream: raise copy_stream_max_bytes to at least 72MB'
	FROM flo.status}, 'the row to be named'),
	'a row that does not fit is named, with what it needs');
ok(wait_until($dest, 'postgres', q{SELECT count(*) = 20000 FROM small}, 'the other table'),
	'others are copied meanwhile');
ok($source->log_contains('Raise copy_stream_max_bytes with flo.alter_replicator\(\)'), 'the log has it, too');
$source->safe_psql('postgres', q{SELECT flo.alter_replicator('huge', '{"copy_stream_max_bytes": "72MB"}')});
wait_state($dest, 'huge', 'postgres', 'streaming');
is($dest->safe_psql('postgres', q{SELECT max(attempt) FROM flo.copied_tables}), '1',
	'once there is room it goes on where it was');
finish('huge', 'big5', 'small');

# --- fewer processes than asked for ---------------------------------------------------------------

# the launchers, the member, and at the source the leader
$source->append_conf('postgresql.conf', "max_worker_processes = 6\n");
$dest->append_conf('postgresql.conf', "max_worker_processes = 5\n");
$_->restart for $source, $dest;
create_copy_group($source, undef, 'few', tables => tables(@tables), copy_workers => 4,
	options => q{'{"copy_stream_max_bytes": "64MB"}'});
ok(wait_until($source, 'postgres',
	q{SELECT detail ~ '^\d of 5 tables published; [12] of 4 copy processes, none is free: raise max_worker_processes' }
	  . q{FROM flo.status}, 'the detail'),
	'detail says that processes are missing at the source');
halt_at($dest, 'load.before');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('few'); SELECT flo.start_group('few')});
await_halt($dest, 'a chunk') or die;
ok(wait_until($dest, 'postgres',
	q{SELECT detail ~ '; [12] of 4 loaders, no process is free: raise max_worker_processes' FROM flo.status},
	'the detail'),
	'and at the destination');
$dest->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
$dest->reload;
$dest->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE query LIKE 'pg_flo loader%' AND pid <> pg_backend_pid()});
finish('few', @tables);

$_->stop('fast') for $source, $dest;
done_testing();
