# Index entries of rows that are updated as sets: where the look for the same key is left
# out, nobody gets in, and where it is not, what is there objects.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use FloTest::Child;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats, conf => "pg_flo.restart_interval = '300ms'\n");
my $tables = q{CREATE TABLE t (id int PRIMARY KEY, u text UNIQUE, n int, v text);
	CREATE UNIQUE INDEX t_n ON t (n, id DESC) INCLUDE (v);
	CREATE TABLE parts (id int PRIMARY KEY, u int, v text);
	CREATE TABLE dense (id int PRIMARY KEY, u text UNIQUE, v text);
	CREATE TABLE loose (id int PRIMARY KEY, v int) WITH (fillfactor = 40);
	CREATE TABLE z (id int PRIMARY KEY, v int)};
my $dest_only = q{CREATE EXTENSION amcheck; CREATE INDEX t_v ON t (v); CREATE INDEX t_u_brin ON t USING brin (n);
	CREATE INDEX t_hash ON t USING hash (u);
	CREATE UNIQUE INDEX parts_some ON parts (u) WHERE u > 0; CREATE UNIQUE INDEX parts_expr ON parts ((-u))};

$source->safe_psql('postgres', $tables);
$dest->safe_psql('postgres', "$tables; $dest_only");
create_group($source, $dest, 'g');
$source->safe_psql('postgres', q{INSERT INTO z VALUES (1, 0);
	INSERT INTO t SELECT i, 'u' || i, CASE WHEN i % 3 > 0 THEN i END, 'v' FROM generate_series(1, 5000) i;
	INSERT INTO dense SELECT i, 'u' || i, repeat('v', 50) FROM generate_series(1, 1000) i;
	INSERT INTO loose SELECT i, 0 FROM generate_series(1, 1000) i;
	INSERT INTO parts SELECT i, i, 'v' FROM generate_series(1, 500) i});

# --- indexes are whole, and keep rows apart ----------------------------------------------------

sub is_whole
{
	my ($what) = @_;

	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$what: $_") for qw(t parts dense loose);
	for my $index (qw(t_pkey t_u_key t_n t_v parts_pkey parts_some parts_expr dense_pkey dense_u_key loose_pkey))
	{
		my ($result, $out, $error) = $dest->psql('postgres', "SELECT bt_index_check('$index', true)");
		is($error, '', "$what: $index is whole");
	}
	my ($result, $out, $error) = $dest->psql('postgres', q{SET enable_seqscan = off;
		SELECT count(*) FROM generate_series(1, 5000) i JOIN t ON t.id = i AND t.u = 'u' || i});
	is($out, $dest->safe_psql('postgres', 'SELECT count(*) FROM t'), "$what: each row is found");
	for my $row (q{1, 'x'}, q{-1, 'u1'})
	{
		($result, $out, $error) = $dest->psql('postgres', "INSERT INTO t (id, u) VALUES ($row)");
		like($error, qr/duplicate key value/, "$what: no second ($row)");
	}
}

is_whole('new rows');
my @updates = (
	[ 'to pages behind' => q{UPDATE t SET v = v || 'longer'} ],
	[ 'again' => q{UPDATE t SET v = v || repeat('x', id % 7)} ],
	[ 'twice in a transaction' => q{BEGIN; UPDATE t SET v = v || 'y'; UPDATE t SET v = v || 'z'; COMMIT} ],
	[ 'to pages before' => q{UPDATE t SET v = 'short' WHERE id > 2500} ],
	[ 'other columns of indexes' => q{UPDATE t SET n = coalesce(n, 0) + 10000 WHERE id % 4 = 0;
		UPDATE t SET n = NULL WHERE id % 11 = 0; UPDATE parts SET u = -u WHERE id % 2 = 0} ],
	[ 'other order' => q{DO $$ BEGIN FOR i IN 1 .. 500 LOOP UPDATE t SET v = i::text WHERE id = 1 + i * 37 % 5000;
		END LOOP; END $$} ],
	[ 'keys' => q{UPDATE parts SET id = id + 1000, v = 'moved' WHERE id < 100} ]);
