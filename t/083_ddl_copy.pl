
# DDL of a table that is being copied: between the request for a copy and its
# snapshot, between the snapshot and the lock, and after a crash that makes a
# second snapshot necessary.  Rows always meet the shape they were read in.

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

sub both { my ($sql) = @_; $_->safe_psql('postgres', $sql) for $source, $dest; }

sub columns_of
{
	my ($node, $table) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT string_agg(format('%s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull,
			pg_get_expr(adbin, adrelid)), ', ' ORDER BY attname)
		  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		 WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped});
}

# Both sides the same: columns, and rows whatever the columns' order
sub same
{
	my ($table, $name) = @_;
	my $order = $source->safe_psql('postgres',
		"SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname) FROM pg_attribute
		WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped");
	my $rows = "SELECT count(*), coalesce(sum(hashtextextended(ROW($order)::text, 1)), 0) FROM $table";
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(columns_of($dest, $table), columns_of($source, $table), "$name: columns of $table");
	is($dest->safe_psql('postgres', $rows), $source->safe_psql('postgres', $rows), "$name: rows of $table");
}

# The snapshot of the copy has to wait for a transaction while "do" is run; then it comes
sub before_snapshot
{
	my ($request, $do) = @_;
	my $writer = FloTest::Session->new($source);

	$writer->query('BEGIN');
	$writer->query('SELECT pg_current_xact_id()');
	$source->safe_psql('postgres', $request);
	wait_until($source, 'postgres', "SELECT detail ~ 'a new snapshot' FROM flo.status WHERE group_name = 'g'",
		'the snapshot to be waited for');
	$do->();
	$writer->query('COMMIT');
	$writer->close;
}

sub settled
{
	wait_until($source, 'postgres', 'SELECT count(*) = 0 FROM flo.copy_requests', 'the copy to be in');
	wait_caught_up($source, $dest, 'g');
}

both(q{
	CREATE TABLE a (id int PRIMARY KEY, v text, n numeric(6,2));
	CREATE TABLE late (id int PRIMARY KEY, v text);
	CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE parted (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
});
$source->safe_psql('postgres', q{
	SELECT flo.create_replicator('g', tables => '{a,parent,parted}', track_ddl => true);
	INSERT INTO late SELECT i, 'l' || i FROM generate_series(1, 500) i;
});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')});
start_member($dest, 'g', 'postgres');
$source->safe_psql('postgres', q{
	INSERT INTO a SELECT i, 'v' || i, i FROM generate_series(1, 1000) i;
	INSERT INTO parent SELECT generate_series(1, 10);
	INSERT INTO parted SELECT i, 1, 'p' FROM generate_series(1, 100) i;
});
wait_caught_up($source, $dest, 'g');

# --- between the request and the snapshot -----------------------------------------------

before_snapshot(q{SELECT flo.resync('g', 'a')}, sub {
	$source->safe_psql('postgres', $_) for
	  q{INSERT INTO a VALUES (1001, 'before', 1)},
	  q{ALTER TABLE a ADD w int NOT NULL DEFAULT 7},
	  q{ALTER TABLE a ADD u uuid DEFAULT gen_random_uuid()},
	  q{UPDATE a SET w = id WHERE id < 100},
	  q{ALTER TABLE a RENAME v TO renamed},
	  q{ALTER TABLE a ALTER n TYPE numeric},
	  q{UPDATE a SET n = n / 3, renamed = renamed || '+'},
	  # what stale rows would object to
	  q{ALTER TABLE a ADD CHECK (n < 400)},
	  q{BEGIN; DELETE FROM a WHERE id > 900; ALTER TABLE a ADD late int; UPDATE a SET late = 1;
		ALTER TABLE a ALTER late SET NOT NULL; COMMIT};
	kill9_member($dest, 'g', 'postgres');
});
$source->safe_psql('postgres', q{ALTER TABLE a DROP late; INSERT INTO a VALUES (2001, 'after', 1)});
settled();
same('a', 'resync');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.pending_ddl}), '0',
	'a default that differs is not held: the rows come');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.ddl_log WHERE outcome = 'applied'}), '8', 'all was applied');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.copied_tables WHERE expected IS NOT NULL}), '0',
	'no snapshot is expected any more');

