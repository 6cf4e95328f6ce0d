# Constraints, conflicts, triggers, policies: what a destination's own rules
# make of the changes, in every value of the worker's options.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloMatrix;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\nmax_replication_slots = 20\nmax_worker_processes = "
	  . "40\nmax_wal_senders = 0\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $m = FloMatrix->new($source, $dest, 'g');

# A database of its own with a group of the same name, for a worker with other options
sub matrix_of
{
	my ($name, $options, %param) = @_;
	$_->safe_psql('postgres', "CREATE DATABASE $name") for $source, $dest;
	$_->safe_psql($name, 'CREATE EXTENSION pg_flo') for $source, $dest;
	return FloMatrix->new($source, $dest, $name, source_db => $name, dest_db => $name, worker_options => "'$options'",
		%param);
}

# --- foreign keys and unique constraints ------------------------------------------------------

my $fk = q{CREATE TABLE p (id int PRIMARY KEY, v text);
	CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE);
	CREATE TABLE d (id int PRIMARY KEY, d int REFERENCES d DEFERRABLE INITIALLY DEFERRED,
		p int REFERENCES p ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED)};
my @fk = (
	q{INSERT INTO p SELECT i, 'x' FROM generate_series(1, 20) i;
		INSERT INTO c SELECT i, i FROM generate_series(1, 20) i;
		INSERT INTO d SELECT i, 21 - i, i FROM generate_series(1, 20) i},
	q{BEGIN; INSERT INTO d VALUES (100, 101, 100); INSERT INTO d VALUES (101, 100, NULL);
		INSERT INTO p VALUES (100, 'later'); COMMIT},
	q{UPDATE p SET id = id + 1000 WHERE id IN (5, 6) AND NOT EXISTS (SELECT FROM d WHERE d.p = p.id);
		UPDATE p SET v = 'y'},
	q{BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE d SET id = id + 500; UPDATE d SET d = d + 500; COMMIT},
	q{DELETE FROM p WHERE id < 4}, q{TRUNCATE p CASCADE; INSERT INTO p VALUES (1, 'again');
		INSERT INTO c VALUES (1, 1)});
$m->case('foreign keys', ddl => $fk, tables => [qw(p c d)], steps => [@fk]);
my $unique = q{CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v int);
	CREATE TABLE d (id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED);
	CREATE TABLE k (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, n int NOT NULL UNIQUE, v int);
	ALTER TABLE k REPLICA IDENTITY USING INDEX k_n_key;
	CREATE TABLE f (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);
	ALTER TABLE f REPLICA IDENTITY FULL};
my @unique = (
	q{INSERT INTO t SELECT i, i, 0 FROM generate_series(1, 10) i;
		INSERT INTO d SELECT i, i FROM generate_series(1, 10) i;
		INSERT INTO k SELECT i, i, 0 FROM generate_series(1, 10) i;
		INSERT INTO f SELECT i, i FROM generate_series(1, 10) i; UPDATE f SET id = 11 - id},
	q{BEGIN; UPDATE t SET u = NULL WHERE id = 1; UPDATE t SET u = 1 WHERE id = 2; UPDATE t SET u = 2 WHERE id = 1;
		COMMIT},
	q{UPDATE t SET u = -3 WHERE id = 3; UPDATE t SET u = 3 WHERE id = 4; UPDATE t SET u = 4 WHERE id = 3},
	q{BEGIN; DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (50, 5, 0); UPDATE t SET u = 60 WHERE id = 6;
		INSERT INTO t VALUES (61, 6, 0); COMMIT},
	q{DELETE FROM t WHERE id = 7; INSERT INTO t VALUES (70, 7, 0); UPDATE t SET id = 7 WHERE id = 70});
