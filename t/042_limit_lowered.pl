
# A limit of a stream that is lowered below what the stream holds: nothing of that is lost.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $mb = 1024 * 1024;

$_->safe_psql('postgres', 'CREATE TABLE t (id bigserial PRIMARY KEY, v text);
	ALTER TABLE t ALTER v SET STORAGE EXTERNAL') for $source, $dest;
sub info { return $nats->api("STREAM.INFO.$_[0]"); }
sub alter { $source->safe_psql('postgres', qq{SELECT flo.alter_replicator('g', '{"$_[0]": "$_[1]"}')}); }

# --- the group's stream ----------------------------------------------------------------------------

create_group($source, $dest, 'g',
	options => q{'{"compression": "none", "stream_max_bytes": "64MB", "copy_stream_max_bytes": "80MB"}'},
	worker_options => q{'{"lock_timeout": "1h"}'});
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
$source->safe_psql('postgres', q{DO $$ BEGIN
	FOR i IN 1 .. 60 LOOP INSERT INTO t (v) SELECT repeat(md5(i::text), 3200); COMMIT; END LOOP; END $$});
wait_caught_up($source, $source, 'g');
my $before = info('pgflo_g_stream')->{state};
alter('stream_max_bytes', '2MB');
ok(await(sub { info('pgflo_g_stream')->{config}{max_bytes} < 16 * $mb }, 'the limit to be lowered'),
	'a limit is lowered while the stream holds more');
my $after = info('pgflo_g_stream')->{state};
# a heartbeat may have come
is($after->{first_seq}, $before->{first_seq}, 'and nothing is removed');
cmp_ok($after->{bytes}, '>=', $before->{bytes}, '... not a byte');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'the rows');
$source->safe_psql('postgres', 'UPDATE t SET id = id');
wait_caught_up($source, $dest, 'g');
ok(await(sub { info('pgflo_g_stream')->{config}{max_bytes} == 2 * $mb }, 'the limit to fall'),
	'the limit falls when the stream is emptied');

# --- a copy's ----------------------------------------------------------------------------------------

alter('stream_max_bytes', '1GB');
my $lock = $dest->background_psql('postgres');
$source->safe_psql('postgres', 'INSERT INTO t (v) SELECT repeat(md5(i::text), 250) FROM generate_series(1, 16000) i');
wait_caught_up($source, $dest, 'g');
$lock->query('BEGIN; LOCK TABLE t');
$source->safe_psql('postgres', q{SELECT flo.resync('g', 't')});
ok(await(sub { (info('pgflo_g_copy')->{state}{bytes} // 0) > 76 * $mb }, 'the copy'), 'a copy fills its stream');
$before = info('pgflo_g_copy')->{state};
for my $limit (64, 65, 66, 4096)
{
	# the copy's leader hears of it before the stream
	alter('copy_stream_max_bytes', "${limit}MB");
	$source->safe_psql('postgres', qq{SELECT flo.alter_replicator('g', '{"stream_max_bytes": "${limit}MB"}')});
	ok(await(sub { info('pgflo_g_stream')->{config}{max_bytes} == $limit * $mb }, 'the option to be seen'),
		"with $limit MB");
}
ok(await(sub { info('pgflo_g_copy')->{config}{max_bytes} == 4096 * $mb }, 'the limit to be raised'),
	'the limit of a copy is raised at once');
$after = info('pgflo_g_copy')->{state};
is("$after->{first_seq}", "$before->{first_seq}", 'and nothing is removed');
$lock->query('COMMIT');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'the rows');

$lock->quit;
$_->stop('fast') for $source, $dest;
done_testing();
