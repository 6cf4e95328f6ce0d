
# Code of users that is put off: a cursor that outlives its transaction, a deferred
# trigger.  It would run when the process commits, as whom the process is.  Who owns
# a worker, or writes a rule, and no more, tries to have it.

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
sub alice { my ($node, $sql) = @_; return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION alice; $sql"); }

my $both = q{
	CREATE ROLE alice LOGIN REPLICATION;
	GRANT CREATE ON DATABASE postgres TO alice;
	GRANT USAGE ON SCHEMA flo TO alice; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO alice;
	GRANT INSERT, UPDATE, DELETE ON flo.rules, flo.routes TO alice;
	GRANT USAGE ON SEQUENCE flo.rules_id_seq, flo.routes_id_seq TO alice;
	CREATE SCHEMA hers AUTHORIZATION alice;
	SET SESSION AUTHORIZATION alice;
	CREATE TABLE hers.t (id int PRIMARY KEY, v text);
	CREATE TABLE hers.altered (id int PRIMARY KEY, v text);
};
src($both . q{
	CREATE FUNCTION hers.hold() RETURNS int LANGUAGE sql AS 'SELECT 1';
	CREATE FUNCTION hers.defer() RETURNS int LANGUAGE sql AS 'SELECT 1';
});
dst(q{CREATE TABLE marker (who text); GRANT INSERT ON marker TO PUBLIC;} . $both . q{
	CREATE FUNCTION hers.note() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.marker VALUES (current_user);
		ALTER ROLE alice SUPERUSER;
		RETURN 1;
	EXCEPTION WHEN insufficient_privilege OR read_only_sql_transaction THEN RETURN 1; END $$;
	CREATE FUNCTION hers.hold() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN EXECUTE 'DECLARE put_off CURSOR WITH HOLD FOR SELECT hers.note()'; RETURN 1; END $$;
	CREATE FUNCTION hers.noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM hers.note(); RETURN NULL; END';
	CREATE TABLE hers.put_off (id serial PRIMARY KEY);
	CREATE CONSTRAINT TRIGGER put_off AFTER INSERT ON hers.put_off DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION hers.noted();
	ALTER TABLE hers.put_off ENABLE ALWAYS TRIGGER put_off;
	CREATE FUNCTION hers.defer() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO hers.put_off DEFAULT VALUES; RETURN 1; END $$;
	CREATE VIEW hers.holding AS SELECT hers.hold();
	CREATE VIEW hers.deferring AS SELECT hers.defer();
	CREATE DOMAIN hers.held AS int CHECK (VALUE > 0 AND hers.hold() = 1);
	CREATE FUNCTION hers.deep(i int) RETURNS bool STABLE LANGUAGE plpgsql AS 'BEGIN RETURN hers.hold() = 1; END';
});

sub unharmed
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(dst(q{SELECT concat_ws(', ', (SELECT 'superuser ' || string_agg(rolname, ' ') FROM pg_roles
		WHERE rolsuper AND rolname <> current_user), (SELECT 'ran as ' || string_agg(DISTINCT who, ' ') FROM marker
		WHERE who <> 'alice'))}), '', "$what: nothing of it ran as a superuser");
	dst('ALTER ROLE alice NOSUPERUSER; TRUNCATE marker');
}

# Of what is held, if it is still held at that moment
sub decide
{
	my ($what) = @_;
	$dest->psql('postgres', "SET SESSION AUTHORIZATION alice; SELECT flo.${what}_ddl(id) FROM flo.pending_ddl");
	return;
}