$m->case('unique, swapped', ddl => $unique, tables => [qw(t d k f)], steps => [@unique]);
$m->case('exclusion and partial unique',
	ddl => q{CREATE TABLE t (id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&));
		CREATE TABLE u (id int PRIMARY KEY, a int, b bool); CREATE UNIQUE INDEX ON u (a) WHERE b;
		CREATE UNIQUE INDEX ON u ((a * 10 + id));
		CREATE TABLE n (id int PRIMARY KEY, a int CHECK (a > 0), b int, CHECK (b > a))},
	tables => [qw(t u n)],
	steps => [ q{INSERT INTO t VALUES (1, '[1,5)'), (2, '[5,9)');
		INSERT INTO u VALUES (1, 1, true), (2, 1, false), (3, 2, true); INSERT INTO n VALUES (1, 1, 2)},
		q{BEGIN; UPDATE t SET r = 'empty' WHERE id = 1; UPDATE t SET r = '[1,5)' WHERE id = 2;
			UPDATE t SET r = '[5,9)' WHERE id = 1; COMMIT;
			UPDATE u SET b = false WHERE id = 1; UPDATE u SET b = true WHERE id = 2; UPDATE n SET a = 5, b = 6},
			q{DELETE FROM t WHERE id = 1; DELETE FROM u WHERE b} ]);
$m->case('triggers and rules there',
	ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)',
	dest => q{CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''fired''; END';
		CREATE TRIGGER x BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION f();
		CREATE TRIGGER y AFTER TRUNCATE ON t EXECUTE FUNCTION f(); CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING;
		CREATE RULE s AS ON INSERT TO t DO INSTEAD NOTHING;
		CREATE TABLE seen (who text); CREATE FUNCTION a() RETURNS trigger LANGUAGE plpgsql
			AS 'BEGIN INSERT INTO "triggers and rules there".seen VALUES (TG_OP); RETURN NULL; END';
		CREATE TRIGGER z AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION a(); ALTER TABLE t ENABLE ALWAYS TRIGGER z},
	steps => [ q{INSERT INTO t VALUES (1, 'a'), (2, 'b')}, q{UPDATE t SET v = 'x'}, 'DELETE FROM t WHERE id = 1',
		'TRUNCATE t' ],
	after => 'SELECT count(*) = 2 FROM seen', note => 'only ENABLE ALWAYS and ENABLE REPLICA triggers fire');
$m->case('owners, restricted',
	ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)',
	dest => q{CREATE ROLE alice; GRANT USAGE ON SCHEMA "owners, restricted" TO alice; ALTER TABLE t OWNER TO alice;
		CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC;
		CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql
			AS 'BEGIN INSERT INTO "owners, restricted".seen VALUES (current_user || current_setting(''work_mem''));
			PERFORM set_config(''work_mem'', ''77MB'', false); RETURN NEW; END';
		CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t ENABLE ALWAYS TRIGGER x;
		ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON t USING (false)},
	steps => [ q{INSERT INTO t VALUES (1, 'a'), (2, 'b')}, q{UPDATE t SET v = 'x'}, 'DELETE FROM t WHERE id = 1',
		'TRUNCATE t' ],
	after => q{SELECT bool_and(who = 'alice4MB') FROM seen},
	note => 'applied as the owner; the owner bypasses the policies of its own table');
$m->run;

$m->refused('a unique value taken there', ddl => 'CREATE TABLE t (id int PRIMARY KEY, u int)',
	dest => 'ALTER TABLE t ADD UNIQUE (u); INSERT INTO t VALUES (99, 1)',
	change => 'INSERT INTO t VALUES (1, 1)',
	error => qr/duplicate key value violates unique constraint "t_u_key": Key \(u\)=\(1\) already exists/,
	fix => 'DELETE FROM t WHERE id = 99');
$m->refused('exclusion there', ddl => 'CREATE TABLE t (id int PRIMARY KEY, r int4range)',
	dest => q{ALTER TABLE t ADD EXCLUDE USING gist (r WITH &&); INSERT INTO t VALUES (99, '[1,9)')},
	change => q{INSERT INTO t VALUES (1, '[2,3)')}, error => qr/conflicting key value violates exclusion constraint/,
	fix => 'DELETE FROM t WHERE id = 99');
$m->refused('a foreign key only there, TRUNCATE', ddl => 'CREATE TABLE t (id int PRIMARY KEY)',
	dest => 'CREATE TABLE c (id int REFERENCES t)',
	change => 'INSERT INTO t VALUES (1); TRUNCATE t',
	error => qr/cannot truncate a table referenced in a foreign key constraint/, fix => 'DROP TABLE c');