before_snapshot(q{SELECT flo.add_table('g', 'late')}, sub {
	$source->safe_psql('postgres', $_) for
	  q{INSERT INTO late VALUES (501, 'before')},
	  q{ALTER TABLE late ADD w text DEFAULT 'w'},
	  q{UPDATE late SET v = NULL WHERE id < 10},
	  q{ALTER TABLE late RENAME TO later};
});
$source->safe_psql('postgres', q{INSERT INTO later VALUES (601, 'after', 'x'); ALTER TABLE later RENAME w TO ww;
	UPDATE later SET ww = 'y' WHERE id = 5});
settled();
same('later', 'add_table');

# a foreign key to rows that are still to come
before_snapshot(q{SELECT flo.resync('g', 'parent')}, sub {
	$source->safe_psql('postgres', $_) for
	  q{INSERT INTO parent SELECT generate_series(11, 20)},
	  q{ALTER TABLE a ADD p int},
	  q{UPDATE a SET p = 11 + id % 10},
	  q{ALTER TABLE a ADD FOREIGN KEY (p) REFERENCES parent},
});
settled();
same($_, 'foreign key') for qw(a parent);
is($dest->safe_psql('postgres', q{SELECT convalidated FROM pg_constraint
	WHERE contype = 'f' AND conrelid = 'a'::regclass}), 't', 'the foreign key is as valid as at the source');
$source->safe_psql('postgres', 'ALTER TABLE a DROP CONSTRAINT a_p_fkey');

before_snapshot(q{SELECT flo.resync('g', 'parted')}, sub {
	$source->safe_psql('postgres', $_) for
	  q{ALTER TABLE parted ADD w int},
	  q{UPDATE parted SET w = 1},
	  q{CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2)},
	  q{INSERT INTO parted VALUES (1, 2, 'second', 2)},
	  q{ALTER TABLE parted_1 ADD CHECK (w = 1)};
});
settled();
same($_, 'partitions') for qw(parted parted_1 parted_2);

# dropped on the way, and before
before_snapshot(q{SELECT flo.resync('g', 'later')}, sub { $source->safe_psql('postgres', 'DROP TABLE later') });
settled();
is($dest->safe_psql('postgres', q{SELECT to_regclass('later') IS NULL}), 't', 'a table dropped before its snapshot');
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
both('CREATE TABLE brief (id int PRIMARY KEY)');
$source->safe_psql('postgres', q{SELECT flo.add_table('g', 'brief')});
$source->safe_psql('postgres', q{DROP TABLE brief});
start_member($source, 'g', 'replicator');
settled();
$source->safe_psql('postgres', q{INSERT INTO a (id, n) VALUES (3001, 1)});
settled();
same('a', 'a table dropped before it was looked at');

# --- between the snapshot and the lock ---------------------------------------------------

my $writer = FloTest::Session->new($source);
my $ddl = FloTest::Session->new($source);
$ddl->query('SELECT 1');
$writer->query('BEGIN');
$writer->query('SELECT pg_current_xact_id()');
$source->safe_psql('postgres', q{SELECT flo.resync('g', 'a')});
wait_until($source, 'postgres', "SELECT detail ~ 'a new snapshot' FROM flo.status WHERE group_name = 'g'",
	'the snapshot to be waited for');
my $postmaster = (split /\n/, slurp_file($source->data_dir . '/postmaster.pid'))[0];
kill 'STOP', $postmaster;
$writer->query('COMMIT');
$writer->close;
ok(await(sub { $ddl->query("SELECT count(*) FROM pg_ls_dir('pg_snapshots')") }, 'a snapshot'),
	'the snapshot is exported, nobody has locked the table');
$ddl->query($_) for q{ALTER TABLE a ADD x1 int}, q{ALTER TABLE a RENAME renamed TO again},
	q{UPDATE a SET x1 = id, again = 'x' WHERE id % 2 = 0};
