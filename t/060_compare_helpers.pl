
# A comparison reads large tables with several processes, sums and rows: nothing is counted twice or
# left out, and those at the destination get out of the way of the worker.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my ($source, $dest) = map { flo_node($_, $nats, conf => "log_min_messages = 'debug1'\n") } qw(source dest);

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }

sub over
{
	my ($id) = @_;

	wait_until($source, 'postgres', "SELECT bool_and(finished_at IS NOT NULL) FROM flo.comparisons WHERE id = $id",
		"comparison $id to be over")
	  or diag(src("SELECT * FROM flo.comparisons WHERE id = $id"));
	return src("SELECT concat_ws(' ', table_name, state, rows_source, rows_destination, missing, extra, different)
		FROM flo.comparisons WHERE id = $id ORDER BY table_name");
}

sub begin { return src("SELECT flo.compare('g'" . join('', map { ", $_" } @_) . ')'); }
sub helpers { return split /\n/, dst(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'parallel worker'}); }

# How many the newest comparison has had; 0 = none was told of
sub helped
{
	my @told = slurp_file($dest->logfile) =~ /(\d+) helpers read/g;

	return @told ? $told[-1] : 0;
}

# A row is a fifth of a page, and a part of its own has more than half of them
$_->safe_psql('postgres', q{
	CREATE TABLE big (id int PRIMARY KEY, v text);
	CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE small (id int PRIMARY KEY, v text);
	CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
	ALTER TABLE big ALTER v SET STORAGE PLAIN}) for $source, $dest;
src(q{CREATE TABLE part2 PARTITION OF parts FOR VALUES FROM (1000) TO (100000)});
dst(q{CREATE TABLE part2 (extra int, v text, id int NOT NULL); ALTER TABLE part2 DROP extra;
	ALTER TABLE parts ATTACH PARTITION part2 FOR VALUES FROM (1000) TO (100000)});
src(q{INSERT INTO big SELECT i, repeat('v', 1500) FROM generate_series(1, 45000) i;
	INSERT INTO parts SELECT i, repeat('w', 1500) FROM generate_series(1, 10000) i;
	INSERT INTO small VALUES (1, 'one')});
dst('CREATE ROLE keeper; ALTER TABLE big OWNER TO keeper');
create_copy_group($source, $dest, 'g', worker_options => q{'{"loaders": 3}'});
wait_caught_up($source, $dest, 'g');

is(over(begin()), "public.big equal 45000 45000 0 0 0\npublic.parts equal 10000 10000 0 0 0\n"
	  . 'public.small equal 1 1 0 0 0', 'what is equal is found to be');
is(helped(), 2, 'with two helpers, of three loaders');
is(dst(q{SELECT string_agg(table_name || ' ' || rows_read, ', ' ORDER BY table_name) FROM flo.comparisons}),
	'public.big 45000, public.parts 10000, public.small 1', 'all rows are read');
