# Fences: while one is raised nobody but the group's workers writes to its tables
# or changes their definitions, whatever role, settings, transaction or command;
# what has begun to write before is waited for; and it outlives what ends a server.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\nautovacuum_naptime = 1\nmax_connections = 40\n";
my $a = flo_node('a', $nats, conf => $conf);
my $b = flo_node('b', $nats, conf => $conf);

my $tables = q{
	CREATE SCHEMA s;
	CREATE TABLE s.t (id int PRIMARY KEY, v text);
	CREATE INDEX t_v ON s.t (v);
	CREATE TABLE s.p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES FROM (0) TO (100);
	CREATE TABLE s.c (id int PRIMARY KEY REFERENCES s.t ON DELETE CASCADE);
	CREATE TABLE s.i (id int PRIMARY KEY);
	CREATE TABLE s.i1 (x int, PRIMARY KEY (id)) INHERITS (s.i);
	CREATE TABLE s.sub (id int PRIMARY KEY)};
my @fenced = qw(s.t s.p s.c s.i s.sub s.child s.early);
$a->safe_psql('postgres', $tables);
$b->safe_psql('postgres', $tables);
# what leads to them from outside
$a->safe_psql('postgres', q{
	CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE s.child (id int PRIMARY KEY REFERENCES parent ON DELETE CASCADE);
	CREATE TABLE other (id int);
	CREATE TABLE spare (id int PRIMARY KEY, v text);
	CREATE VIEW w AS SELECT id, v FROM s.t;
	CREATE RULE r AS ON INSERT TO other DO ALSO INSERT INTO s.t VALUES (NEW.id);
	CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE ROLE app LOGIN;
	GRANT USAGE ON SCHEMA s, public TO app;
	GRANT ALL ON ALL TABLES IN SCHEMA s, public TO app;
	INSERT INTO s.t SELECT i, 'v' FROM generate_series(1, 5) i;
	INSERT INTO s.p SELECT i FROM generate_series(1, 5) i;
	INSERT INTO s.c VALUES (1);
	INSERT INTO s.i VALUES (1);
	INSERT INTO s.i1 VALUES (2);
	INSERT INTO parent VALUES (1);
	INSERT INTO s.child VALUES (1)});
$b->safe_psql('postgres', 'CREATE TABLE s.child (id int PRIMARY KEY)');
$a->safe_psql('postgres', q{SELECT flo.create_replicator('g', schemas => '{s}', track_ddl => true)});

sub digest
{
	my ($node, $db) = @_;
	return $node->safe_psql($db || 'postgres', join ' UNION ALL ',
		map { "SELECT '$_', count(*), sum(hashtextextended(x::text, 0)) FROM $_ x" } @fenced);
}
sub prepare
{
	my ($list) = @_;
	return "SELECT flo.prepare_fence('g', 'source', '$list')";
}
my $raise = q{SELECT flo.raise_fence('g', 'source', 'trial')};
my $write = qr/^55000: cannot write to table s\./;
my $define = qr/^55000: cannot change the definition of table s\./;

# --- prepared -----------------------------------------------------------------------------

like(error_of($a, $raise), qr/^55000: the fence of group "g" is not prepared/, 'not prepared');
like(error_of($a, prepare('{s.t}') =~ s/'g'/'nobody'/r), qr/^42704: /, 'no such group');
like(error_of($a, q{SELECT flo.unfence('g')}), qr/^55000: group "g" has no fence here/, 'nothing to take down');
like(error_of($a, q{SET ROLE app; SELECT flo.unfence('g')}), qr/^42501: /, 'not his');
like(error_of($a, 'SELECT flo.fence()'), qr/^39P01: /, 'not a trigger');
$a->safe_psql('postgres', prepare('{s.t,s.c,s.i,s.sub,s.child}'));
$a->safe_psql('postgres', prepare('{s.p}'));
$a->safe_psql('postgres', q{
	CREATE TABLE s.early (id int PRIMARY KEY);
	CREATE TABLE s.p2 PARTITION OF s.p FOR VALUES FROM (100) TO (200);
	INSERT INTO s.early VALUES (1);
	UPDATE s.t SET v = 'w' WHERE id = 1;
	INSERT INTO s.p VALUES (101);
	DELETE FROM s.p WHERE id = 5});
