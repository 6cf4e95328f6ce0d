
# Tables that a worker's owner has no rights on: emptying them before a copy, or
# beside a table that is truncated, takes the same rights as a row of them.

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

sub mallory { my ($node, $sql) = @_; return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION mallory; $sql"); }

my $both = q{
	CREATE ROLE mallory LOGIN REPLICATION;
	CREATE ROLE bob;
	GRANT CREATE ON DATABASE postgres TO mallory;
	GRANT USAGE ON SCHEMA flo TO mallory; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO mallory;
	GRANT INSERT, UPDATE, DELETE ON flo.rules, flo.routes TO mallory;
	GRANT USAGE ON SEQUENCE flo.rules_id_seq, flo.routes_id_seq TO mallory;
	CREATE SCHEMA hers AUTHORIZATION mallory;
	CREATE TABLE hers.t (id int PRIMARY KEY);
	CREATE TABLE hers.parent (id int PRIMARY KEY);
	ALTER TABLE hers.t OWNER TO mallory; ALTER TABLE hers.parent OWNER TO mallory;
};
$source->safe_psql('postgres', $both . 'INSERT INTO hers.t SELECT generate_series(1, 10)');
$dest->safe_psql('postgres', $both . q{
	CREATE SCHEMA bob AUTHORIZATION bob;
	CREATE TABLE bob.precious (id int PRIMARY KEY);
	CREATE TABLE bob.child (id int REFERENCES bob.precious);
	CREATE TABLE bob.refers (id int REFERENCES hers.parent);
	INSERT INTO bob.precious SELECT generate_series(1, 5);
	ALTER TABLE bob.precious OWNER TO bob; ALTER TABLE bob.child OWNER TO bob; ALTER TABLE bob.refers OWNER TO bob;
	GRANT USAGE ON SCHEMA bob TO mallory;
});

sub count { my ($table) = @_; return $dest->safe_psql('postgres', "SELECT count(*) FROM $table"); }

# It goes on, or says why not
sub error_or_on
{
	my ($what) = @_;
	wait_until($dest, 'postgres', q{SELECT state = 'streaming' OR last_error IS NOT NULL FROM flo.status}, $what);
	return status_of($dest, 'g', 'postgres', 'last_error');
}

# --- a copy of which no row is left ---------------------------------------------------------------

sub copy
{
	my ($options) = @_;
	mallory($source, q{SELECT flo.create_replicator('g', tables => '{hers.t}', mode => 'copy_and_stream');
		SELECT flo.start_group('g')});
	mallory($dest, qq{BEGIN; SELECT flo.create_worker('g', options => '{"copy_into": "truncate"$options}');
		INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table)
			VALUES ('g', 'hers', 't', 'bob', 'precious');
		INSERT INTO flo.rules (group_name, schema_name, table_name, action, arguments)
			VALUES ('g', 'hers', 't', 'where', '{"expression": "id > 1000"}');
		COMMIT; SELECT flo.start_group('g')});
}

sub drop
{
	$dest->safe_psql('postgres', q{SELECT flo.drop_group('g'); DELETE FROM flo.rules; DELETE FROM flo.routes});
	$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
}

copy('');
like(error_or_on('the copy'), qr/role "mallory" must not apply changes to table "bob.precious" as its owner "bob"/,
	'another owner\'s table is not emptied');
is(count('bob.precious'), '5', 'its rows are there');
drop();

$dest->safe_psql('postgres', 'GRANT SELECT, INSERT ON bob.precious TO mallory');
copy(', "run_as_owner": true');
like(error_or_on('the copy'), qr/permission denied for table precious/, 'nor where only INSERT was granted');
is(count('bob.precious'), '5', 'its rows are there');
$dest->safe_psql('postgres', 'GRANT DELETE ON bob.precious TO mallory');
ok(wait_until($dest, 'postgres', q{SELECT count(*) = 0 FROM bob.precious}, 'the rows to go'), 'with DELETE it is');
drop();
$dest->safe_psql('postgres', 'REVOKE ALL ON bob.precious FROM mallory');

# --- a table that is given up, and refers to one that is truncated --------------------------------

mallory($source, q{SELECT flo.create_replicator('g', tables => '{hers.parent}'); SELECT flo.start_group('g')});
mallory($dest, q{SELECT flo.create_worker('g'); SELECT flo.start_group('g')});
wait_state($dest, 'g', 'postgres', 'streaming');
mallory($source, 'INSERT INTO hers.parent VALUES (1)');
wait_caught_up($source, $dest, 'g');
$dest->safe_psql('postgres', 'INSERT INTO bob.refers VALUES (1)');
mallory($dest, q{SELECT flo.give_up('g', 'bob.refers')});
wait_state($dest, 'g', 'postgres', 'streaming');
mallory($source, 'TRUNCATE hers.parent');
like(error_or_on('TRUNCATE'), qr/cannot truncate a table referenced in a foreign key constraint/,
	'another owner\'s table is not emptied beside one that is truncated');
is(count('bob.refers'), '1', 'its row is there');
$dest->safe_psql('postgres', 'GRANT bob TO mallory');
ok(wait_until($dest, 'postgres', q{SELECT count(*) = 0 FROM bob.refers}, 'the row to go'),
	'that of a role which the worker\'s owner could become is');

done_testing();
