# Every statement that the server knows has a word in flo.statement_classes() and
# in doc/ddl.md, and one example of each comes true in a group over everything.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "allow_in_place_tablespaces = on\n");
my $dest = flo_node('dest', $nats);

# --- the list is the grammar's ------------------------------------------------------------------

my %word = map { split /\|/ } split /\n/, $source->safe_psql('postgres',
	'SELECT name, fate FROM flo.statement_classes()');
my ($headers) = run_command([ $ENV{PG_CONFIG} || 'pg_config', '--includedir-server' ]);
my %query = map { $_ => 1 } qw(RawStmt InsertStmt DeleteStmt UpdateStmt MergeStmt SelectStmt SetOperationStmt ReturnStmt
	PLAssignStmt ReplicaIdentityStmt);
my %parts = (ReplicaIdentityStmt => 1);
my @known = grep { !$query{$_} } slurp_file("$headers/nodes/parsenodes.h") =~ /^typedef struct (\w+Stmt)$/mg;
is_deeply([ sort keys %word ], [ sort @known ], 'every statement of the server has a word');
my $doc = slurp_file("$FindBin::Bin/../doc/ddl.md");
is_deeply([ grep { index($doc, $_) < 0 } split /\n/,
	$source->safe_psql('postgres', q{SELECT format('| `%s` | %s | %s |', commands, fate, remark)
	FROM flo.statement_classes()}) ],
	[], 'and doc/ddl.md says the same');

# --- one example of each --------------------------------------------------------------------------

$_->safe_psql('postgres', 'CREATE ROLE joe; CREATE SCHEMA s AUTHORIZATION joe; CREATE SCHEMA s2 AUTHORIZATION joe')
  for $source, $dest;
$source->safe_psql('postgres',
	q{SELECT flo.create_replicator('g', track_ddl => true, options
	=> '{"schema_owner": true, "schema_privileges": true, "keyless_tables": "full"}')});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')});
start_member($dest, 'g', 'postgres');