$m->refused('forced RLS', ddl => 'CREATE TABLE t (id int PRIMARY KEY)',
	dest => q{GRANT USAGE ON SCHEMA "forced RLS" TO alice; ALTER TABLE t OWNER TO alice;
	ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY},
	change => 'INSERT INTO t VALUES (1)',
	error => qr/role "alice" cannot apply changes to table "forced RLS\.t", whose row-level security applies to it/,
	fix => 'ALTER TABLE t NO FORCE ROW LEVEL SECURITY');
$m->refused('owner without privilege', ddl => 'CREATE TABLE t (id int PRIMARY KEY)',
	dest => q{GRANT USAGE ON SCHEMA "owner without privilege" TO alice; ALTER TABLE t OWNER TO alice;
	REVOKE INSERT ON t FROM alice},
	change => 'INSERT INTO t VALUES (1)', error => qr/permission denied for table t/,
	fix => 'GRANT INSERT ON t TO alice');
$m->refused('owner outside its schema', ddl => 'CREATE TABLE t (id int PRIMARY KEY)',
	dest => q{ALTER TABLE t OWNER TO alice},
	change => 'INSERT INTO t VALUES (1)', error => qr/permission denied for schema owner outside its schema/,
	fix => 'GRANT USAGE ON SCHEMA "owner outside its schema" TO alice');
$m->refused('trigger that takes over', ddl => 'CREATE TABLE t (id int PRIMARY KEY)',
	dest => q{GRANT USAGE ON SCHEMA "trigger that takes over" TO alice; ALTER TABLE t OWNER TO alice;
		CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN SET ROLE postgres; RETURN NEW; END';
		CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t ENABLE ALWAYS TRIGGER x},
	change => 'INSERT INTO t VALUES (1)', error => qr/cannot set parameter "role" within security-restricted operation/,
	fix => 'DROP TRIGGER x ON t');

# --- on_conflict, on_missing ----------------------------------------------------------------------

for my $policy (qw(update skip error))
{
	my $c = matrix_of("conflict_$policy", qq({"on_conflict": "$policy"}));
	my %case = (ddl => q{CREATE TABLE t (id int PRIMARY KEY, v text, n int);
		CREATE TABLE d (id int PRIMARY KEY, v text); CREATE TABLE o (id int PRIMARY KEY)}, tables => [qw(t d o)],
		dest => q{INSERT INTO t VALUES (1, 'local', 9), (2, 'local', 9);
			ALTER TABLE d DROP CONSTRAINT d_pkey, ADD PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED;
			INSERT INTO d VALUES (1, 'local'); INSERT INTO o VALUES (1)});
	if ($policy eq 'error')
	{
		$c->refused('on_conflict error', %case, change => q{INSERT INTO t VALUES (1, 'source', NULL)},
			error => qr/duplicate key value violates unique constraint "t_pkey"/,
			fix => 'DELETE FROM t; DELETE FROM d; DELETE FROM o');
		$c->refused('on_conflict error, deferrable key', %case, change => q{INSERT INTO d VALUES (1, 'source')},
			error => qr/a row with this key exists in table/, fix => 'DELETE FROM t; DELETE FROM d; DELETE FROM o');
	}
	else
	{
		my $change = q{INSERT INTO t VALUES (1, 'source', NULL), (2, NULL, 1), (3, 'source', 1);
			INSERT INTO d VALUES (1, 'source'); INSERT INTO o VALUES (1), (2)};
		if ($policy eq 'skip')
		{
			$case{tables} = [ 'SELECT id FROM "on_conflict skip".t', 'SELECT id FROM "on_conflict skip".d' ];
			$case{after} = q{SELECT count(*) FILTER (WHERE v = 'local') = 2 AND count(*) = 3 FROM t};
		}
		$c->case("on_conflict $policy", %case, steps => [$change],
			note => $policy eq 'skip' ? "the destination's row stays, counted in conflicts" : 'counted in conflicts');
		$c->run;
		is(status_of($dest, "conflict_$policy", 'postgres', 'conflicts', "conflict_$policy"), 4,
			"on_conflict $policy: counted");
	}
	push @{ $m->{lines} }, @{ $c->{lines} };
}
for my $policy (qw(insert skip error))
{
	my $c = matrix_of("missing${policy}", qq({"on_missing": "$policy"}));
	my %case = (name => "on_missing $policy",
		ddl => q{CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE f (id int, v text);
		ALTER TABLE f REPLICA IDENTITY FULL}, tables => [qw(t f)], exists => 1);
	$c->create(\%case);
	$c->start;
	$source->safe_psql("missing${policy}", qq{INSERT INTO "on_missing $policy".t VALUES (1, 'a'), (2, 'b'), (3, 'c');
		INSERT INTO "on_missing $policy".f VALUES (1, 'a'), (2, 'b')});
	$c->wait;
	$dest->safe_psql("missing${policy}", qq{DELETE FROM "on_missing $policy".t; DELETE FROM "on_missing $policy".f});
	my $change = q{UPDATE t SET v = 'x' WHERE id = 1; UPDATE t SET id = 20 WHERE id = 2;
		UPDATE f SET v = 'x' WHERE id = 1; DELETE FROM f WHERE id = 2; DELETE FROM t WHERE id = 3};
	if ($policy eq 'error')
	{
		$c->refused($case{name}, %case, change => 'DELETE FROM t WHERE id = 3; UPDATE t SET id = 20 WHERE id = 2',
			error => qr/the row to update is missing in table/,
			fix => q{INSERT INTO t VALUES (1, 'a'), (2, 'b'); INSERT INTO f VALUES (1, 'a'), (2, 'b')});
	}
	else
	{
		$source->safe_psql("missing${policy}", qq{SET search_path = "on_missing $policy"; $change});
		$c->wait;
		if ($policy eq 'insert') { $c->compare('UPDATE and DELETE of missing rows', \%case); }
		else {
			is($dest->safe_psql("missing${policy}",
			qq{SELECT count(*) FROM (SELECT * FROM "on_missing skip".t UNION ALL SELECT * FROM "on_missing skip".f) x}),
			'0', 'on_missing skip: nothing appears'); }
		is(status_of($dest, "missing${policy}", 'postgres', 'conflicts', "missing${policy}"), 5,
			"on_missing $policy: counted");
		$c->line("on_missing $policy", $policy eq 'insert' ? 'exact' : 'skipped', 'counted in conflicts');
	}
	push @{ $m->{lines} }, @{ $c->{lines} };
}