is($a->safe_psql('postgres', q{SELECT state, tables, uncovered FROM flo.fence_status()}), 'prepared|8|',
	'prepared: everybody writes, and tables and partitions come along');
is($a->safe_psql('postgres', q{SELECT string_agg(c.oid::regclass::text, ' ' ORDER BY 1) FROM pg_class c
	WHERE relnamespace = 's'::regnamespace AND relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM pg_trigger g
		WHERE tgrelid = c.oid AND tgfoid = 'flo.fence'::regproc AND tgenabled = 'A' AND tgtype & 1 = 1)}),
	'', 'each of them has the trigger');
$a->safe_psql('postgres', q{ALTER TABLE s.t DISABLE TRIGGER USER; ALTER TABLE s.p1 DISABLE TRIGGER USER;
	DO $$ BEGIN EXECUTE (SELECT format('DROP TRIGGER %I ON s.i1', tgname) FROM pg_trigger
		WHERE tgrelid = 's.i1'::regclass AND tgtype & 1 = 1); END $$});
is($a->safe_psql('postgres', q{SELECT uncovered FROM flo.fence_status()}), '{s.i1,s.p1,s.t}',
	'one that is gone is seen');

# --- who is waited for --------------------------------------------------------------------

my %session = map { $_ => FloTest::Session->new($a) } qw(read repeat serial writer cursor saved maker);
$session{read}->query('BEGIN');
$session{repeat}->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM s.t');
$session{serial}->query('BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM s.t');
$session{cursor}->query(q{PREPARE ins AS INSERT INTO s.t VALUES ($1); BEGIN;
	DECLARE k CURSOR FOR SELECT * FROM s.t; FETCH k; SAVEPOINT one; INSERT INTO s.p VALUES (50); ROLLBACK TO one});
$session{saved}->query('BEGIN; SAVEPOINT one; INSERT INTO s.t VALUES (60); ROLLBACK TO one');

$session{writer}->query('BEGIN; INSERT INTO s.t VALUES (10)');
like(error_of($a, "SET lock_timeout = '700ms'; $raise"),
	qr/^55P03: table s.t is in use by other transactions\ndetail: It is locked by process \d+/,
		'an open writer is waited for');
$session{writer}->query("PREPARE TRANSACTION 'x'");
like(error_of($a, "SET lock_timeout = '700ms'; $raise"),
	qr/^55P03: table s.t .*\ndetail: It is locked by a prepared transaction/, 'a prepared transaction is, too');
$a->safe_psql('postgres', "COMMIT PREPARED 'x'");
$session{maker}->query('BEGIN; CREATE TABLE s.made (id int PRIMARY KEY); INSERT INTO s.made VALUES (1)');
like(error_of($a, "SET lock_timeout = '700ms'; $raise"), qr/^55P03: /, 'and one that makes a table of the group');
$session{maker}->query('ROLLBACK');
is($a->safe_psql('postgres', q{SELECT state FROM flo.fence_status()}), 'prepared', 'nothing was raised');

# --- raised -------------------------------------------------------------------------------

$a->safe_psql('postgres', $raise);
my $before = digest($a);
is($a->safe_psql('postgres', q{SELECT state, reason, tables, uncovered FROM flo.fence_status()}), 'raised|trial|10|',
	'raised; triggers that were gone or disabled are there again');
is($a->safe_psql('postgres', $raise), '', 'raised again by the same');
like(error_of($a, q{SELECT flo.raise_fence('g', 'source', 'trial', 7)}), qr/^55000: group "g" is fenced already/,
	'and by another');

my %late = (
	'READ COMMITTED' => [ 'read', 'UPDATE s.t SET v = 1' ],
	'REPEATABLE READ' => [ 'repeat', 'INSERT INTO s.t VALUES (20)' ],
	'SERIALIZABLE' => [ 'serial', 'DELETE FROM s.t' ],
	'an open cursor and a prepared statement' => [ 'cursor', 'EXECUTE ins(21)' ],
	'what it wrote was rolled back' => [ 'saved', 'INSERT INTO s.t VALUES (60)' ]);