$ddl->close;
kill 'CONT', $postmaster;
settled();
same('a', 'columns changed after the snapshot');
ok($source->log_contains('got another name or other columns'), 'the copy began again');

# --- a second snapshot ---------------------------------------------------------------------

# The rows of the first are published, and nobody has loaded them, when the source dies
for my $case ('loading', 'loaded')
{
	$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')}) if $case eq 'loading';
	wait_state($dest, 'g', 'postgres', 'stopped') if $case eq 'loading';
	my $holder = FloTest::Session->new($dest);
	if ($case eq 'loaded')
	{
		# the worker waits at the marker, for loaders that wait for a lock
		$holder->query('BEGIN');
		$holder->query('LOCK TABLE a IN EXCLUSIVE MODE');
	}
	$source->safe_psql('postgres', q{SELECT flo.resync('g', 'a')});
	ok(wait_until($source, 'postgres', "SELECT detail ~ 'all tables are published' FROM flo.status
		WHERE group_name = 'g'", 'the copy to be published'), "$case: the copy is published");
	ok(wait_until($dest, 'postgres', "SELECT state = 'copying' FROM flo.status WHERE group_name = 'g'",
		'the worker to wait'), "$case: the worker waits") if $case eq 'loaded';
	$source->stop('immediate');
	$source->start;
	$source->safe_psql('postgres', $_) for
	  qq{ALTER TABLE a ADD y_$case numeric(4,1) DEFAULT 1.5},
	  qq{ALTER TABLE a ALTER y_$case TYPE numeric},
	  qq{UPDATE a SET y_$case = id / 7.0},
	  qq{ALTER TABLE a RENAME again TO again_$case},
	  qq{ALTER TABLE a RENAME again_$case TO again};
	$dest->safe_psql('postgres', q{SELECT flo.start_group('g')}) if $case eq 'loading';
	$holder->query('COMMIT') if $case eq 'loaded';
	$holder->close;
	settled();
	same('a', "$case: a second snapshot");
}

$source->safe_psql('postgres', q{INSERT INTO a (id, n) VALUES (4001, 1)});
kill9_member($source, 'g', 'replicator');
kill9_member($dest, 'g', 'postgres');
wait_until($source, 'postgres', 'SELECT true', 'the source to be back');
wait_caught_up($source, $dest, 'g');
same('a', 'afterwards');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});

# --- the copy that a group begins with --------------------------------------------------------