# --- fire_triggers --------------------------------------------------------------------------------

{
	my $c = matrix_of('fire', '{"fire_triggers": true}');
	# cascades at the destination find their rows gone or changed when the source's own arrive
	$c->case('fire_triggers, foreign keys', ddl => $fk, tables => [qw(p c d)], steps => [@fk]);
	$c->case('fire_triggers, unique', ddl => $unique, tables => [qw(t d k f)], steps => [@unique]);
	$c->case('fire_triggers', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)',
		dest => q{CREATE TABLE seen (what text);
			CREATE FUNCTION a() RETURNS trigger LANGUAGE plpgsql
			AS 'BEGIN INSERT INTO fire_triggers.seen VALUES (TG_OP || TG_LEVEL); RETURN NULL; END';
			CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION a();
			CREATE TRIGGER b AFTER TRUNCATE ON t EXECUTE FUNCTION a();
			CREATE TRIGGER c AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION a();
			ALTER TABLE t ENABLE REPLICA TRIGGER c;
			CREATE FUNCTION s() RETURNS trigger LANGUAGE plpgsql
				AS 'BEGIN IF NEW.id = 13 THEN RETURN NULL; END IF; RETURN NEW; END';
			CREATE TRIGGER s BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION s()},
		tables => [ 'SELECT * FROM fire_triggers.t WHERE id <> 13' ],
		steps => [ q{INSERT INTO t VALUES (1, 'a'), (2, 'b'), (13, 'suppressed')},
			q{UPDATE t SET v = 'x' WHERE id <> 13}, 'DELETE FROM t WHERE id = 1', 'TRUNCATE t' ],
		after => q{SELECT string_agg(what, ',' ORDER BY what)
			= 'DELETEROW,INSERTROW,INSERTROW,TRUNCATESTATEMENT,UPDATEROW,UPDATEROW' FROM seen});
	$c->run;
	$c->refused('fire_triggers, a foreign key there', ddl => 'CREATE TABLE t (id int PRIMARY KEY, p int)',
		dest => 'CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE t ADD FOREIGN KEY (p) REFERENCES p',
		change => 'INSERT INTO t VALUES (1, 1)', error => qr/violates foreign key constraint "t_p_fkey"/,
		fix => 'INSERT INTO p VALUES (1)');
	$c->refused('fire_triggers, a deferred key there', ddl => 'CREATE TABLE t (id int PRIMARY KEY, p int)',
		dest => 'CREATE TABLE p (id int PRIMARY KEY);
		ALTER TABLE t ADD FOREIGN KEY (p) REFERENCES p DEFERRABLE INITIALLY DEFERRED',
		change => 'INSERT INTO t VALUES (1, 1)',
		error => qr/violates foreign key constraint "t_p_fkey".*transaction at [0-9A-F]+\/[0-9A-F]+, COMMIT/,
		name_in_error => 't_p_fkey', fix => 'INSERT INTO p VALUES (1)');
	push @{ $m->{lines} }, @{ $c->{lines} };
}

