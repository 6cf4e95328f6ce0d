
# A transaction that changes a type, a schema or the publication and is so large that it is
# decoded in pieces, with others between them: what it has changed holds in all its pieces,
# and in nobody else's rows before it commits.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "autovacuum = off\n");
my $dest = flo_node('dest', $nats);

# 10 MB, where 8 MB fit into memory
my $rows = 10000;

$source->safe_psql('postgres', q{
	CREATE SCHEMA s;
	CREATE TYPE s.mood AS ENUM ('sad', 'ok');
	CREATE TABLE s.large (id int PRIMARY KEY, m s.mood, v text);
	CREATE TABLE s.small (id int PRIMARY KEY, m s.mood, v text)});
create_copy_group($source, $dest, 'g', sync_schema => 1, track_ddl => 1,
	worker_options => q{'{"ddl_trust": "source"}'});

my $id = 0;
my $count = 0;

sub many
{
	my ($schema) = @_;
	my $from = $id + 1;
	$id += $rows;
	return "INSERT INTO $schema.large SELECT i, enum_last(NULL::$schema.mood), repeat('x', 1000)
		FROM generate_series($from, $id) i";
}

# The transaction's pieces, and others' rows before, between and after them
sub in_pieces
{
	my ($what, $change, $schema) = @_;
	my $large = FloTest::Session->new($source);
	my $other = sub { $count++; $source->safe_psql('postgres', "INSERT INTO s.small VALUES ($count, 'ok', 'x')"); };

	$other->();
	$large->query('BEGIN');
	$large->query($change);
	$other->();
	for (1 .. 3)
	{
		$large->query(many($schema));
		$other->();
	}
	$large->query('COMMIT');
	is($large->{err}, '', "$what: done") or diag($large->{err});
	$large->close;
	return;
}

sub same
{
	my ($what, $schema) = @_;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, "$schema.$_", "$what: rows of $_ arrive") for qw(large small);
	return;
}

in_pieces('a label', "ALTER TYPE s.mood RENAME VALUE 'ok' TO 'fine'", 's');
same('a label', 's');
$source->safe_psql('postgres', "ALTER TYPE s.mood RENAME VALUE 'fine' TO 'ok'");

in_pieces('what is published', "ALTER PUBLICATION pgflo_g SET (publish = 'update, delete, truncate')", 's');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', "SELECT count(*) FROM s.large WHERE id > $rows * 3"), 0,
	'what is published: no row, as it is not in the transaction that says so');
$source->safe_psql('postgres', "ALTER PUBLICATION pgflo_g SET (publish = 'insert, update, delete, truncate')");
$source->safe_psql('postgres', "DELETE FROM s.large WHERE id > $rows * 3");
my ($written, $arrived) = map { $_->safe_psql('postgres', 'SELECT count(*) FROM s.small') } $source, $dest;
is($arrived, $written, 'what is published: all rows of others until then');

in_pieces('a schema', 'ALTER SCHEMA s RENAME TO t', 't');
same('a schema', 't');

is($source->safe_psql('postgres', q{SELECT last_error FROM flo.status WHERE last_error IS NOT NULL}), '', 'no error');

done_testing();