for my $what (sort keys %late)
{
	my ($who, $sql) = @{ $late{$what} };
	$session{$who}->{err} = '';
	$session{$who}->query($sql);
	like($session{$who}->{err}, qr/cannot write to table s\.t: it is fenced by group "g"/,
		"a transaction begun before: $what");
	$session{$who}->query('COMMIT');
}

my @writes = (
	'INSERT' => 'INSERT INTO s.t VALUES (9)',
	'UPDATE' => q{UPDATE s.t SET v = 'x'},
	'DELETE' => 'DELETE FROM s.t',
	'a partition' => 'INSERT INTO s.p1 VALUES (9)',
	'a later partition' => 'INSERT INTO s.p2 VALUES (109)',
	'through the root' => 'INSERT INTO s.p VALUES (109)',
	'from one partition to the other' => 'UPDATE s.p SET id = id + 100',
	'a table that inherits' => 'INSERT INTO s.i1 VALUES (9)',
	'through its parent' => 'UPDATE s.i SET id = 9 WHERE id = 2',
	'a table that joined' => 'INSERT INTO s.early VALUES (9)',
	'a view' => 'INSERT INTO w VALUES (9)',
	'a rule' => 'INSERT INTO other VALUES (9)',
	'a foreign key of another table' => 'DELETE FROM parent',
	'MERGE: DELETE' => 'MERGE INTO s.t USING (SELECT 1 AS id) x ON x.id = t.id WHEN MATCHED THEN DELETE',
	'MERGE: INSERT' =>
		'MERGE INTO s.t USING (SELECT 99 AS id) x ON x.id = t.id WHEN NOT MATCHED THEN INSERT VALUES (99)',
	'a CTE' => 'WITH gone AS (DELETE FROM s.t RETURNING 1) SELECT count(*) FROM gone',
	'ON CONFLICT' => q{INSERT INTO s.t VALUES (1) ON CONFLICT (id) DO UPDATE SET v = 'y'},
	'COPY' => "COPY s.t FROM PROGRAM 'echo 9,x' WITH (FORMAT csv)",
	'COPY to the root' => "COPY s.p FROM PROGRAM 'echo 9,x' WITH (FORMAT csv)",
	'a block that goes on after the error' => q{DO $$ BEGIN INSERT INTO s.t VALUES (9);
		EXCEPTION WHEN OTHERS THEN INSERT INTO s.t VALUES (10); END $$},
	'TRUNCATE' => 'TRUNCATE s.sub',
	'TRUNCATE of a partition' => 'TRUNCATE s.p1',
	'TRUNCATE of a later one' => 'TRUNCATE s.p2',
	'TRUNCATE of the root' => 'TRUNCATE s.p',
	'TRUNCATE ONLY' => 'TRUNCATE ONLY s.i',
	'TRUNCATE CASCADE' => 'TRUNCATE parent CASCADE');
while (my ($what, $sql) = splice @writes, 0, 2)
{
	like(error_of($a, $sql), $write, "refused: $what");
	like(error_of($a, "SET session_replication_role = replica; $sql"), $write,
		"as a replica: $what") if $what !~ /^a (foreign key|rule)/;
}
like(error_of($a, 'SET ROLE app; DELETE FROM s.t'),
	qr/$write.*fenced by group "g"\ndetail: The fence stands since .*: trial\.\nhint: Write to the server/s,
	'whoever it is; the error says what to do');
is($a->safe_psql('postgres',
	'INSERT INTO spare VALUES (1); SELECT count(*) FROM s.p; SELECT count(*) FROM (SELECT FROM s.t FOR UPDATE) x'),
	"5\n6",
	'other tables are written, fenced ones are read');

# --- who waits while it is raised -----------------------------------------------------------

$a->safe_psql('postgres', q{SELECT flo.unfence('g')});
my $raising = FloTest::Session->new($a);
my @waiting = ('INSERT INTO s.t VALUES (30)', 'TRUNCATE s.p2', 'ALTER TABLE s.sub REPLICA IDENTITY FULL',
	'ALTER TABLE s.sub DISABLE TRIGGER ALL',
	'ALTER TABLE s.sub ADD z int', 'DROP TABLE s.i1', 'ALTER TABLE s.p DETACH PARTITION s.p1',
		'BEGIN ISOLATION LEVEL REPEATABLE READ; DELETE FROM s.c',
	'CREATE TABLE s.late (id int PRIMARY KEY)', 'ALTER TABLE s.early SET (fillfactor = 40)');
