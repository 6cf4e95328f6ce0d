
# A comparison at the destination never harms the stream and never says that something
# differs when it could not look: whoever ends, is in the way, or has other rows.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }

# It is over: table, worker and what came of it
sub over
{
	my ($id) = @_;

	wait_until($source, 'postgres', "SELECT count(*) > 0 AND count(*) = count(finished_at) FROM flo.comparisons"
		  . " WHERE id = $id AND NOT EXISTS (SELECT FROM flo.compare_requests)", "comparison $id to be over")
	  or diag(map { $_->('SELECT * FROM flo.comparisons') } \&src, \&dst);
	return src(<<"SQL");
SELECT concat_ws(' ', relation::regclass, CASE WHEN worker_name <> 'postgres' THEN worker_name END, state,
	missing, extra, different, CASE WHEN state NOT IN ('equal', 'different') THEN detail END)
FROM flo.comparisons WHERE id = $id ORDER BY relation::regclass::text, worker_name
SQL
}

sub begin { return src("SELECT flo.compare('g'" . join('', map { ", $_" } @_) . ')'); }
sub reader { return helper_pid($dest, 'comparison g'); }

# The stream goes on: rows come, and are the same
my $streamed = 0;
sub streams
{
	my ($words) = @_;

	src('INSERT INTO t SELECT coalesce(max(id), 0) + 1, \'streamed\' FROM t');
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', $words);
}

# No process, no order and no row is left of it
sub nothing_left
{
	my ($words) = @_;

	wait_until($dest, 'postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity
			WHERE query LIKE 'pg_flo comparison%' AND pid <> pg_backend_pid())
		AND NOT EXISTS (SELECT FROM flo.comparisons WHERE finished_at IS NULL)}, "nothing to be left $words");
}

$_->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE other (id int PRIMARY KEY, v text);
	CREATE TABLE slow (id int PRIMARY KEY} . join('', map { ", c$_ int DEFAULT $_" } 1 .. 40) . ')') for $source, $dest;
create_copy_group($source, $dest, 'g', tables => q{'{t,other,slow}'});
src(q{INSERT INTO t SELECT i, 'v' FROM generate_series(1, 1000) i;
	INSERT INTO other SELECT i, 'v' FROM generate_series(1, 1000) i;
	INSERT INTO slow SELECT -i FROM generate_series(1, 10) i});
streams('rows come');
is(over(begin()), "other equal 0 0 0\nslow equal 0 0 0\nt equal 0 0 0", 'all is equal');
nothing_left('of one that went well');

# --- somebody ends -----------------------------------------------------------------------------

for my $point ('compare.read', 'compare.before', 'compare.after', 'compare.told')
{
	halt_at($dest, $point);
	my $id = begin();

	ok(await_halt($dest, $point), "a process halts at $point");
	my $pid = $point =~ /before|after/ ? pid_of($dest, 'g', 'postgres') : reader();
	kill('KILL', $pid) or die "kill $pid: $!";
	wait_until($dest, 'postgres', 'SELECT true', 'the server to be back');
	wait_state($dest, 'g', 'postgres', 'streaming');
	like(over($id), $point eq 'compare.told' ? qr/^other equal 0 0 0\nslow equal 0 0 0\nt equal 0 0 0$/ :
		qr/^(\w+ (void \S.*|equal 0 0 0)\n?)+$/, "killed at $point: nothing is said to differ");
	streams("killed at $point: the stream goes on");
	nothing_left("after $point");
}

# --- in the way --------------------------------------------------------------------------------

# Reading takes a while here, and here alone.  Sessions are there before it begins.  Should it be
# over before we come, then what it has read is right; and where its sums alone are, the
# rows are read behind what we do.
my $in_time = qr/^slow (void \S|different 0 600000 0$|equal 0 0 0$)/m;
dst('INSERT INTO slow SELECT i FROM generate_series(1, 600000) i');
my $here = FloTest::Session->new($dest);
my $there = FloTest::Session->new($source);
sub reading
{
	my $over = 'SELECT bool_and(finished_at IS NOT NULL) FROM flo.comparisons WHERE id = (SELECT max(id)
		FROM flo.comparisons)';
	my $look = q{SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE a.query LIKE 'pg_flo comparison%' AND l.relation = 'slow'::regclass AND l.granted)};

	return FloTest::await(sub { $here->query($look) eq 't' || $there->query($over) eq 't' }, 'the table to be read');
}

