# A repair finds rows by their keys whatever those are called and made of: odd names, several
# columns, partitions in other shapes, tables whose replica identity is the whole row.

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

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }

sub compared
{
	my ($arguments, $group, $db) = (@_, 'g', 'postgres');
	my $id = $source->safe_psql($db, "SELECT flo.compare('$group'$arguments)");

	wait_until($source, $db, "SELECT bool_and(finished_at IS NOT NULL) FROM flo.comparisons WHERE id = $id",
		"comparison $id to be over");
	return $source->safe_psql($db, "SELECT concat_ws(' ', table_name, state, missing, extra, different, detail)"
		. " FROM flo.comparisons WHERE id = $id ORDER BY relation");
}

$_->safe_psql('postgres', q{
	CREATE SCHEMA "o'd""d";
	CREATE TYPE mood AS ENUM ('sad', 'ok');
	CREATE TABLE "o'd""d"."T ""x" ("the Key" varchar(5), b mood, n numeric(10,2), at timestamptz, gone int, v text,
		twice numeric GENERATED ALWAYS AS (n * 2) STORED, PRIMARY KEY ("the Key", b, at));
	ALTER TABLE "o'd""d"."T ""x" DROP COLUMN gone;
	CREATE TABLE parted (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
	CREATE TABLE parted_2 (v text, k int NOT NULL, id int NOT NULL);
	ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
	CREATE TABLE fullid (id int PRIMARY KEY, v text);
	ALTER TABLE fullid REPLICA IDENTITY FULL;
}) for $source, $dest;
create_group($source, $dest, 'g');
src(q{
	INSERT INTO "o'd""d"."T ""x" SELECT 'k''' || i, 'sad', i / 3.0, '2020-01-01'::timestamptz + i * interval '1 ms', 'v'
		FROM generate_series(1, 99) i;
	INSERT INTO parted SELECT i, i % 2 + 1, 'v' FROM generate_series(1, 100) i;
	INSERT INTO fullid SELECT i, 'v' FROM generate_series(1, 100) i});
wait_caught_up($source, $dest, 'g');
dst(q{
	DELETE FROM "o'd""d"."T ""x" WHERE n < 3;
	UPDATE "o'd""d"."T ""x" SET v = NULL WHERE n > 30;
	INSERT INTO "o'd""d"."T ""x" VALUES ('z''"', 'ok', 1, now(), 'x');
	DELETE FROM parted WHERE id < 5;
	UPDATE parted SET v = 'w' WHERE id > 95;
	INSERT INTO parted VALUES (1000, 1, 'x'), (1001, 2, 'y');
	DELETE FROM fullid WHERE id < 5;
	UPDATE fullid SET v = 'w' WHERE id > 95;
	INSERT INTO fullid VALUES (1000, 'x')});
is(compared(', repair => true, repair_extra => true'), <<'EXPECTED' =~ s/\n$//r, 'all are repaired');
"o'd""d"."T ""x" repaired 8 1 9
public.parted repaired 4 2 5
public.fullid repaired 4 1 5
EXPECTED
is(compared(''), <<'EXPECTED' =~ s/\n$//r, 'and the same then');
"o'd""d"."T ""x" equal 0 0 0
public.parted equal 0 0 0
public.fullid equal 0 0 0
EXPECTED
is_same_table($source, $dest, 'fullid', 'as a look at the rows says');

# --- what is in the way of one row or table ----------------------------------------------------

# the source has another encoding than the destination
$source->safe_psql('postgres', q{CREATE DATABASE l ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'});
$dest->safe_psql('postgres', 'CREATE DATABASE l');
$_->safe_psql('l', q{
	CREATE EXTENSION pg_flo;
	CREATE EXTENSION citext;
	CREATE TABLE named (id citext PRIMARY KEY, v text);
	CREATE TABLE other (id int PRIMARY KEY, v text);
	CREATE TABLE single (id int PRIMARY KEY, e text UNIQUE);
}) for $source, $dest;
$dest->safe_psql('l', 'ALTER TABLE other ALTER id TYPE bigint');
create_group($source, $dest, 'h', source_db => 'l', dest_db => 'l');
$source->safe_psql('l', q{
	INSERT INTO named SELECT 'Key' || i, chr(228) FROM generate_series(1, 9) i;
	INSERT INTO other SELECT i FROM generate_series(1, 9) i;
	INSERT INTO single SELECT i, 'e' || i FROM generate_series(1, 9) i});
wait_caught_up($source, $dest, 'h', source_db => 'l', dest_db => 'l');
$dest->safe_psql('l', q{
	UPDATE named SET id = 'KEY7' WHERE id = 'key7';
	INSERT INTO named VALUES (chr(26085), 'v'), ('x', chr(26085));
	INSERT INTO other VALUES (5000000000);
	DELETE FROM single WHERE id = 1;
	INSERT INTO single VALUES (100, 'e1')});
is(compared(', repair => true, repair_extra => true', 'h', 'l'), <<'EXPECTED' =~ s/\n$//r,
public.named different 0 1 0
public.other failed 0 1 0 could not repair: value "5000000000" is out of range for type integer
public.single repaired 1 1 0
EXPECTED
	'a key that the source cannot have ends the repair of its table, a value that is to be unique does not');
is($dest->safe_psql('l', "SELECT id, v = chr(228) FROM named WHERE id = 'key7'"), 'Key7|t',
	'a row whose key is the same, but written otherwise, is written as it is at the source');

# --- rows that the destination refuses ----------------------------------------------------------

$dest->safe_psql('l', q{
	UPDATE single SET e = 'other' WHERE id = 2;
	UPDATE single SET e = 'e2' WHERE id = 3;
	UPDATE single SET e = 'e3' WHERE id = 2;
	DELETE FROM single WHERE id = 5});
like(compared(', repair => true', 'h', 'l'), qr/^public.single different 0 0 2/m,
	'what the destination refuses stays different, and the rest is repaired');
is($dest->safe_psql('l', q{SELECT state, restarts FROM flo.status WHERE group_name = 'h'}), 'streaming|0',
	'the stream goes on');
like(slurp_file($dest->logfile), qr/LOG:  a repair is refused here: duplicate key value/, 'the log says why');

# constraints that are looked at when a transaction ends; and more rows than are repaired at a time
$_->safe_psql('l', q{
	CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
	CREATE TABLE many (id numeric PRIMARY KEY)}) for $source, $dest;
create_group($source, $dest, 'd', tables => q{'{parent,child,many}'}, worker_options => q{'{"fire_triggers": true}'},
	source_db => 'l', dest_db => 'l');
$source->safe_psql('l', q{INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 1), (2, 2);
	INSERT INTO many SELECT i FROM generate_series(1, 25000) i});
wait_caught_up($source, $dest, 'd', source_db => 'l', dest_db => 'l');
$dest->safe_psql('l', q{SET session_replication_role = replica;
	DELETE FROM parent WHERE id = 1; DELETE FROM child; DELETE FROM many WHERE id <= 24000;
	UPDATE many SET id = id + 0.00});
is(compared(q{, 'child', repair => true}, 'd', 'l'), 'public.child different 1 0 0',
	'a row that nothing refers to is refused at the end of a transaction alone');
is($dest->safe_psql('l', q{SELECT state, restarts FROM flo.status WHERE group_name = 'd'}), 'streaming|0',
	'the stream goes on');
is(compared(', repair => true', 'd', 'l'), "public.parent repaired 1 0 0\npublic.child repaired 1 0 0\n"
	  . 'public.many repaired 24000 0 1000', 'all of them are repaired');
is_same_table($source, $dest, 'many', 'many: as a look at the rows says', 'l');
$source->safe_psql('l', 'BEGIN; INSERT INTO child VALUES (3, 3); INSERT INTO parent VALUES (3); COMMIT');
wait_caught_up($source, $dest, 'd', source_db => 'l', dest_db => 'l');
is($dest->safe_psql('l', 'SELECT count(*) FROM child'), '3', 'what comes later is deferred as ever');

done_testing();
