
# The way back of a cut-over is made as the group's owner, by a process that is a superuser.
# An administrator's event trigger calls code of that role for its own commands, as it may:
# what that puts off does not run as the process.

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

sub alice { my ($node, $sql) = @_; return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION alice; $sql"); }

for my $node ($source, $dest)
{
	$node->safe_psql('postgres', q{
		CREATE TABLE marker (who text); GRANT INSERT ON marker TO PUBLIC;
		CREATE ROLE alice LOGIN REPLICATION;
		GRANT CREATE ON DATABASE postgres TO alice;
		GRANT USAGE ON SCHEMA flo TO alice; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO alice;
		CREATE SCHEMA hers AUTHORIZATION alice;
		CREATE FUNCTION event() RETURNS event_trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF current_user = 'alice' AND to_regproc('hers.event') IS NOT NULL THEN PERFORM hers.event(); END IF;
		END $$;
		CREATE EVENT TRIGGER event ON ddl_command_end EXECUTE FUNCTION event();
		ALTER EVENT TRIGGER event ENABLE ALWAYS;
		SET SESSION AUTHORIZATION alice;
		CREATE TABLE hers.t (id int PRIMARY KEY, v text);
		CREATE FUNCTION hers.note() RETURNS int LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO public.marker VALUES (current_user);
			ALTER ROLE alice SUPERUSER;
			RETURN 1;
		EXCEPTION WHEN insufficient_privilege OR read_only_sql_transaction THEN RETURN 1; END $$;
		CREATE FUNCTION hers.noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM hers.note(); RETURN NULL; END';
		CREATE TABLE hers.put_off (id serial PRIMARY KEY);
		CREATE CONSTRAINT TRIGGER put_off AFTER INSERT ON hers.put_off DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION hers.noted();
		ALTER TABLE hers.put_off ENABLE ALWAYS TRIGGER put_off});
}
alice($source, q{SELECT flo.create_replicator('g', tables => '{hers.t}')});
start_member($source, 'g', 'replicator');
alice($dest, q{SELECT flo.create_worker('g', options => '{"allow_cutover": true}')});
start_member($dest, 'g', 'postgres');
alice($source, q{INSERT INTO hers.t VALUES (1, 'x')});
wait_caught_up($source, $dest, 'g');

my $cutover = q{SET SESSION AUTHORIZATION alice; SELECT * FROM flo.cutover('g', reverse => 'back')};
my %bodies = (
	hold => 'EXECUTE $q$DECLARE put_off CURSOR WITH HOLD FOR SELECT hers.note()$q$',
	defer => 'INSERT INTO hers.put_off DEFAULT VALUES');
for my $how (sort keys %bodies)
{
	alice($_, "CREATE OR REPLACE FUNCTION hers.event() RETURNS int LANGUAGE plpgsql AS
		\$\$ BEGIN $bodies{$how}; RETURN 1; END \$\$") for $source, $dest;
	my $error = error_of($source, $cutover);
	like($error, qr/security-restricted operation/, "$how: what it wants to put off is refused, and so the cut-over");
	my $refused = $error ne '';
	for my $node ($source, $dest)
	{
		my $name = $node->name;
		is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT who, ' ') FROM marker WHERE who <> 'alice'}), '',
			"$how, $name: nothing of it ran as a superuser");
		is($node->safe_psql('postgres', q{SELECT rolsuper FROM pg_roles WHERE rolname = 'alice'}), 'f',
			"$how, $name: who is none did not become one");
		$node->safe_psql('postgres', 'ALTER ROLE alice NOSUPERUSER; TRUNCATE marker');
	}
	last if !$refused;
	ok(wait_until($source, 'postgres', q{SELECT bool_and(state = 'cancelled') FROM flo.cutovers}, 'the attempt to end'),
		"$how: the attempt is undone");
}

alice($_, 'DROP FUNCTION hers.event()') for $source, $dest;
is(error_of($source, $cutover), '', 'without it, the owner cuts over');
alice($dest, q{INSERT INTO hers.t VALUES (2, 'y')});
wait_caught_up($dest, $source, 'back');
is_same_table($source, $dest, 'hers.t', 'and back');

done_testing();