my $id = begin(q{table_name => 'slow'});
reading();
$there->query('TRUNCATE slow');
streams('TRUNCATE does not wait for a reader');
like(over($id), $in_time, 'and of the table nothing can be said');
is(dst('SELECT count(*) FROM slow'), '0', 'it is empty');
nothing_left('of one in the way');

dst('INSERT INTO slow SELECT i FROM generate_series(1, 600000) i');
$id = begin();
reading();
$here->send('BEGIN; LOCK TABLE slow; COMMIT');
$there->query('INSERT INTO slow VALUES (0)');
streams('nor for one that somebody else waits for');
like(over($id), qr/^other (equal 0 0 0|void .*)\n$in_time.*\nt (equal 0 0 0|void .*)$/m,
	'what had been read is compared, and of nothing else is anything said');
$here->result;

$id = begin(q{table_name => 'slow'});
reading();
dst('SELECT pg_terminate_backend(' . reader() . ')');
like(over($id), $in_time, 'a reader that is ended by hand');
streams('disturbs nobody');
nothing_left('of one that was ended');

# The first round finds that rows are needed, in the second one the table is locked
dst('SET session_replication_role = replica; DELETE FROM t WHERE id = 5');
my $found;
for (1 .. 5)
{
	$id = begin();
	reading();
	$here->send('BEGIN; LOCK TABLE slow');
	$found = over($id);
	$here->result;
	$here->query('COMMIT');
	last if $found !~ /^slow different/m;
}
is($found, "other equal 0 0 0\n" . qq{slow void table "public.slow" is locked by another session\n}
	  . 't different 1 0 0', 'rows of a table that is locked by then are passed over');
$there->close;
dst(q{INSERT INTO t VALUES (5, 'v'); DELETE FROM slow WHERE id > 0});

# --- cannot be compared ------------------------------------------------------------------------

$here->query('BEGIN; LOCK TABLE other IN ACCESS EXCLUSIVE MODE');
is(over(begin()), qq{other void table "public.other" is locked by another session\nslow equal 0 0 0\nt equal 0 0 0},
	'a table that is locked is not waited for');
$here->query('COMMIT');
$here->close;

dst('ALTER TABLE other RENAME TO gone');
is(over(begin()), qq{other failed table "public.other" does not exist at the destination\n}
	  . "slow equal 0 0 0\nt equal 0 0 0",
	'a table that is not there');
dst('ALTER TABLE gone RENAME v TO w; ALTER TABLE gone RENAME TO other');
is(over(begin(q{table_name => 'other'})),
	'other failed column "v" of table "public.other" does not exist at the destination',
	'a column that is not there');
dst('ALTER TABLE other RENAME w TO v');

# --- two workers -------------------------------------------------------------------------------

$dest->safe_psql('postgres', 'CREATE DATABASE second');
$dest->safe_psql('second', q{CREATE EXTENSION pg_flo;
	CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY, v text);
	CREATE TABLE slow (id int PRIMARY KEY} . join('', map { ", c$_ int DEFAULT $_" } 1 .. 40) . q{);
	SELECT flo.create_worker('g', worker_name => 'second', options => '{"start": "latest", "tables": "t,other"}')});
start_member($dest, 'g', 'second', 'second');
$dest->safe_psql('second', q{INSERT INTO other SELECT i, 'v' FROM generate_series(1, 1000) i});
dst('SET session_replication_role = replica; DELETE FROM t WHERE id = 1');
my $rows = src('SELECT count(*) FROM t');
like(over(begin()), qr/^other\ equal\ 0\ 0\ 0\n other\ second\ equal\ 0\ 0\ 0\n
	slow\ equal\ 0\ 0\ 0\n slow\ second\ void\ .*option\ tables.*\n
	t\ different\ 1\ 0\ 0\n t\ second\ different\ $rows\ 0\ 0$/x,
	'each worker is compared for itself');
is(src("SELECT count(*) FROM flo.comparison_samples WHERE worker_name = 'second'"), '100', 'with samples of its own');
is(over(begin(q{worker_name => 'second', table_name => 't', compare_samples => 3})),
	"t second different $rows 0 0", 'or one alone');
$dest->safe_psql('second', q{SELECT flo.stop_group('g'); SELECT flo.drop_worker('g', 'second')});
dst(q{INSERT INTO t VALUES (1, 'v')});
streams('at the end');
done_testing();