my @waiter = map { FloTest::Session->new($a) } @waiting;
$raising->query("BEGIN; $raise");
$waiter[$_]->send($waiting[$_]) for 0 .. $#waiting;
ok(wait_until($a, 'postgres', 'SELECT count(DISTINCT pid) = ' . @waiting . ' FROM pg_locks WHERE NOT granted',
	'them'), 'they wait');
$raising->query('COMMIT');
$_->result for @waiter;
like($waiter[$_]->{err}, qr/fenced/, "refused: $waiting[$_]") for 0 .. $#waiting;
is(digest($a), $before, 'and nothing has changed');
$_->close for @waiter, $raising;

# --- definitions --------------------------------------------------------------------------

my ($trigger) = split /\n/, $a->safe_psql('postgres',
	q{SELECT tgname FROM pg_trigger WHERE tgrelid = 's.t'::regclass AND tgfoid = 'flo.fence'::regproc ORDER BY 1});
my @definitions = ("DROP TRIGGER $trigger ON s.t", "ALTER TABLE s.t DISABLE TRIGGER $trigger",
	"ALTER TRIGGER $trigger ON s.t RENAME TO x",
	'ALTER TABLE s.t DISABLE TRIGGER ALL', 'ALTER TABLE s.p1 DISABLE TRIGGER USER',
		'ALTER TABLE s.t ENABLE REPLICA TRIGGER ' . $trigger,
	'DROP TABLE s.t CASCADE', 'DROP TABLE s.p1', 'DROP SCHEMA s CASCADE', 'DROP INDEX s.t_v',
		'DROP EXTENSION pg_flo CASCADE',
	'ALTER TABLE s.t ADD z int', 'ALTER TABLE s.t DROP v', 'ALTER TABLE s.t ALTER v TYPE varchar',
		'ALTER TABLE s.t ALTER v SET DEFAULT 1',
	'ALTER TABLE s.t ALTER v SET NOT NULL', 'ALTER TABLE s.t ADD CHECK (id > 0)',
		'ALTER TABLE s.c DROP CONSTRAINT c_id_fkey',
	'ALTER TABLE s.t RENAME TO u', 'ALTER TABLE s.t RENAME v TO u', 'ALTER TABLE s.t SET SCHEMA public',
		'ALTER SCHEMA s RENAME TO u',
	'ALTER TABLE s.t OWNER TO app', 'ALTER TABLE s.t SET UNLOGGED', 'ALTER TABLE s.t REPLICA IDENTITY FULL',
		'ALTER TABLE s.t SET (fillfactor = 50)',
	'ALTER TABLE s.t ENABLE ROW LEVEL SECURITY', 'CREATE POLICY p ON s.t', 'CREATE INDEX ON s.t (v)',
		'CREATE INDEX CONCURRENTLY ON s.t (v)',
	'ALTER INDEX s.t_v RENAME TO u', 'CREATE TRIGGER y BEFORE INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION f()',
	'CREATE RULE r AS ON INSERT TO s.t DO INSTEAD NOTHING',
		'CREATE TABLE p3 PARTITION OF s.p FOR VALUES FROM (200) TO (300)',
	'ALTER TABLE s.p ATTACH PARTITION spare FOR VALUES FROM (200) TO (300)', 'ALTER TABLE s.p DETACH PARTITION s.p1',
	'ALTER TABLE s.p DETACH PARTITION s.p1 CONCURRENTLY', 'CREATE TABLE i2 () INHERITS (s.i)',
		'ALTER TABLE spare INHERIT s.i',
	'ALTER TABLE s.i1 NO INHERIT s.i', 'ALTER TABLE spare ADD FOREIGN KEY (id) REFERENCES s.t', 'VACUUM FULL s.t');
