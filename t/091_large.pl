# Transactions larger than the decoder's memory, which leave it in pieces while
# they run: subtransactions rolled back, definitions that change, several at a
# time with small ones in between, rollback, prepared ones, a crash in between.

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
my $tables = q{
	CREATE TABLE a (id int PRIMARY KEY, v text, w int);
	CREATE TABLE b (id int PRIMARY KEY, v text);
	CREATE TABLE only_undone (id int PRIMARY KEY, v text);
	CREATE TABLE small (id int PRIMARY KEY, v text);
	CREATE TABLE wide (id int PRIMARY KEY, big text, v int);
	ALTER TABLE wide ALTER big SET STORAGE EXTERNAL;
	CREATE TYPE color AS ENUM ('red', 'blue');
	CREATE TABLE typed (id int PRIMARY KEY, c color, filler text);
};
$_->safe_psql('postgres', $tables) for $source, $dest;
create_group($source, $dest, 'g', tables => "'{a,b,only_undone,small,wide,typed}'");
my @tables = qw(a b only_undone small wide typed);
my $filler = "repeat(md5(g::text), 4)";

sub all_same
{
	my ($what) = @_;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$what: $_") for @tables;
}

sub spilled
{
	return $source->safe_psql('postgres', "SELECT count(*) FROM pg_ls_tmpdir()");
}

# What is written so far has left the decoder: only then a rollback undoes pieces
my $steps = 1000;

sub decoded
{
	$source->safe_psql('postgres', 'INSERT INTO small VALUES (' . ++$steps . ", 'step')");
	wait_caught_up($source, $dest, 'g');
}

# Savepoints rolled back after they were streamed; a table whose description is
# sent only within one of these is used afterwards
my $session = $source->background_psql('postgres', on_error_stop => 1);
for my $step ("BEGIN; INSERT INTO a SELECT g, $filler, 1 FROM generate_series(1, 100000) g",
	"SAVEPOINT s1; INSERT INTO only_undone SELECT g, $filler FROM generate_series(1, 100000) g",
	"UPDATE a SET v = 'undone ' || v, w = 2",
	"SAVEPOINT s2; INSERT INTO b SELECT g, $filler FROM generate_series(1, 100000) g",
	"ROLLBACK TO s1; INSERT INTO only_undone VALUES (1, 'kept')",
	"INSERT INTO b VALUES (1, 'kept')",
	"SAVEPOINT s3; DELETE FROM a WHERE id % 2 = 0; RELEASE s3",
	"INSERT INTO typed SELECT g, 'red', $filler FROM generate_series(1, 100000) g",
	'COMMIT')
{
	$session->query_safe($step);
	decoded();
}
$session->quit;
$source->safe_psql('postgres', "INSERT INTO only_undone VALUES (2, 'after'); INSERT INTO b VALUES (2, 'after')");
all_same('savepoints');

# Several at a time, with small transactions between their pieces; one is
# rolled back; definitions change in another
my %session = map { $_ => $source->background_psql('postgres', on_error_stop => 1) } qw(one two three);
$_->query_safe('BEGIN') for values %session;
for my $round (0 .. 3)
{
	my ($low, $high) = ($round * 50000 + 1, $round * 50000 + 50000);

	$session{one}->query_safe("INSERT INTO wide SELECT g, repeat(md5(g::text), 100), g
		FROM generate_series($low / 50, $high / 50) g ON CONFLICT DO NOTHING");
	$session{two}->query_safe("INSERT INTO b SELECT g + 10, $filler FROM generate_series($low, $high) g");
	$session{three}->query_safe("INSERT INTO a SELECT g + 1000000, $filler, 3 FROM generate_series($low, $high) g");
	decoded();
	$session{two}->query_safe('ALTER TABLE b ALTER v SET NOT NULL; ALTER TABLE b ADD COLUMN extra int DEFAULT 5')
	  if $round == 1;
	$source->safe_psql('postgres', "INSERT INTO small VALUES ($round, 'small');
		INSERT INTO a VALUES (-$round, 'small', 0)");
}
$dest->safe_psql('postgres', 'ALTER TABLE b ADD COLUMN extra int DEFAULT 5');
cmp_ok(spilled(), '>', 0, 'pieces of transactions in progress are kept in files');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'small', 'small transactions do not wait for large ones');
$session{one}->query_safe('UPDATE wide SET v = v + 1');
$session{two}->query_safe('COMMIT');
$session{three}->query_safe('ROLLBACK');
$session{one}->query_safe('COMMIT');
$_->quit for values %session;
all_same('interleaved');
is(spilled(), 0, 'the files are gone with the transactions');

# A description kept with a transaction in progress is older than the one its
# commit meets: the column list changes meanwhile
my $long = $source->background_psql('postgres', on_error_stop => 1);
$long->query_safe("BEGIN; INSERT INTO typed SELECT g, 'blue', $filler FROM generate_series(200001, 300000) g");
decoded();
$source->safe_psql('postgres', "INSERT INTO typed VALUES (-1, 'blue', 'x')");
$source->safe_psql('postgres', 'ALTER PUBLICATION pgflo_g SET TABLE a, b, only_undone, small, wide, typed (id, c)');
$source->safe_psql('postgres', "INSERT INTO typed VALUES (-2, 'blue', 'not sent')");
$long->query_safe('COMMIT');
$source->safe_psql('postgres', "INSERT INTO typed VALUES (-3, 'red', 'not sent')");
$long->quit;
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT id, c, filler FROM typed WHERE id < 0 ORDER BY id'),
	"-3|red|\n-2|blue|\n-1|blue|x",
	'a newer description of a table outlives an older one');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM typed WHERE id > 200000'), 100000,
	'... and the large transaction is all there');
$source->safe_psql('postgres', 'ALTER PUBLICATION pgflo_g SET TABLE a, b, only_undone, small, wide, typed');
$_->safe_psql('postgres', 'TRUNCATE typed') for $source;

# Rows larger than a chunk and than the buffers kept for them
for my $i (1 .. 3)
{
	$source->safe_psql('postgres', "INSERT INTO wide SELECT -g - 100 * $i, repeat(md5(g::text), 100000), g
		FROM generate_series(1, 4) g;"
		. "INSERT INTO a SELECT g + 4000000 + 100000 * $i, $filler, 4 FROM generate_series(1, 1000) g");
	wait_caught_up($source, $dest, 'g');
}
all_same('large rows');

# Prepared, and a replicator that is killed with pieces in hand
$source->safe_psql('postgres', "BEGIN; UPDATE a SET w = w + 1; PREPARE TRANSACTION 'p'");
my $held = $source->background_psql('postgres', on_error_stop => 1);
$held->query_safe("BEGIN; INSERT INTO a SELECT g + 3000000, $filler, 3 FROM generate_series(1, 100000) g");
$source->safe_psql('postgres', "INSERT INTO small VALUES (100, 'before')");
wait_caught_up($source, $dest, 'g');
decoded();
my $pid = kill9_member($source, 'g', 'replicator');
$held->quit;
wait_other_pid($source, 'g', 'replicator', $pid);
wait_state($source, 'g', 'replicator', 'streaming');
$source->safe_psql('postgres', "COMMIT PREPARED 'p'") ;
all_same('prepared, after a crash');

$_->stop for $source, $dest;
$nats->stop;
done_testing();
