
# Tables that are filled in one transaction, which builds their indexes in the end: which
# ones those are, that all of several loaders' rows are in, and that nothing is lost or
# comes twice when a process is killed in the midst, when two rows have one key, or
# somebody looks at a table.

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
my $n = 0;

$dest->safe_psql('postgres', 'CREATE EXTENSION amcheck');

# tables "names" at both sides, with "rows" rows of 100 bytes at the source
sub tables
{
	my ($rows, @names) = @_;
	for my $name (@names)
	{
		$_->safe_psql('postgres', "CREATE TABLE $name (id int PRIMARY KEY, n int, t text);
			CREATE INDEX ${name}_n ON $name (n); CREATE UNIQUE INDEX ${name}_t ON $name (t) INCLUDE (n)")
		  for $source, $dest;
		$source->safe_psql('postgres', "INSERT INTO $name
			SELECT i, i % 10, md5(i::text) || repeat('x', 40) FROM generate_series(1, $rows) i");
	}
}

sub drop
{
	my ($group, @names) = @_;
	$dest->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
	$dest->reload;
	$dest->safe_psql('postgres', "SELECT flo.drop_group('$group')");
	$source->safe_psql('postgres', "SELECT flo.drop_group('$group', purge_stream => true)");
	$_->safe_psql('postgres', 'DROP TABLE ' . join ', ', @names) for $source, $dest;
}

sub list { return q{'} . '{' . join(', ', @_) . '}' . q{'}; }

sub file_of { my ($index) = @_; return $dest->safe_psql('postgres', "SELECT pg_relation_filenode('$index')"); }

# Every index holds each row, once, and is dense or not as it was made
sub indexes_ok
{
	my ($name, @tables) = @_;
	my ($out, $err);
	for my $table (@tables)
	{
		is($dest->psql('postgres', "SELECT bt_index_check(indexrelid, true)
			FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = c.relam AND amname = 'btree'
			WHERE indrelid = '$table'::regclass",
				stdout => \$out, stderr => \$err), 0, "$name: indexes of $table") or diag $err;
		is($dest->safe_psql('postgres', "SELECT bool_and(indisvalid AND indisready AND indislive) FROM pg_index
			WHERE indrelid = '$table'::regclass"), 't', "$name: all of $table are valid");
	}
}

# --- which ones -------------------------------------------------------------------------------

tables(40000, qw(plain deferred computed hashed fired read pieces));
tables(5000, 'small');
$dest->safe_psql('postgres', q{CREATE INDEX ON computed (upper(t)); CREATE INDEX ON hashed USING hash (n);
	ALTER TABLE deferred ADD UNIQUE (id, n) DEFERRABLE;
	CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql
		AS 'BEGIN PERFORM FROM public.fired WHERE id = NEW.id - 1; RETURN NEW; END';
	CREATE TRIGGER look BEFORE INSERT ON fired FOR EACH ROW EXECUTE FUNCTION look();
	ALTER TABLE fired ENABLE ALWAYS TRIGGER look});
# a row of pieces in between
$source->safe_psql('postgres', q{ALTER TABLE pieces ALTER t SET STORAGE EXTERNAL; DROP INDEX pieces_t;
	UPDATE pieces SET t = repeat(t, 20000) WHERE id = 20000});
$dest->safe_psql('postgres', 'DROP INDEX pieces_t');
my @all = qw(plain deferred computed hashed fired read pieces small);
my %before = map { $_ => file_of("${_}_pkey") } @all;
# whoever reads it does not have to wait, and goes before
my $reader = $dest->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) FROM read');
create_copy_group($source, $dest, 'which', tables => list(@all), copy_workers => 4);
like($reader->query_safe('SELECT count(*) FROM read'), qr/^40000$/, 'a table that somebody reads is filled meanwhile');
$reader->query_safe('COMMIT');
$reader->quit;
is_same_table($source, $dest, $_, "which: $_") for @all;
indexes_ok('which', @all);
isnt(file_of("${_}_pkey"), $before{$_}, "the indexes of $_ are built in the end") for qw(plain pieces);
is(file_of("${_}_pkey"), $before{$_}, "those of $_ get one entry after the other")
  for qw(deferred computed hashed fired read small);
drop('which', @all);

tables(60000, 'dense');
create_copy_group($source, $dest, 'dense', tables => list('dense'));
my $sizes = q{SELECT string_agg(indexrelid::regclass || ' ' || pg_relation_size(indexrelid), ', ' ORDER BY indexrelid)
	FROM pg_index WHERE indrelid = 'dense'::regclass};
my $copied = $dest->safe_psql('postgres', $sizes);
$dest->safe_psql('postgres', 'REINDEX TABLE dense');
is($copied, $dest->safe_psql('postgres', $sizes), 'indexes that are built in the end are as dense as after REINDEX');
drop('dense', 'dense');

# --- many at once -----------------------------------------------------------------------------

# more than the loaders can have as their own
my @many = map { "many$_" } 1 .. 20;
tables(20000 + 1000 * $_, "many$_") for 1 .. 20;
%before = map { $_ => file_of("${_}_pkey") } @many;
create_copy_group($source, $dest, 'many', tables => list(@many), copy_workers => 8,
	worker_options => q{'{"loaders": 2}'});
is_same_table($source, $dest, $_, "many: $_") for @many;
indexes_ok('many', @many);
cmp_ok(scalar(grep { file_of("${_}_pkey") ne $before{$_} } @many), '>', 10,
	'indexes of most of them are built in the end');
is($dest->safe_psql('postgres', q{SELECT sum(inserts) FROM flo.status WHERE group_name = 'many'}),
	20 * 20000 + 210 * 1000, 'each row is counted once');
# again, with what is there before
$source->safe_psql('postgres', q{UPDATE many7 SET n = n + 1;
	SELECT flo.resync('many', t) FROM unnest('{many3, many7}'::regclass[]) t});
wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the copy');
wait_state($dest, 'many', 'postgres', 'streaming');
wait_caught_up($source, $dest, 'many');
is_same_table($source, $dest, $_, "again: $_") for qw(many3 many7);
indexes_ok('again', qw(many3 many7));
drop('many', @many);

# --- killed -----------------------------------------------------------------------------------

for my $point ('sitting.before', 'sitting.built', 'sitting.after', 'load.after:3', 'load.after:7')
{
	my $group = 'k' . ++$n;
	tables(30000, qw(a b c));
	my $log_before = -s $dest->logfile;
	halt_at($dest, $point);
	create_copy_group($source, $dest, $group, tables => list(qw(a b c)), copy_workers => 3, wait => 0,
		worker_options => q{'{"loaders": 3}'});
	await_halt($dest, $point) or die;
	my $pid = halted_pid($dest, $point, $log_before) or die;
	$source->safe_psql('postgres', q{INSERT INTO a VALUES (100001, 1, 1);
		UPDATE b SET n = 20 WHERE id % 1000 = 0; DELETE FROM c WHERE id % 1000 = 1});
	kill('KILL', $pid) or die "kill $pid: $!";
	wait_state($dest, $group, 'postgres', 'streaming');
	wait_state($source, $group, 'replicator', 'streaming');
	wait_caught_up($source, $dest, $group);
	is_same_table($source, $dest, $_, "killed at $point: $_") for qw(a b c);
	indexes_ok("killed at $point", qw(a b c));
	drop($group, qw(a b c));
}

# --- two rows with one key --------------------------------------------------------------------

tables(30000, qw(twice other));
$source->safe_psql('postgres', q{ALTER TABLE twice DROP CONSTRAINT twice_pkey, REPLICA IDENTITY FULL;
	INSERT INTO twice VALUES (77, 1, 1)});
create_copy_group($source, $dest, 'twice', tables => list(qw(twice other)), wait => 0);
wait_until($dest, 'postgres', q{SELECT bool_or(last_error ~ 'twice_pkey') FROM flo.status WHERE group_name = 'twice'},
	'an error about the key') or diag $dest->safe_psql('postgres', q{SELECT last_error FROM flo.status});
is($dest->safe_psql('postgres', 'SELECT count(*) FROM twice WHERE id = 77'), '0', 'neither of the two is in');
$dest->safe_psql('postgres', 'ALTER TABLE twice DROP CONSTRAINT twice_pkey');
wait_state($dest, 'twice', 'postgres', 'streaming');
is_same_table($source, $dest, $_, "then: $_") for qw(twice other);
indexes_ok('then', qw(twice other));
drop('twice', qw(twice other));

done_testing();