for my $update (@updates)
{
	my ($name, $sql) = @$update;
	$source->safe_psql('postgres', $sql);
	is_whole($name);
	# its pages have room now
	$dest->safe_psql('postgres', 'VACUUM t, parts');
}

# Rows of pages with room, found one by one: behind their index entry are other versions, before
# it are entries of what was deleted
sub scattered
{
	my ($sql) = @_;
	return "DO \$\$ BEGIN FOR i IN 0 .. 999 LOOP $sql; END LOOP; END \$\$";
}

my $key = '1 + i * 37 % 1000';
for my $round (1 .. 4)
{
	$source->safe_psql('postgres', scattered("UPDATE loose SET v = v + i WHERE id = $key"));
	is_whole("versions on their page, $round");
	$source->safe_psql('postgres', scattered("DELETE FROM loose WHERE id = $key AND i % 3 = 0"));
	is_whole("fewer rows, $round");
	$source->safe_psql('postgres', scattered("INSERT INTO loose SELECT $key, i WHERE i % 3 = 0"));
	is_whole("the same keys again, $round");
}
is(status_of($dest, 'g', 'postgres', 'fallbacks'), 0, 'all of it was written as sets');

# --- who has a value that is changed to --------------------------------------------------------

sub objects
{
	my ($index, $table, $row, $update, $back) = @_;

	$dest->safe_psql('postgres', "INSERT INTO $table (id, u) VALUES (100000, $row)");
	$source->safe_psql('postgres', $update);
	ok(wait_until($dest, 'postgres', "SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g'
			AND last_error ~ '\"$index\".*UPDATE, table \"public.$table\"')", "the error of $index"),
		"what a row of the destination has, no other is updated to: $index");
	$dest->safe_psql('postgres', "DELETE FROM $table WHERE id = 100000");
	$source->safe_psql('postgres', $back);
	is_whole($index);
}

# its pages are full: new versions lie on the last one
objects('dense_u_key', 'dense', q{'new7'}, q{UPDATE dense SET u = 'new' || id WHERE id < 20},
	q{UPDATE dense SET u = 'u' || id WHERE id < 20});
objects('parts_some', 'parts', 9207, 'UPDATE parts SET u = 9000 + id WHERE id BETWEEN 201 AND 220',
	'UPDATE parts SET u = id WHERE id BETWEEN 201 AND 220');

# --- who comes while it is written -------------------------------------------------------------

my $file = PostgreSQL::Test::Utils::tempdir() . '/session';
my $session = $dest->background_psql('postgres');
$session->query_safe('BEGIN; UPDATE z SET v = v');
# t is written first
$source->safe_psql('postgres', q{BEGIN; UPDATE z SET v = 1; UPDATE t SET v = repeat('w', 50) WHERE id < 3000; COMMIT});
ok(wait_until($dest, 'postgres', q{SELECT count(*) > 0 FROM pg_locks l JOIN flo.status s USING (pid) WHERE NOT granted},
	'the worker to wait'), 'the worker has written new versions, and waits');
my $child = in_child(
	sub {
		my ($result, $out, $error) = $dest->psql('postgres',
			q{SET application_name = 'late'; INSERT INTO t (id, u) VALUES (77, 'other')});
		append_to_file($file, $error);
	});
ok(wait_until($dest, 'postgres', q{SELECT count(*) > 0 FROM pg_stat_activity
	WHERE application_name = 'late' AND wait_event = 'transactionid'}, 'the session to wait'),
	'who enters the same key waits for it');
$session->query_safe('COMMIT');
$session->quit;
ok(await(sub { -s $file }, 'the session'), 'and');
like(slurp_file($file), qr/duplicate key value violates unique constraint "t_pkey"/, '... is refused');
end_child($child);
is_whole('in the end');

$_->stop for $source, $dest;
$nats->stop;
done_testing();