like(error_of($a, $_), $define, "refused: $_") for @definitions;
like(error_of($a, $_), qr/^55000: table s\.\w+ cannot join group "g" while that is fenced/, "refused: $_")
  for 'CREATE TABLE s.later (id int PRIMARY KEY)', 'ALTER TABLE spare SET SCHEMA s';
like(error_of($a, "SELECT flo.$_"), qr/^55000: group "g" is fenced/, "refused: $_")
  for "drop_group('g')", "drop_replicator('g')", "add_table('g', 'spare')", "resync('g', table_name => 's.t')";
like(error_of($a, 'BEGIN; DELETE FROM flo.sources; DELETE FROM flo.groups'), qr/^23503: .*fences/,
	'nor does its row go by itself');
is(error_of($a, $_), '', "goes: $_") for 'VACUUM s.t', 'ANALYZE s.t', 'REINDEX TABLE s.t',
	'REINDEX TABLE CONCURRENTLY s.t', 'GRANT SELECT ON s.t TO app', q{COMMENT ON TABLE s.t IS 'x'},
	'CREATE TABLE u (id int); ALTER TABLE u ADD v int; DROP TABLE u', 'CREATE TEMP TABLE u (id int PRIMARY KEY)',
		'CREATE PUBLICATION mine FOR TABLE s.t';
is(digest($a), $before, 'not one row has changed');

# --- what the server itself applies ---------------------------------------------------------

$b->safe_psql('postgres', 'INSERT INTO s.sub VALUES (1), (2); CREATE PUBLICATION native FOR TABLE s.sub');
my $b_conn = $b->connstr('postgres') =~ s/'//gr;
$a->safe_psql('postgres',
	"CREATE SUBSCRIPTION native CONNECTION '$b_conn' PUBLICATION native WITH (copy_data = false)");
my $offset = -s $a->logfile;
$b->safe_psql('postgres', 'INSERT INTO s.sub VALUES (3)');
ok($a->wait_for_log(qr/cannot write to table s\.sub: it is fenced by group "g"/, $offset),
	'logical replication of the server is refused');
is(digest($a), $before, 'nor has it written');
$a->safe_psql('postgres', 'ALTER SUBSCRIPTION native DISABLE');

# --- what ends a server -------------------------------------------------------------------

for my $how (qw(restart kill))
{
	$_->close for values %session;
	%session = ();
	$how eq 'restart' ? $a->restart : do { $a->stop('immediate'); $a->start };
	like(error_of($a, 'DELETE FROM s.t'), $write, "still there after: $how");
}

$a->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$a->restart;
like(error_of($a, 'DELETE FROM s.t'), $write, 'also where pg_flo is not preloaded any more');
$a->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_flo'");
$a->restart;

# --- elsewhere ----------------------------------------------------------------------------

$a->safe_psql('postgres', 'DROP PUBLICATION mine');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$a->safe_psql('template1', 'CREATE DATABASE restored TEMPLATE template0');
$a->command_ok([ 'pg_dump', '-d', $a->connstr('postgres'), '-f', $dump, '--no-subscriptions' ], 'pg_dump');
$a->safe_psql('restored', "\\i $dump");
is($a->safe_psql('restored',
	'SELECT count(*) FROM flo.fence_status(); SELECT count(*) FROM s.t; INSERT INTO s.t VALUES (9)'), "0\n6",
	'what is restored from a dump takes writes');
like(error_of($a, 'DELETE FROM s.t'), $write, 'and the dumped one does not');
$a->safe_psql('restored', q{DELETE FROM flo.sources; DELETE FROM flo.groups; DROP EXTENSION pg_flo;
	INSERT INTO s.t VALUES (11)});