# --- run_as_owner ---------------------------------------------------------------------------------

{
	$dest->safe_psql('postgres', 'CREATE ROLE carol LOGIN');
	my $c = matrix_of('as_owner', '{"run_as_owner": true}');
	$dest->safe_psql('as_owner', q{GRANT USAGE ON SCHEMA flo TO carol;
		GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO carol; GRANT CREATE ON DATABASE as_owner TO carol});
	$source->safe_psql('as_owner', q{SELECT flo.create_replicator('as_owner'); SELECT flo.start_group('as_owner')});
	my $error = error_of($dest,
		q{SET ROLE carol; SELECT flo.create_worker('as_owner', options => '{"run_as_owner": true}');
		SELECT flo.start_group('as_owner')}, 'as_owner');
	is($error, '', 'a role that is no superuser makes a worker');
	wait_state($dest, 'as_owner', 'postgres', 'streaming', 'as_owner');
	$c->{started} = 1;
	$c->case('run_as_owner', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)',
		dest => q{GRANT USAGE ON SCHEMA run_as_owner TO carol; ALTER TABLE t OWNER TO alice; GRANT ALL ON t TO carol;
			CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC;
			CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql
				AS 'BEGIN INSERT INTO run_as_owner.seen VALUES (current_user); RETURN NEW; END';
			CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
			ALTER TABLE t ENABLE ALWAYS TRIGGER x},
		steps => [ q{INSERT INTO t VALUES (1, 'a'), (2, 'b')}, q{UPDATE t SET v = 'x'}, 'DELETE FROM t WHERE id = 1',
			'TRUNCATE t' ],
		after => q{SELECT bool_and(who = 'carol') FROM seen}, note => "applied as the worker's owner");
	$c->run;
	$c->refused('run_as_owner, no privilege', ddl => 'CREATE TABLE t (id int PRIMARY KEY)',
		dest => 'GRANT USAGE ON SCHEMA "run_as_owner, no privilege" TO carol; GRANT SELECT ON t TO carol',
		change => 'INSERT INTO t VALUES (1)', error => qr/permission denied for table t/,
		fix => 'GRANT ALL ON t TO carol');
	$c->refused('run_as_owner, RLS', ddl => 'CREATE TABLE t (id int PRIMARY KEY)',
		dest => 'GRANT USAGE ON SCHEMA "run_as_owner, RLS" TO carol; GRANT ALL ON t TO carol;
		ALTER TABLE t ENABLE ROW LEVEL SECURITY',
		change => 'INSERT INTO t VALUES (1)',
		error => qr/role "carol" cannot apply changes to table .* row-level security applies to it/,
		fix_code => sub { $dest->safe_psql('postgres', 'ALTER ROLE carol BYPASSRLS') });
	# without the option: the worker's owner must be able to become the table's
	$dest->safe_psql('as_owner', q{SELECT flo.alter_worker('as_owner', 'postgres', '{"run_as_owner": false}')});
	$c->refused('owner of another role', ddl => 'CREATE TABLE t (id int PRIMARY KEY)',
		dest => 'GRANT USAGE ON SCHEMA "owner of another role" TO alice; ALTER TABLE t OWNER TO alice',
		change => 'INSERT INTO t VALUES (1)',
		error => qr/role "carol" must not apply changes to table ".*" as its owner "alice"/,
		fix => 'GRANT alice TO carol');
	push @{ $m->{lines} }, @{ $c->{lines} };
}

$m->finish;
$_->stop('fast') for $source, $dest;
done_testing();