# What the worker says of it: it goes on, or fails and says why
sub settled
{
	my ($what, $lsn) = @_;
	ok(wait_until($dest, 'postgres', "SELECT coalesce(durable_lsn >= '$lsn', false) OR state = 'backoff'
		OR EXISTS (SELECT FROM flo.pending_ddl) FROM flo.status WHERE member = 'postgres'", $what),
		"$what has been tried");
}

alice($source, q{SELECT flo.create_replicator('g', schemas => '{hers}', track_ddl => true,
	options => '{"keyless_tables": "skip"}')});
start_member($source, 'g', 'replicator');
alice($dest, q{SELECT flo.create_worker('g', options => '{"ddl_trust": "source"}')});
start_member($dest, 'g', 'postgres');

# --- statements that run with the rights of the worker's owner -----------------------------------

alice($source, 'INSERT INTO hers.altered VALUES (0, 1)');
wait_caught_up($source, $dest, 'g');
for my $function (qw(hold defer))
{
	my %statements = (
		'a default' => "ALTER TABLE hers.altered ADD c_$function int DEFAULT hers.$function()",
		'a check' => "ALTER TABLE hers.altered ADD CONSTRAINT c_$function CHECK (hers.$function() = 1)",
		'a type' => "ALTER TABLE hers.altered ALTER v TYPE text USING v || hers.$function()");
	for my $what (sort keys %statements)
	{
		alice($source, $statements{$what});
		my $lsn = src('SELECT pg_current_wal_lsn()');
		settled("$what with $function()", $lsn);
		decide('release');
		ok(wait_until($dest, 'postgres', qq{SELECT last_error ~ 'within security-restricted operation'
			AND strpos(last_error, '$statements{$what}') > 0 FROM flo.status}, 'the error'),
			"$what with $function() is refused");
		unharmed("$what with $function()");
		# it may be held anew
		ok(await(
				sub {
					decide('skip');
					return dst("SELECT durable_lsn >= '$lsn' FROM flo.status WHERE member = 'postgres'") eq 't';
				},
				'the worker to go on'), 'and passed over');
	}
}

# --- code of a role that an administrator's event trigger calls for that role's own commands ------

dst(q{CREATE FUNCTION event() RETURNS event_trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF current_user = 'alice' THEN EXECUTE 'SELECT ' || current_setting('flo_test.event'); END IF;
	END $$;
	CREATE EVENT TRIGGER event ON ddl_command_end EXECUTE FUNCTION event();
	ALTER EVENT TRIGGER event ENABLE ALWAYS});
for my $function (qw(hold defer))
{
	dst("ALTER DATABASE postgres SET flo_test.event = 'hers.$function()'");
	my $pid = pid_of($dest, 'g', 'postgres');
	dst("SELECT pg_terminate_backend($pid)");
	wait_other_pid($dest, 'g', 'postgres', $pid);
	my %statements = (
		'a function' => "CREATE FUNCTION hers.made_$function() RETURNS int LANGUAGE sql AS 'SELECT 2'",
		'a function as a role' =>
		  "CREATE FUNCTION hers.made_as_$function() RETURNS int LANGUAGE sql SET role = alice AS 'SELECT 2'",
		'an altered function' => "ALTER FUNCTION hers.$function() COST 7",
		'an index' => "CREATE INDEX CONCURRENTLY made_$function ON hers.altered (id)");
	for my $what (sort keys %statements)
	{
		alice($source, $statements{$what});
		my $lsn = src('SELECT pg_current_wal_lsn()');
		settled("$what with $function()", $lsn);
		decide('release');
		ok(wait_until($dest, 'postgres', "SELECT coalesce(durable_lsn >= '$lsn', false) OR last_error IS NOT NULL
			FROM flo.status WHERE member = 'postgres'", $what), "$what with $function() was tried");
		# the last one's trigger has no snapshot to run SQL with
		like(dst('SELECT last_error FROM flo.status'),
			qr/leaves a deferred trigger or a cursor|security-restricted|without an outer snapshot/,
			"$what with $function() is refused");
		unharmed("$what with $function() in an event trigger");
		ok(await(
				sub {
					decide('skip');
					return dst("SELECT durable_lsn >= '$lsn' FROM flo.status WHERE member = 'postgres'") eq 't';
				},
				'the worker to go on'), 'and the worker goes on');
	}
}
dst('DROP EVENT TRIGGER event');

# --- rules ---------------------------------------------------------------------------------------

my @rules = (
	[ 'a function', 'hers.deep(id)' ],
	[ 'a view as XML', q{table_to_xml('hers.holding'::regclass, true, true, '') IS NOT NULL} ],
	[ 'a view as XML, deferred', q{table_to_xml('hers.deferring'::regclass, true, true, '') IS NOT NULL} ],
	[ 'a schema as XML', q{schema_to_xml('hers'::name, true, true, '') IS NOT NULL} ],
	$dest->pg_version >= 16 ? [ 'a domain by its name', q{pg_input_is_valid(id::text, 'hers.held')} ] : ());
my $id = 0;
for my $rule (@rules)
{
	my ($what, $expression) = @$rule;
	my $quoted = $expression =~ s/'/''/gr;

	alice($dest, qq{INSERT INTO flo.rules (group_name, schema_name, table_name, action, arguments)
		VALUES ('g', 'hers', 't', 'where', jsonb_build_object('expression', '$quoted'))});
	$id++;
	alice($source, "INSERT INTO hers.t VALUES ($id, 'x')");
	settled($what, src('SELECT pg_current_wal_lsn()'));
	unharmed("a rule with $what");
	alice($dest, q{DELETE FROM flo.rules});
	wait_caught_up($source, $dest, 'g');
}

done_testing();