for my $sync (0, 1)
{
	both('DROP TABLE IF EXISTS child, small, wide');
	$source->safe_psql('postgres', q{
		CREATE TABLE wide (id int PRIMARY KEY, v text, n numeric(8,1));
		CREATE TABLE small (id int PRIMARY KEY, v text);
		CREATE TABLE child (id int PRIMARY KEY, w int REFERENCES wide);
		CREATE INDEX wide_n ON wide (n);
	});
	$dest->safe_psql('postgres', q{
		CREATE TABLE wide (id int PRIMARY KEY, v text, n numeric(8,1));
		CREATE TABLE small (id int PRIMARY KEY, v text);
		CREATE TABLE child (id int PRIMARY KEY, w int);
		CREATE INDEX wide_n ON wide (n);
	}) if !$sync;
	$source->safe_psql('postgres', q{
		INSERT INTO wide SELECT i, repeat(md5(i::text), 30), i FROM generate_series(1, 110000) i;
		INSERT INTO small SELECT i, 's' FROM generate_series(1, 100) i;
		INSERT INTO child SELECT i, i FROM generate_series(1, 100) i;
		SELECT flo.create_replicator('g', tables => '{wide,small,child}', mode => 'copy_and_stream', copy_workers => 3,
			sync_schema => SYNC,
			track_ddl => true, options => '{"copy_stream_max_bytes": "64MB"}');
	} =~ s/SYNC/$sync ? 'true' : 'false'/er);
	$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
	ok(wait_until($source, 'postgres', q{SELECT count(*) FILTER (WHERE finished_at IS NOT NULL) = 2 AND count(*) = 3
		FROM flo.copied_tables}, 'the middle of the copy'),
		"initial copy ($sync): the small tables are published, the large one does not fit");
	$source->stop('immediate');

	# else the copy that begins again may lock the tables first, and without a worker there is no end of it
	$source->append_conf('postgresql.conf', 'pg_flo.enabled = off');
	$source->start;
	$source->safe_psql('postgres', $_) for
	  q{ALTER TABLE small ADD w int DEFAULT 3},
	  q{UPDATE small SET w = id},
	  q{ALTER TABLE wide ADD w int},
	  q{UPDATE wide SET w = 1, n = n * 2 WHERE id < 1000},
	  q{ALTER TABLE wide ALTER n TYPE numeric},
	  q{UPDATE wide SET n = n / 3 WHERE id < 1000},
	  q{ALTER TABLE wide RENAME v TO value};
	$source->append_conf('postgresql.conf', 'pg_flo.enabled = on');
	$source->reload;
	$dest->safe_psql('postgres', q{SELECT flo.create_worker('g', options => '{"loaders": 2}');
		SELECT flo.start_group('g')});
	wait_state($dest, 'g', 'postgres', 'streaming');
	settled();
	same($_, "initial copy ($sync)") for qw(wide small child);
	is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_constraint
		WHERE contype = 'f' AND conrelid = 'child'::regclass}), $sync, "initial copy ($sync): the foreign key");
	is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_indexes WHERE indexname = 'wide_n'}), 1,
		"initial copy ($sync): the index");
	is($source->safe_psql('postgres', q{SELECT max(attempt) FROM flo.copied_tables WHERE table_name <> 'wide'}), '1',
		'what was finished was not copied again');
	$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
	$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
}

# --- before any definition has come ------------------------------------------------------------

# The copy fails where definitions are read, and begins again from a snapshot after these
# statements, of tables, and with a type, that the destination has never seen, nor will it one
# that is gone by then
$source->append_conf('postgresql.conf', "pg_flo.pg_dump_path = '/nowhere'");
$source->reload;
$source->safe_psql('postgres', q{
	CREATE SCHEMA fresh;
	CREATE TYPE fresh.kind AS ENUM ('x', 'y');
	CREATE TABLE fresh.small (id int PRIMARY KEY, k fresh.kind);
	INSERT INTO fresh.small SELECT i, 'x' FROM generate_series(1, 100) i;
	CREATE TABLE fresh.brief (id int PRIMARY KEY);
	SELECT flo.create_replicator('g', schemas => '{fresh}', mode => 'copy_and_stream', sync_schema => true,
		track_ddl => true);
	SELECT flo.start_group('g')});
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g'); SELECT flo.start_group('g')});
ok(wait_until($source, 'postgres', q{SELECT last_error ~ '/nowhere' FROM flo.status WHERE group_name = 'g'},
	'pg_dump to fail'), 'definitions cannot be read');
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
$source->safe_psql('postgres', $_) for
  q{ALTER TABLE fresh.small ADD w int DEFAULT 3},
  q{UPDATE fresh.small SET w = id, k = 'y' WHERE id % 2 = 0},
  q{CREATE TABLE fresh.wide (id int PRIMARY KEY, k fresh.kind)},
  q{INSERT INTO fresh.wide VALUES (1, 'x')},
  q{INSERT INTO fresh.brief VALUES (1)},
  q{ALTER TABLE fresh.brief ADD v int},
  q{INSERT INTO fresh.brief VALUES (2, 2)},
  q{TRUNCATE fresh.brief, fresh.wide},
  q{INSERT INTO fresh.wide VALUES (2, 'y')},
  q{DROP TABLE fresh.brief};
$source->append_conf('postgresql.conf', "pg_flo.pg_dump_path = ''");
$source->reload;
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_state($dest, 'g', 'postgres', 'streaming');
settled();
same($_, 'definitions that come late') for qw(fresh.small fresh.wide);

done_testing();