# Whoever is asked says yes; %held collects what was asked
my %held;
sub arrives
{
	my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
	my $until = time() + $FloTest::timeout;
	while ($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn', '0.3 s')") ne 't' && time() < $until)
	{
		$held{$_} = 1 for split /\n/, $dest->safe_psql('postgres',
			q{SELECT command FROM (SELECT id, command FROM flo.pending_ddl WHERE decision IS NULL) p,
			LATERAL flo.release_ddl(p.id)});
	}
	is($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn')"), 't', $_[0])
	  or diag(status_of($dest, 'g', 'postgres', 'state || detail || last_error'));
}

$source->safe_psql('postgres', q{
	CREATE TABLE s.t (id int PRIMARY KEY, v int, w text); CREATE TABLE s.u (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE s.u1 PARTITION OF s.u FOR VALUES FROM (0) TO (10);
	CREATE TABLE s.k (id int NOT NULL) PARTITION BY RANGE (id);
	CREATE FUNCTION s.trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
	CREATE FUNCTION s.eq(s.t, s.t) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1.id = $2.id';
	CREATE TYPE s.e AS ENUM ('a'); CREATE DOMAIN s.d AS int; CREATE VIEW s.v AS SELECT 1 AS one;
	CREATE MATERIALIZED VIEW s.m AS SELECT id FROM s.t; CREATE POLICY p ON s.t;
	CREATE STATISTICS s.st ON id, v FROM s.t; CREATE SEQUENCE s.q;
	CREATE OPERATOR s.=== (LEFTARG = s.t, RIGHTARG = s.t, FUNCTION = s.eq);
	CREATE FOREIGN DATA WRAPPER w0; CREATE SERVER s0 FOREIGN DATA WRAPPER w0;
	CREATE FOREIGN TABLE s.ft (a int, id int NOT NULL) SERVER s0; CREATE FOREIGN TABLE s.fp (id int NOT NULL) SERVER s0;
	CREATE TEXT SEARCH DICTIONARY s.td (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION s.tc (COPY = simple);
	CREATE COLLATION s.co0 (LOCALE = 'C')});
arrives('what the examples need arrived');

# By their names in the grammar of 19, too, which has one more
my $cluster = $word{RepackStmt} ? 'RepackStmt' : 'ClusterStmt';
my @newer = $word{WaitStmt} ? ([ WaitStmt => q{WAIT FOR LSN '0/1' WITH (MODE 'primary_flush')} ]) : ();

# Class, statement, and what has to be there for it
my @examples = (@newer,
	[ CreateStmt => 'CREATE TABLE s.n (id int PRIMARY KEY)' ],
	[ CreateTableAsStmt => 'CREATE TABLE s.cta AS SELECT 1 AS id' ],
	[ CreateTableAsStmt => 'CREATE MATERIALIZED VIEW s.m2 AS SELECT id FROM s.t' ],
	[ AlterTableStmt => 'ALTER TABLE s.t ADD x int' ],
	[ IndexStmt => 'CREATE INDEX i ON s.t (v)' ], [ AlterTableStmt => 'ALTER INDEX s.i SET (fillfactor = 70)' ],
	[ RenameStmt => 'ALTER INDEX s.i RENAME TO i2' ],
	[ AlterObjectSchemaStmt => 'ALTER TYPE s.e2 SET SCHEMA s2', 'CREATE TYPE s.e2 AS ENUM ()' ],
	[ CommentStmt => q{COMMENT ON TABLE s.t IS 'x'} ],
	[ CreateStatsStmt => 'CREATE STATISTICS s.st2 ON id, w FROM s.t' ],
	[ AlterStatsStmt => 'ALTER STATISTICS s.st SET STATISTICS 5' ],
	[ CreateSeqStmt => 'CREATE SEQUENCE s.q2' ], [ AlterSeqStmt => 'ALTER SEQUENCE s.q INCREMENT 5' ],
	[ CompositeTypeStmt => 'CREATE TYPE s.c AS (a int)' ],
	[ CreateSchemaStmt => 'CREATE SCHEMA s3' ], [ CreateEnumStmt => q{CREATE TYPE s.e3 AS ENUM ('a')} ],
	[ AlterEnumStmt => q{ALTER TYPE s.e ADD VALUE 'b'} ],
	[ CreateRangeStmt => 'CREATE TYPE s.r AS RANGE (SUBTYPE = int)' ],
	[ CreateDomainStmt => 'CREATE DOMAIN s.d2 AS int' ],
	# in the way are array types, which the server moves
	[ CreateEnumStmt => q{CREATE TYPE s._c AS ENUM ('a')} ], [ CreateDomainStmt => 'CREATE DOMAIN s._e3 AS int' ],
	[ CompositeTypeStmt => 'CREATE TYPE s._d2 AS (a int)' ], [ CreateStmt => 'CREATE TABLE s._u (id int PRIMARY KEY)' ],
	[ AlterDomainStmt => 'ALTER DOMAIN s.d SET DEFAULT 5' ], [ ViewStmt => 'CREATE VIEW s.v2 AS SELECT id FROM s.t' ],
	[ RefreshMatViewStmt => 'REFRESH MATERIALIZED VIEW s.m' ], [ $cluster => 'CLUSTER s.t USING t_pkey' ],
	[ DropStmt => 'DROP VIEW s.v' ],
	[ AlterOwnerStmt => 'ALTER TYPE s.e OWNER TO joe' ],
	[ DefineStmt => 'CREATE AGGREGATE s.ag (int) (SFUNC = int4pl, STYPE = int)' ],
	[ AlterTypeStmt => 'ALTER TYPE s.base SET (STORAGE = main)',
		q{CREATE TYPE s.base; CREATE FUNCTION s.b_in(cstring) RETURNS s.base IMMUTABLE STRICT LANGUAGE internal }
		  . q{AS 'textin'; CREATE FUNCTION s.b_out(s.base) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal }
		  . q{AS 'textout'; CREATE TYPE s.base (INPUT = s.b_in, OUTPUT = s.b_out, STORAGE = extended)} ],
	[ AlterOperatorStmt => 'ALTER OPERATOR s.=== (s.t, s.t) SET (RESTRICT = eqsel)' ],
	[ CreateFunctionStmt => q{CREATE FUNCTION s.g() RETURNS int LANGUAGE sql AS 'SELECT 1'} ],
	[ CreateFunctionStmt => q{CREATE FUNCTION s.h() RETURNS int LANGUAGE sql SET role = joe AS 'SELECT 1'} ],
	[ AlterFunctionStmt => 'ALTER FUNCTION s.f(int) COST 5' ],
	[ CreateTrigStmt => 'CREATE TRIGGER tr BEFORE INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.trg()' ],
	[ RuleStmt => 'CREATE RULE r AS ON DELETE TO s.t DO ALSO NOTHING' ],
	[ CreatePolicyStmt => 'CREATE POLICY p2 ON s.t' ], [ AlterPolicyStmt => 'ALTER POLICY p ON s.t USING (true)' ],
	[ GrantStmt => 'GRANT SELECT ON s.t TO joe' ],
	[ TruncateStmt => 'TRUNCATE s.n' ], [ CopyStmt => 'COPY s.n FROM PROGRAM $$echo 7$$' ],
	[ ExecuteStmt => 'EXECUTE ins', 'PREPARE ins AS INSERT INTO s.n VALUES (8)' ],
	[ CallStmt => 'CALL s.pr()', q{CREATE PROCEDURE s.pr() LANGUAGE sql AS 'INSERT INTO s.n VALUES (9)'} ],
	[ DoStmt => 'DO $$BEGIN INSERT INTO s.n VALUES (10); END$$' ],
	[ ExplainStmt => 'EXPLAIN ANALYZE INSERT INTO s.n VALUES (11)' ],
	[ TransactionStmt => 'BEGIN; INSERT INTO s.n VALUES (12); COMMIT' ],
	[ AlterCollationStmt => 'ALTER COLLATION s.co REFRESH VERSION',
		q{CREATE COLLATION s.co (PROVIDER = icu, LOCALE = 'und')} ],
	[ AlterObjectDependsStmt => 'ALTER FUNCTION s.f(int) DEPENDS ON EXTENSION plpgsql' ],
	[ AlterDefaultPrivilegesStmt => 'ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO joe' ],
	[ SecLabelStmt => q{SECURITY LABEL ON TABLE s.t IS 'x'}, undef, 'fails' ],
	[ DropOwnedStmt => 'DROP OWNED BY jane', 'CREATE ROLE jane' ],
	[ ReassignOwnedStmt => 'REASSIGN OWNED BY jane TO joe' ],
	[ CreateExtensionStmt => 'CREATE EXTENSION citext SCHEMA s' ],
	[ AlterExtensionStmt => 'ALTER EXTENSION citext UPDATE' ],
	[ AlterExtensionContentsStmt => 'ALTER EXTENSION citext ADD DOMAIN s.d3', 'CREATE DOMAIN s.d3 AS int' ],
	[ CreateAmStmt => 'CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler' ],
	[ CreatePLangStmt => 'CREATE LANGUAGE la HANDLER plpgsql_call_handler' ],
	[ CreateCastStmt => 'CREATE CAST (s.t AS int) WITH FUNCTION s.cast(s.t)',
		q{CREATE FUNCTION s.cast(s.t) RETURNS int LANGUAGE sql AS 'SELECT 1'} ],
	[ CreateConversionStmt => q{CREATE CONVERSION s.conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8} ],
	[ CreateTransformStmt => 'CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal))' ],
	[ CreateOpFamilyStmt => 'CREATE OPERATOR FAMILY s.fam USING hash' ],
	[ AlterOpFamilyStmt => 'ALTER OPERATOR FAMILY s.fam USING hash ADD FUNCTION 1 (int, int) hashint4(int)' ],
	[ CreateOpClassStmt => 'CREATE OPERATOR CLASS s.cls FOR TYPE int USING hash AS OPERATOR 1 =, '
		  . 'FUNCTION 1 hashint4(int)' ],
	[ AlterTSDictionaryStmt => 'ALTER TEXT SEARCH DICTIONARY s.td (STOPWORDS = english)' ],
	[ AlterTSConfigurationStmt => 'ALTER TEXT SEARCH CONFIGURATION s.tc DROP MAPPING FOR word' ],
	[ CreateEventTrigStmt => 'CREATE EVENT TRIGGER et ON ddl_command_start EXECUTE FUNCTION s.et()',
		q{CREATE FUNCTION s.et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'} ],
	[ AlterEventTrigStmt => 'ALTER EVENT TRIGGER et DISABLE' ], [ CreateFdwStmt => 'CREATE FOREIGN DATA WRAPPER w1' ],
	[ AlterFdwStmt => 'ALTER FOREIGN DATA WRAPPER w1 OPTIONS (a \'1\')' ],
	[ CreateForeignServerStmt => 'CREATE SERVER s1 FOREIGN DATA WRAPPER w1' ],
	[ AlterForeignServerStmt => q{ALTER SERVER s1 VERSION '2'} ],
	[ CreateUserMappingStmt => 'CREATE USER MAPPING FOR joe SERVER s1' ],
	[ AlterUserMappingStmt => q{ALTER USER MAPPING FOR joe SERVER s1 OPTIONS (b '1')} ],
	[ DropUserMappingStmt => 'DROP USER MAPPING FOR joe SERVER s1' ],
	[ CreateForeignTableStmt => 'CREATE FOREIGN TABLE s.ft2 (a int) SERVER s1' ],
	[ ImportForeignSchemaStmt => 'IMPORT FOREIGN SCHEMA x FROM SERVER s1 INTO s', undef, 'fails' ],
	[ CreatePublicationStmt => 'CREATE PUBLICATION pub FOR TABLE s.t' ],
	[ AlterPublicationStmt => 'ALTER PUBLICATION pub ADD TABLE s.u' ],
	[ CreateSubscriptionStmt => q{CREATE SUBSCRIPTION sub CONNECTION 'dbname=x' PUBLICATION x }
		  . q{WITH (connect = false, slot_name = NONE)} ],
	[ AlterSubscriptionStmt => 'ALTER SUBSCRIPTION sub SET (binary = true)' ],
	[ DropSubscriptionStmt => 'DROP SUBSCRIPTION sub' ],
	[ CreatedbStmt => 'CREATE DATABASE db1' ], [ AlterDatabaseStmt => 'ALTER DATABASE db1 CONNECTION LIMIT 5' ],
	[ AlterDatabaseRefreshCollStmt => 'ALTER DATABASE db1 REFRESH COLLATION VERSION' ],
	[ AlterDatabaseSetStmt => q{ALTER DATABASE db1 SET work_mem = '5MB'} ],
	[ DropdbStmt => 'DROP DATABASE db1' ], [ CreateRoleStmt => 'CREATE ROLE r1' ],
	[ AlterRoleStmt => 'ALTER ROLE r1 LOGIN' ], [ AlterRoleSetStmt => q{ALTER ROLE r1 SET work_mem = '5MB'} ],
	[ GrantRoleStmt => 'GRANT joe TO r1' ],
	[ DropRoleStmt => 'DROP ROLE r1' ], [ AlterSystemStmt => q{ALTER SYSTEM SET work_mem = '5MB'} ],
	[ CreateTableSpaceStmt => q{CREATE TABLESPACE tsp LOCATION ''} ],
	[ AlterTableSpaceOptionsStmt => 'ALTER TABLESPACE tsp SET (seq_page_cost = 2)' ],
	[ AlterTableMoveAllStmt => 'ALTER TABLE ALL IN TABLESPACE tsp SET TABLESPACE pg_default' ],
	[ DropTableSpaceStmt => 'DROP TABLESPACE tsp2', q{CREATE TABLESPACE tsp2 LOCATION ''} ],
	[ VacuumStmt => 'VACUUM s.t' ], [ ReindexStmt => 'REINDEX TABLE s.t' ], [ CheckPointStmt => 'CHECKPOINT' ],
	[ VariableSetStmt => q{SET default_tablespace = tsp} ], [ VariableShowStmt => 'SHOW work_mem' ],
	[ DiscardStmt => 'DISCARD PLANS' ], [ LoadStmt => q{LOAD '$libdir/plpgsql'} ],
	[ LockStmt => 'BEGIN; LOCK s.t; COMMIT' ],
	[ ConstraintsSetStmt => 'BEGIN; SET CONSTRAINTS ALL DEFERRED; COMMIT' ],
	[ PrepareStmt => 'PREPARE pre AS SELECT 1' ], [ DeallocateStmt => 'DEALLOCATE ALL' ],
	[ DeclareCursorStmt => 'BEGIN; DECLARE cu CURSOR FOR SELECT 1; COMMIT' ],
	[ FetchStmt => 'BEGIN; DECLARE cu2 CURSOR FOR SELECT 1; FETCH cu2; COMMIT' ], [ ClosePortalStmt => 'CLOSE ALL' ],
	[ NotifyStmt => 'NOTIFY n' ], [ ListenStmt => 'LISTEN n' ], [ UnlistenStmt => 'UNLISTEN n' ],
);
my %has = map { $_->[0] => 1 } @examples;
is_deeply([ grep { !$has{$_} } sort keys %word ], [], 'there is an example of each');

# Others that do not travel, whatever their class says
my @never = ('COMMENT ON COLUMN s.ft.a IS \'x\'',
	'CREATE TRIGGER tf BEFORE INSERT ON s.ft FOR EACH ROW EXECUTE FUNCTION s.trg()',
	'ALTER FOREIGN TABLE s.ft ADD b int', 'ALTER TABLE s.ft RENAME a TO a2',
	'ALTER TABLE s.k ATTACH PARTITION s.fp FOR VALUES FROM (10) TO (20)', 'ALTER TABLE s.k DETACH PARTITION s.fp',
	'CLUSTER s.u USING u_pkey', 'CREATE TEMP TABLE tmp (a int);
		CREATE FUNCTION s.over_tmp(tmp) RETURNS int LANGUAGE sql AS $$SELECT 1$$',
	'CREATE TEMP TABLE tmp (a int); CREATE DOMAIN s.over_tmp_d AS tmp[]',
	'CREATE TEMP TABLE tmp (a int); CREATE TYPE s.over_tmp_c AS (a int, b tmp)',
	'CREATE DOMAIN pg_temp.tmp AS int; CREATE TYPE s.over_tmp_r AS RANGE (SUBTYPE = pg_temp.tmp)',
	'SET allow_system_table_mods = on; CREATE TABLE pg_catalog.cat (a int PRIMARY KEY)',
	'SET allow_system_table_mods = on; INSERT INTO pg_catalog.cat VALUES (1)');

my $wrong = '';
for my $example (@examples, map { [ '', $_ ] } @never)
{
	my ($class, $statement, $setup, $fails) = @$example;
	my ($out, $err);
	my $code = $source->psql('postgres', ($setup ? "$setup;\n" : '') . "$statement\n;", stdout => \$out,
		stderr => \$err, on_error_stop => 1);
	$wrong .= "$statement: $err\n" if ($code != 0) != !!$fails;
}
is($wrong, '', 'all examples ran at the source');

arrives('everything arrived');
my %outcome = map { split /\x01/ } split /\x02/, $dest->safe_psql('postgres',
	q{SELECT string_agg(command || chr(1) || outcome, chr(2)) FROM flo.ddl_log});
for my $example (@examples)
{
	my ($class, $statement) = @$example;
	my $became = $held{$statement} ? 'held' : $outcome{$statement} ? 'carried' : 'neither';
	my $expected = $word{$class} =~ /held|carried/ ? $word{$class} : 'neither';
	is("$became " . ($outcome{$statement} // ''), $expected . ($expected eq 'neither' ? ' ' : ' applied'),
		"$class: $statement is $word{$class}");
}
is(join("\n", grep { my $s = $_; grep { index($_, $s =~ s/.*; //r) >= 0 } keys %outcome } @never), '',
	'nothing of foreign and temporary things arrived');
is($dest->safe_psql('postgres', 'SELECT string_agg(id::text, \' \' ORDER BY id) FROM s.n'), '7 8 9 10 11 12',
	'rows of the others are there');
is($dest->safe_psql('postgres', q{SELECT stxstattarget FROM pg_statistic_ext WHERE stxname = 'st'}), '5',
	'ALTER STATISTICS had its effect');
is($dest->safe_psql('postgres', q{SELECT oprrest FROM pg_operator WHERE oprname = '==='}), 'eqsel',
	'so had ALTER OPERATOR');

# What we look up is no concern of the session's
my $notices;
$source->psql('postgres', q{CREATE FUNCTION s.of_column(s.t.v%TYPE) RETURNS s.t.v%TYPE LANGUAGE sql AS 'SELECT 1'},
	stderr => \$notices);
is(() = $notices =~ /NOTICE: /g, 2, 'a notice of the server comes once for each type');

$_->stop('fast') for $source, $dest;
done_testing();