is(dst('SELECT side, tables_done, tables_total, tuples_processed, tuples_total, percent, eta
	FROM flo.compare_progress'),
	'destination|3|3|55001|55001|100.0|', 'and all is done');
dst(q{SET session_replication_role = replica;
	DELETE FROM big WHERE id % 1000 = 0; UPDATE parts SET v = 'other' WHERE id IN (1, 5000, 9999);
	INSERT INTO small VALUES (2, 'two')});
is(over(begin()), "public.big different 45000 44955 45 0 0\npublic.parts different 10000 10000 0 0 3\n"
	  . 'public.small different 1 2 0 1 0', 'differences are found in all parts');
src(q{SELECT flo.compare('g', repair => true, repair_extra => true)});
wait_until($source, 'postgres', "SELECT bool_and(state = 'repaired') FROM flo.comparisons
	WHERE id = (SELECT max(id) FROM flo.comparisons)", 'the repair');
is_same_table($source, $dest, $_, "$_ is repaired") for qw(big parts small);

cmp_ok(scalar(() = slurp_file($source->logfile) =~ /starting .*"pg_flo comparer g 1"/g), '>=', 4,
	'at the source there were helpers, too, in each round');

# No helper is to be had: who leads reads all
$dest->safe_psql('postgres', 'ALTER SYSTEM SET max_parallel_workers = 0');
$dest->reload;
my $id = begin();
like(over($id), qr/^public.big equal 45000 45000 0 0 0\n/, 'without helpers');
is(helped(), 0, 'none was there');
$dest->safe_psql('postgres', 'ALTER SYSTEM RESET max_parallel_workers');
$dest->reload;

# A helper that the machine has stopped has the table locked; the worker needs it
my $stopped;
for my $try (1 .. 20)
{
	$id = begin(q{'big'});
	my $caught = await(sub {
			my $over = src("SELECT finished_at IS NOT NULL FROM flo.comparisons WHERE id = $id") eq 't';
			return $over if $over || !(my ($pid) = helpers());
			kill('STOP', $pid);
			return $stopped = $pid;
		}, 'a helper to read');
	last if $stopped && dst("SELECT EXISTS (SELECT FROM pg_locks
		WHERE pid = $stopped AND relation = 'big'::regclass)") eq 't';
	kill('CONT', $stopped) if $stopped;
	$stopped = undef;
	over($id);
}
ok($stopped, 'a helper is stopped in the midst of a table') or die;
ok(wait_until($dest, 'postgres', "SELECT percent BETWEEN 1 AND 99.9 AND eta IS NOT NULL AND tuples_processed > 0
	FROM flo.compare_progress WHERE id = $id",
		'progress'), 'meanwhile it is seen how far it is');
ok(wait_until($source, 'postgres', "SELECT state = 'comparing' AND detail ~ 'has read \\d+ rows' FROM flo.comparisons
	WHERE id = $id", 'progress at the source'), 'at the source, too');
src('TRUNCATE big');
ok(await(sub {
			my ($pending) = slurp_file("/proc/$stopped/status") =~ /^ShdPnd:\s*([0-9a-f]+)/m;
			return hex($pending) & 1 << 14;
		}, 'the helper to be told'), 'it is told to end as the worker waits for it');
kill('CONT', $stopped);
like(over($id), qr/^public.big void/, 'nothing is said of the table');
wait_caught_up($source, $dest, 'g');
is(dst('SELECT count(*) FROM big'), '0', 'and the stream goes on');
ok(await(sub { !helpers() }, 'the helpers to end'), 'no helper is left');

# Somebody ends a helper
src(q{INSERT INTO big SELECT i, repeat('v', 1500) FROM generate_series(1, 45000) i});
wait_caught_up($source, $dest, 'g');
$id = begin(q{'big'});
await(sub { (helpers() && dst(q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
	WHERE backend_type = 'parallel worker'}) > 0)
	|| src("SELECT finished_at IS NOT NULL FROM flo.comparisons WHERE id = $id") eq 't' }, 'a helper to end');
like(over($id), qr/^public.big (void|equal 45000 45000 0 0 0)/, 'one that was ended, or came too late');
is(over(begin()), "public.big equal 45000 45000 0 0 0\npublic.parts equal 10000 10000 0 0 0\n"
	  . 'public.small equal 1 1 0 0 0', 'another comparison goes well');

# Who may not log in; before 16.5 no process of any parallel query starts for such a role
SKIP:
{
	my $version = dst('SHOW server_version_num');
	skip 'parallel workers of this server need a role that may log in', 1 if $version >= 160000 && $version < 160005;
	dst('ALTER ROLE CURRENT_USER NOLOGIN');
	$id = begin();
	like(over($id), qr/^public.big equal 45000 45000 0 0 0\n/, 'the superuser need not be able to log in')
	  or diag(src("SELECT * FROM flo.comparisons WHERE id = $id"));
}
done_testing();