is($a->safe_psql('restored', q{SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pg_flo%'}), 0,
	'DROP EXTENSION takes the triggers along');
$a->safe_psql('template1', 'CREATE DATABASE cloned TEMPLATE postgres');
like(error_of($a, 'DELETE FROM s.t', 'cloned'), $write, 'a copy of the whole database is as fenced as that');
is(error_of($a, q{SELECT flo.unfence('g')}, 'cloned'), '', 'and is taken down there');
is(error_of($a, 'DELETE FROM s.t', 'cloned'), '', 'alone');
like(error_of($a, 'DELETE FROM s.t'), $write, 'not here');

# --- down again ---------------------------------------------------------------------------

$a->safe_psql('postgres', q{SELECT flo.unfence('g'); SELECT flo.raise_fence('g', 'source', 'cut-over', 7)});
like(error_of($a, q{SELECT flo.unfence('g')}), qr/^55000: group "g" is fenced by cut-over 7/,
	'the fence of a cut-over is not taken down');
my $warning = '';
$a->psql('postgres', q{SELECT flo.unfence('g', force => true)}, stderr => \$warning);
like($warning, qr/WARNING:  the tables of group "g" take writes here again, whatever the other server does/,
	'but by force, which is said');
is(error_of($a, 'UPDATE s.t SET v = v'), '', 'and takes writes');
$a->safe_psql('postgres', 'ALTER SUBSCRIPTION native ENABLE');
ok(wait_until($a, 'postgres', 'SELECT count(*) = 1 FROM s.sub', 'the row'), 'what was refused is applied then');
$a->safe_psql('postgres', q{ALTER SUBSCRIPTION native DISABLE; ALTER SUBSCRIPTION native SET (slot_name = NONE);
	DROP SUBSCRIPTION native});
$a->safe_psql('postgres', q{SELECT flo.unfence('g')});
is($a->safe_psql('postgres', q{SELECT count(*) FROM flo.fences;
	SELECT count(*) FROM pg_trigger WHERE tgfoid = 'flo.fence'::regproc}), "0\n0",
	'called again, it removes the triggers');

# --- under load ---------------------------------------------------------------------------

$a->safe_psql('postgres', prepare('{s.t,s.p}'));
my @load = map { FloTest::Session->new($a) } 1 .. 3;
for my $round (1 .. 5)
{
	my $n = 0;
	for my $session (@load)
	{
		my ($from, $mode) = ($round * 1000000 + 100000 * $n++, $n == 3 ? 'REPEATABLE READ' : 'READ COMMITTED');
		$session->send(qq{DO \$\$ BEGIN FOR i IN 1 .. 99999 LOOP
			IF random() < 0.5 OR '$mode' <> 'READ COMMITTED' THEN INSERT INTO s.t VALUES ($from + i);
			ELSE UPDATE s.p SET v = i WHERE id = 1; END IF;
			COMMIT; SET TRANSACTION ISOLATION LEVEL $mode; END LOOP; END \$\$});
	}
	ok(wait_until($a, 'postgres', "SELECT count(*) > 100 FROM s.t WHERE id > $round * 1000000", 'writers'),
		"round $round: they write");
	$a->safe_psql('postgres', $raise);
	my $then = digest($a);
	$_->result for @load;
	is(digest($a), $then, 'and not once more');
	my @other = grep { $_->{err} !~ /it is fenced by group "g"/ } @load;
	is(scalar @other, 0, 'they are told why');
	$_->{err} = '' for @load;
	$a->safe_psql('postgres', q{SELECT flo.unfence('g')});
}
$_->close for @load;

# --- who makes room, and who does not suffer --------------------------------------------------

$a->safe_psql('postgres', q{INSERT INTO s.sub SELECT generate_series(1000, 60000); DELETE FROM s.sub WHERE id > 999;
	ALTER TABLE s.sub SET (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,
		autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)});
ok(wait_until($a, 'postgres',
	q{SELECT count(*) > 0 FROM pg_locks WHERE relation = 's.sub'::regclass AND mode = 'ShareUpdateExclusiveLock'},
	'autovacuum'),
	'an autovacuum is at it');
is(error_of($a, prepare('{s.sub}')), '', 'and makes room');
$a->safe_psql('postgres', 'ALTER TABLE s.sub SET (autovacuum_enabled = false)');
my $holder = FloTest::Session->new($a);
$holder->query('BEGIN; LOCK TABLE s.sub IN ROW EXCLUSIVE MODE');
my $raiser = FloTest::Session->new($a);
$raiser->send($raise);
ok(wait_until($a, 'postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE relation = 's.sub'::regclass AND NOT granted},
	'the raise'), 'who has one table ...');
$holder->query(q{INSERT INTO s.t VALUES (900); COMMIT});
$raiser->result;
is($holder->{err} . $raiser->{err}, '', '... and wants another that is being fenced ends well, as does the fence');
is($a->safe_psql('postgres', 'SELECT count(*) FROM s.t WHERE id = 900; SELECT state FROM flo.fence_status()'),
	"1\nraised", 'in this order');
$a->safe_psql('postgres', q{SELECT flo.unfence('g')});
$_->close for $holder, $raiser;

# --- the workers pass ----------------------------------------------------------------------

$a->safe_psql('postgres', q{SELECT flo.drop_group('g')});
is($a->safe_psql('postgres', q{SELECT count(*) FROM pg_trigger WHERE tgfoid = 'flo.fence'::regproc}), '0',
	'dropped with the group');
$a->safe_psql('postgres', 'TRUNCATE s.t CASCADE; TRUNCATE s.p, s.i, s.i1, s.child, s.sub; DROP TABLE s.early, s.p2');
# rows of these two are written one by one
$b->safe_psql('postgres', q{TRUNCATE s.sub;
	CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER f BEFORE INSERT ON s.sub FOR EACH ROW EXECUTE FUNCTION f();
	CREATE TRIGGER f BEFORE INSERT ON s.c FOR EACH ROW EXECUTE FUNCTION f();
	ALTER TABLE s.sub ENABLE ALWAYS TRIGGER f});
create_group($a, $b, 'g', tables => q{'{s.t,s.p,s.c}'}, options => q{'{}', track_ddl => true},
	worker_options => q{'{"fire_triggers": true, "ddl": "apply"}'});
$b->safe_psql('postgres', q{SELECT flo.prepare_fence('g', 'destination', '{s.t,s.p,s.c,s.sub}');
	SELECT flo.raise_fence('g', 'destination', 'not yet')});
like(error_of($b, 'INSERT INTO s.t VALUES (1)'), qr/$write.*\n.*\nhint: Write to the source of the group/,
	'a destination refuses');
$a->safe_psql('postgres', q{INSERT INTO s.t SELECT i FROM generate_series(1, 500) i;
	UPDATE s.t SET v = 'x' WHERE id < 10; DELETE FROM s.t WHERE id = 1;
	INSERT INTO s.p SELECT i FROM generate_series(1, 50) i; INSERT INTO s.c VALUES (2), (3)});
$a->safe_psql('postgres', q{DELETE FROM s.t WHERE id = 2; TRUNCATE s.p; INSERT INTO s.p VALUES (1)});
$a->safe_psql('postgres', q{ALTER TABLE s.t ADD z int; ALTER TABLE s.t RENAME v TO w; CREATE INDEX ON s.t (z);
	INSERT INTO s.t VALUES (1, 'y', 3);
	CREATE TABLE s.p2 PARTITION OF s.p FOR VALUES FROM (100) TO (200); INSERT INTO s.p VALUES (150)});
wait_caught_up($a, $b, 'g');
is_same_table($a, $b, $_, "the worker writes $_, its definition, foreign keys and TRUNCATE") for qw(s.t s.p s.c);
like(error_of($b, 'INSERT INTO s.p2 VALUES (151)'), $write, 'a partition that came with it is fenced, too');
like(error_of($b, 'TRUNCATE s.p2'), $write, 'also from TRUNCATE');

# with its helpers, and not another group's
$a->safe_psql('postgres', q{INSERT INTO s.sub SELECT generate_series(1, 1000); SELECT flo.add_table('g', 's.sub')});
ok(wait_until($b, 'postgres', 'SELECT count(*) = 1000 FROM s.sub', 'the copy'), 'loaders write');
$a->safe_psql('postgres', 'TRUNCATE s.i1, s.i');
create_group($a, $b, 'h', tables => q{'{s.i}'});
$b->safe_psql('postgres', q{SELECT flo.prepare_fence('g', 'destination', '{s.i}')});
$a->safe_psql('postgres', 'INSERT INTO s.i VALUES (1)');
ok(wait_until($b, 'postgres',
	q{SELECT last_error LIKE 'cannot write to table s.i: it is fenced by group "g"%' FROM flo.status
	WHERE group_name = 'h' AND member = 'postgres'}, 'the error'), 'the worker of another group does not pass');
$b->safe_psql('postgres', q{SELECT flo.prepare_fence('g', 'destination', '{s.i}', passing => 'h')});
wait_caught_up($a, $b, 'h');
is_same_table($a, $b, 's.i', 'unless it is said to');
like(error_of($b, q{SELECT flo.drop_worker('g', 'postgres')}), qr/^55000: group "g" is fenced/,
	'a fenced worker is not dropped');

$a->safe_psql('postgres', 'CREATE TABLE x (id int PRIMARY KEY)');
$b->safe_psql('postgres', 'CREATE TABLE x (id int PRIMARY KEY)');

# --- two fences at one table ------------------------------------------------------------------

$a->safe_psql('postgres', q{CREATE TABLE q (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (0) TO (9);
	SELECT flo.create_replicator('one', tables => '{q}'); SELECT flo.create_replicator('two', tables => '{x}');
	SELECT flo.prepare_fence('one', 'source', '{q}'); SELECT flo.prepare_fence('two', 'destination', '{q1}');
	SELECT flo.raise_fence('two', 'destination', 'of the other')});
$a->safe_psql('postgres', q{SELECT flo.unfence('one')});
like(error_of($a, 'INSERT INTO q VALUES (1)'),
	qr/^55000: cannot write to table public\.q1: it is fenced by group "two"/, 'one goes, the other stays');
$a->safe_psql('postgres', q{SELECT flo.unfence('two'); SELECT flo.unfence('two')});
is($a->safe_psql('postgres', q{SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('q'::regclass, 'q1'::regclass)}), 0,
	'until that goes, too');
$a->safe_psql('postgres', q{SELECT flo.prepare_fence('one', 'source', '{q,spare}');
	SELECT flo.raise_fence('one', 'source', 'x')});
is(error_of($a, 'INSERT INTO spare VALUES (77)'), '', 'what is not of the group any more is not fenced with it');
$a->safe_psql('postgres', q{SELECT flo.unfence('one'); SELECT flo.unfence('one')});
is($a->safe_psql('postgres', q{SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('q'::regclass, 'spare'::regclass)}),
	0, 'and loses its triggers');

# --- definitions that travel have no fence ---------------------------------------------------

$a->safe_psql('postgres', q{SELECT flo.prepare_fence('g', 'source', '{s.t,s.p}')});
$b->safe_psql('postgres', 'CREATE DATABASE fresh');
$b->safe_psql('fresh', 'CREATE EXTENSION pg_flo');
create_copy_group($a, $b, 'k', tables => q{'{s.t,s.p}'}, sync_schema => 1, options => q{'{"schema_objects": "all"}'},
	dest_db => 'fresh');
is($b->safe_psql('fresh', q{SELECT count(*) FROM s.t; SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pg_flo%'}),
	$a->safe_psql('postgres', 'SELECT count(*) FROM s.t') . "\n0", 'a copy brings the table without');
is($b->safe_psql('fresh', q{SELECT count(*) FROM flo.copied_objects WHERE command LIKE '%flo.fence%'}), 0,
	'and without a word of it');
is($b->safe_psql('postgres', q{SELECT count(*) FROM flo.check('g') WHERE item LIKE 'triggers of%'}), 0,
	'its triggers are none to warn of');

# --- whose tables a source may have fenced ---------------------------------------------------

$b->safe_psql('postgres', q{CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA flo TO app;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO app;
	GRANT SELECT, INSERT, UPDATE, DELETE ON x TO app});
create_group($a, undef, 'o', tables => q{'{x}'});
$b->safe_psql('postgres', q{SET ROLE app; SELECT flo.create_worker('o', options => '{"allow_cutover": true}')});
start_member($b, 'o', 'postgres');
my $dry = q{SELECT * FROM flo.cutover('o', dry_run => true)};
like(error_of($a, $dry), qr/role "app" must not fence table public\.x/, 'of whom may make triggers on them');
$b->safe_psql('postgres', 'GRANT TRIGGER ON x TO app');
is(error_of($a, $dry), '', 'then it may');

done_testing();
