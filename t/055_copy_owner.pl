
# Copies with sync_schema by owners that are no superusers: what they lack is
# named, nothing is lost meanwhile; and the options schema_owner and
# schema_privileges.

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

$source->safe_psql('postgres', q{
	CREATE ROLE seller LOGIN REPLICATION;
	CREATE ROLE clerk;
	GRANT USAGE ON SCHEMA flo TO seller; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO seller;
	GRANT CREATE ON DATABASE postgres TO seller;
	CREATE SCHEMA shop AUTHORIZATION seller;
	CREATE TABLE public.secret (id int PRIMARY KEY);
	REVOKE ALL ON public.secret FROM PUBLIC;
	SET ROLE seller;
	CREATE TYPE shop.kind AS ENUM ('a', 'b');
	CREATE SEQUENCE shop.numbers;
	CREATE TABLE shop.items (id bigint PRIMARY KEY DEFAULT nextval('shop.numbers'), kind shop.kind, name text UNIQUE);
	CREATE TABLE shop.orders (id serial PRIMARY KEY, item bigint REFERENCES shop.items);
	GRANT SELECT, INSERT ON shop.items TO clerk;
	ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON shop.orders FOR SELECT TO clerk USING (id > 10);
	INSERT INTO shop.items (kind, name) SELECT 'b', 'item ' || i FROM generate_series(1, 3000) i;
	INSERT INTO shop.orders (item) SELECT 1 + i % 3000 FROM generate_series(1, 5000) i;
});

# As the role; a session that writes all the time
sub as { my ($node, $role, $sql) = @_; return $node->safe_psql('postgres', "SET ROLE $role; $sql"); }
my $writes = 0;
sub write_some
{
	$writes++;
	as($source, 'seller', "INSERT INTO shop.items (kind, name) VALUES ('a', 'new $writes');
		INSERT INTO shop.orders (item) SELECT max(id) FROM shop.items;
		UPDATE shop.items SET kind = 'a' WHERE id = $writes");
}

sub begin
{
	my ($group, $options, $worker_owner) = @_;
	my $trust = $options =~ /schema_/ ? 'source' : 'object';		# owners and privileges are held otherwise
	as($source, 'seller',
		"SELECT flo.create_replicator('$group', schemas => '{shop}', mode => 'copy_and_stream', copy_workers => 2,
		sync_schema => true, options => '$options'); SELECT flo.start_group('$group')");
	as($dest, $worker_owner, "SELECT flo.create_worker('$group', options => '{\"ddl_trust\": \"$trust\"}');
		SELECT flo.start_group('$group')");
}

sub same
{
	my ($group, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_state($dest, $group, 'postgres', 'streaming');
	wait_state($source, $group, 'replicator', 'streaming');
	write_some();
	wait_caught_up($source, $dest, $group);
	is_same_table($source, $dest, $_, "$name: $_") for qw(shop.items shop.orders);
}

sub refused
{
	my ($group, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_until($dest, 'postgres', "SELECT last_error ~ '$pattern' FROM flo.status WHERE group_name = '$group'", $name);
	like(status_of($dest, $group, 'postgres', 'last_error'), qr/$pattern/, $name);
	write_some();
}

sub finish
{
	my ($group) = @_;
	$dest->safe_psql('postgres', "SELECT flo.drop_group('$group'); DROP SCHEMA IF EXISTS shop CASCADE");
	$source->safe_psql('postgres', "SELECT flo.drop_group('$group', purge_stream => true)");
}

# --- a worker's owner with too few rights -------------------------------------------------

$dest->safe_psql('postgres', q{CREATE ROLE keeper; GRANT USAGE ON SCHEMA flo TO keeper;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO keeper});
begin('g', '{}', 'keeper');
refused('g', 'permission denied for database postgres.*sync_schema of schema shop',
	'an owner that may not create the schema is told');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'shop'}), '0',
	'nothing is half made');
$dest->safe_psql('postgres', 'GRANT CREATE ON DATABASE postgres TO keeper');
same('g', 'owners that are no superusers');
is($dest->safe_psql('postgres', q{SELECT DISTINCT relowner::regrole FROM pg_class
	WHERE relnamespace = 'shop'::regnamespace}), 'keeper', 'what is made belongs to the worker\'s owner');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relname = 'secret'}), '0',
	'tables of others are left alone');
is($dest->safe_psql('postgres', q{SELECT has_table_privilege('keeper', 'shop.items', 'SELECT'), relacl FROM pg_class
	WHERE oid = 'shop.items'::regclass}), 't|', 'no privileges come along');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_policy
	WHERE polrelid = ANY (ARRAY['shop.orders'::regclass, 'shop.items'])}), '0', 'and no policies');
finish('g');

# A schema that is there and belongs to somebody else
$dest->safe_psql('postgres', 'CREATE SCHEMA shop');
begin('h', '{}', 'keeper');
refused('h', 'permission denied for schema shop.*sync_schema of', 'an owner that may not create in the schema is told');
$dest->safe_psql('postgres', 'GRANT ALL ON SCHEMA shop TO keeper');
same('h', 'a schema of somebody else');
finish('h');

# --- schema_owner, schema_privileges -------------------------------------------------------

# roles that are missing at the destination
begin('o', '{"schema_owner": true, "schema_privileges": true}', 'postgres');
refused('o', 'role "seller" does not exist', 'schema_owner: a missing role is named');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'shop'}), '0',
	'nothing is half made');
$dest->safe_psql('postgres', 'CREATE ROLE seller');
same('o', 'owners and privileges');
is($dest->safe_psql('postgres', q{SELECT string_agg(DISTINCT object || ': ' || error, ', ')
	FROM flo.copied_objects WHERE action = 'left out'}),
	'ACL TABLE "items": role "clerk" does not exist, policy p on table shop.orders: role "clerk" does not exist',
	'schema_privileges: what is left out for a missing role is named');
$dest->safe_psql('postgres', 'CREATE ROLE clerk');
$dest->safe_psql('postgres', $dest->safe_psql('postgres',
	q{SELECT string_agg(command, ' ' ORDER BY ordinal) FROM flo.copied_objects
	WHERE action = 'left out'}));
my $rights = q{SELECT relname, relowner::regrole, relacl, relrowsecurity FROM pg_class
	WHERE relnamespace = 'shop'::regnamespace ORDER BY 1};
is($dest->safe_psql('postgres', $rights), $source->safe_psql('postgres', $rights), 'are as at the source');
my $policies = q{SELECT polname, polrelid::regclass, polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid)
	FROM pg_policy WHERE polrelid = 'shop.orders'::regclass};
is($dest->safe_psql('postgres', $policies), $source->safe_psql('postgres', $policies), 'policies, too');
is($dest->safe_psql('postgres', q{SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'shop'}), 'seller',
	'the schema as well');
finish('o');

# an owner that may not give things away
begin('w', '{"schema_owner": true}', 'keeper');
refused('w', 'must be .*"?seller', 'schema_owner by a worker that is no member of the role');
$dest->safe_psql('postgres', 'GRANT seller TO keeper; GRANT CREATE ON DATABASE postgres TO seller');
same('w', 'a member of the owning role');
is($dest->safe_psql('postgres', q{SELECT DISTINCT relowner::regrole FROM pg_class
	WHERE relnamespace = 'shop'::regnamespace}), 'seller', 'gives them away');
is($dest->safe_psql('postgres', q{SELECT relacl IS NULL FROM pg_class WHERE oid = 'shop.items'::regclass}), 't',
	'without privileges');
finish('w');

$_->stop('fast') for $source, $dest;
done_testing();
