
# What a group's DDL may change and what it may only refer to: what tables refer
# to already, what a person has released, what another group of the same owner
# has, what was prepared by hand and adopted.

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
my $db = 'postgres';

sub both { my ($sql) = @_; $_->safe_psql($db, $sql) for $source, $dest; }
sub at_dest { return $dest->safe_psql($db, $_[0]); }

sub held
{
	my ($sql, $reason, $decision) = @_;
	$source->safe_psql($db, $sql);
	wait_until($dest, $db, q{SELECT count(*) = 1 FROM flo.pending_ddl WHERE decision IS NULL}, "held: $sql")
	  or die("not held: $sql");
	like(at_dest('SELECT reason FROM flo.pending_ddl WHERE decision IS NULL'), $reason, "held: $sql");
	at_dest("SELECT flo.${decision}_ddl(id) FROM flo.pending_ddl WHERE decision IS NULL");
	return 1;
}

sub passes
{
	my ($what, @sql) = @_;
	$source->safe_psql($db, $_) for @sql;
	my $lsn = $source->safe_psql($db, 'SELECT pg_current_wal_lsn()');
	wait_until($dest, $db, qq{SELECT (SELECT bool_and(durable_lsn >= '$lsn') FROM flo.status)
		OR EXISTS (SELECT FROM flo.pending_ddl) OR EXISTS (SELECT FROM flo.status WHERE state = 'backoff')}, $what);
	is(at_dest(q{SELECT concat((SELECT string_agg(command || ': ' || reason, E'\n') FROM flo.pending_ddl),
		(SELECT string_agg(last_error, E'\n') FROM flo.status WHERE state = 'backoff'))}), '', $what);
}

# --- what is there -------------------------------------------------------------------------------

both(q{
	CREATE SCHEMA other;
	CREATE TABLE other.bills (id int PRIMARY KEY);
	CREATE SEQUENCE other.bill_seq;
	CREATE TABLE orders (id int PRIMARY KEY, b int REFERENCES other.bills, n int DEFAULT nextval('other.bill_seq'));
	CREATE TABLE parted (id int PRIMARY KEY, b int REFERENCES other.bills, n int DEFAULT nextval('other.bill_seq'))
		PARTITION BY RANGE (id);
	CREATE SCHEMA h;
	CREATE TABLE h.t (id int PRIMARY KEY);
	CREATE SCHEMA k;
	CREATE TABLE k.t (id int PRIMARY KEY);
});
$dest->safe_psql($db, q{
	CREATE ROLE stranger;
	CREATE TABLE ledger (id int PRIMARY KEY);
	INSERT INTO ledger VALUES (1);
	CREATE SEQUENCE numbers;
	CREATE TABLE entered (id int PRIMARY KEY);
});
for my $group (qw(g h k))
{
	my $schema = $group eq 'g' ? 'public' : $group;
	$source->safe_psql($db, "SELECT flo.create_replicator('$group', schemas => '{$schema}', track_ddl => true)");
	$dest->safe_psql($db, qq(SELECT flo.create_worker('$group', options => '{"lock_timeout": "500ms"}')));
}
at_dest(q{SELECT flo.set_owner('k', 'postgres', 'stranger')});
for my $group (qw(g h k))
{
	start_member($source, $group, 'replicator');
	start_member($dest, $group, 'postgres');
}
passes('all stream', 'COMMENT ON TABLE h.t IS NULL', 'COMMENT ON TABLE orders IS NULL', 'INSERT INTO h.t VALUES (1)');

# --- what tables refer to already -----------------------------------------------------------------

passes('a foreign key and a default made anew', 'ALTER TABLE orders ALTER b TYPE bigint, ALTER n TYPE bigint',
	'ALTER TABLE parted ALTER b TYPE bigint, ALTER n TYPE bigint',
	'CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100)',
	'CREATE TABLE parted_2 (id int NOT NULL PRIMARY KEY, b bigint, n bigint);
		ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (100) TO (200)',
	'CREATE TABLE orders_2 (LIKE orders INCLUDING DEFAULTS, PRIMARY KEY (id))');
held('ALTER TABLE orders ADD b2 int REFERENCES other.bills', qr/it refers to .*other.bills.*, which is not known/,
	'skip');
held('ALTER TABLE orders ADD CONSTRAINT again FOREIGN KEY (b) REFERENCES other.bills',
	qr/it refers to .*other.bills.*, which is not known/, 'skip');
held(q{ALTER TABLE orders ADD n2 int DEFAULT nextval('other.bill_seq')}, qr/sequence other.bill_seq is not known/,
	'skip');
$source->safe_psql($db, 'ALTER TABLE orders DROP b2, DROP CONSTRAINT again, DROP n2');
is(at_dest(q{SELECT count(*) FROM flo.group_objects WHERE object_oid
	IN ('other.bills'::regclass, 'other.bill_seq'::regclass)}), 0, 'nothing had to be noted for that');

# --- a released reference is one, and no more -----------------------------------------------------

held('CREATE TABLE fresh (id int PRIMARY KEY, b int REFERENCES other.bills)',
	qr/it refers to .*other.bills.*, which is not known/, 'release');
passes('the same reference again', 'CREATE TABLE fresh_2 (id int PRIMARY KEY, b int REFERENCES other.bills)',
	'ALTER TABLE fresh ALTER b TYPE bigint');
held('CREATE TABLE ledger (id int PRIMARY KEY)', qr/table ledger has rows/, 'skip');
held('ALTER TABLE orders ADD l int REFERENCES ledger', qr/it refers to .*ledger.*, which is not known/, 'release');
passes('that too', 'ALTER TABLE fresh ADD l int REFERENCES ledger');
held('ALTER TABLE ledger ADD x int', qr/table ledger is not known/, 'skip');
held('COMMENT ON TABLE ledger IS $$mine$$', qr/table ledger is not known/, 'skip');
held('CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (ledger)', qr/table ledger is not known/, 'skip');
$source->safe_psql($db, 'CREATE SEQUENCE numbers');
held(q{ALTER TABLE orders ALTER id SET DEFAULT nextval('numbers')}, qr/sequence numbers is not known/, 'release');
passes('numbers again', q{ALTER TABLE fresh ALTER id SET DEFAULT nextval('numbers')});
held('ALTER SEQUENCE numbers RESTART 100', qr/sequence numbers is not known/, 'skip');
held('ALTER SEQUENCE numbers OWNED BY fresh.id', qr/sequence numbers is not known/, 'skip');
is(at_dest(q{SELECT string_agg(object_oid::regclass || ' ' || may, ', ' ORDER BY object_oid::regclass::text)
	FROM flo.group_objects WHERE group_name = 'g' AND object_oid
	IN ('other.bills'::regclass, 'ledger'::regclass, 'numbers'::regclass)}),
	'ledger refer, numbers refer, other.bills refer', 'noted as that');

# ... also when it is run between two transactions
held('CREATE INDEX CONCURRENTLY ledger_c ON ledger (id)', qr/table ledger is not known/, 'release');
passes('a released index says whose the table is', 'COMMENT ON TABLE ledger IS $$ours$$');

# --- rows that are not committed ------------------------------------------------------------------

my $session = FloTest::Session->new($dest);
$session->query('BEGIN; INSERT INTO entered VALUES (1)');
my $pid = $session->query('SELECT pg_backend_pid()');
$source->safe_psql($db, 'CREATE TABLE entered (id int PRIMARY KEY)');
ok(wait_until($dest, $db, q{SELECT last_error ~ 'table public.entered is in use by other transactions' FROM flo.status
	WHERE group_name = 'g'}, 'the worker to wait'), 'a transaction that has put in rows is waited for');
is(at_dest(q{SELECT count(*) FROM flo.group_objects WHERE object_oid = 'entered'::regclass}), 0,
	'the table is not taken meanwhile');
$session->query('COMMIT');
$session->close;
held('SELECT 1', qr/table entered has rows/, 'skip');

# --- another group --------------------------------------------------------------------------------

passes('a foreign key to a table of another group with the same owner', 'ALTER TABLE orders ADD t int REFERENCES h.t');
$source->safe_psql($db, 'ALTER TABLE h.t ADD x int');
held('CREATE TABLE child (PRIMARY KEY (id)) INHERITS (h.t)', qr/table h.t is not known/, 'skip');
held('ALTER TABLE orders ADD s int REFERENCES k.t', qr/it refers to .*k.t.*, which is not known/, 'skip');

# --- prepared by hand -----------------------------------------------------------------------------

my $prepared = q{
	CREATE VIEW seen AS SELECT id FROM orders;
	CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one;
	CREATE SEQUENCE loose;
	CREATE TYPE tint AS ENUM ('a');
	CREATE FUNCTION price(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
	CREATE DOMAIN amount AS int;
	CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER noted BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted();
};
# made at the source where it cannot be seen: as a dump has them
$source->safe_psql($db, "SET session_replication_role = replica; ALTER EVENT TRIGGER pg_flo_track_ddl DISABLE;
	$prepared; ALTER EVENT TRIGGER pg_flo_track_ddl ENABLE ALWAYS");
at_dest($prepared);
my $check = q{SELECT status, detail, hint FROM flo.check('g') WHERE item = 'objects of group g'};
like(at_dest($check),
	qr/^warning\|8 objects are not known .*function public.price.*flo\.adopt\('g', schemas => '\{public\}'\)/s,
	'flo.check() warns of them, and says what to call')
  or diag(at_dest($check));
held('COMMENT ON VIEW seen IS $$v$$', qr/view seen is not known/, 'skip');

at_dest(q{CREATE SCHEMA strange AUTHORIZATION stranger; CREATE TABLE strange.t (id int);
	ALTER TABLE strange.t OWNER TO stranger; CREATE ROLE admin; CREATE ROLE nobody;
	GRANT USAGE ON SCHEMA flo TO nobody; GRANT EXECUTE ON FUNCTION flo.adopt TO nobody, admin, stranger;
	GRANT USAGE ON SCHEMA flo TO admin, stranger});
for my $case (
	[ q{SET SESSION AUTHORIZATION nobody; SELECT flo.adopt('g', schemas => '{public}')}, '42501',
		'who does not own the worker' ],
	[ q{SET SESSION AUTHORIZATION stranger; SELECT flo.adopt('k', relations => '{orders}')}, '42501',
		'what is another role\'s' ],
	[ q{SELECT flo.adopt('k', relations => '{orders}')}, '42501',
		'what the worker\'s owner has no right to, though a superuser says so' ],
	[ q{SELECT flo.adopt('g', schemas => '{pg_catalog}')}, '22023', 'a system schema' ],
	[ q{SELECT flo.adopt('g', schemas => '{flo}')}, '22023', 'the schema of the extension' ],
	[ q{SELECT flo.adopt('g', relations => '{flo.groups}')}, '22023', 'a table of it' ],
	[ q{SELECT flo.adopt('g', relations => '{orders_pkey}')}, '22023', 'an index' ],
	[ q{SELECT flo.adopt('g', routines => '{plpgsql_call_handler()}')}, '22023', 'what is an extension\'s' ],
	[ q{SELECT flo.adopt('g', types => '{tint[]}')}, '22023', 'an array' ],
	[ q{SELECT flo.adopt('nogroup')}, '42704', 'no such group' ],
	[ q{SELECT flo.adopt('g', may => 'all')}, '22023', 'no such right' ],
	[ q{CREATE FUNCTION sneak() RETURNS int LANGUAGE sql AS $$ SELECT count(*)::int }
		  . q{FROM flo.adopt('g', relations => '{public.seen}') $$; CREATE TABLE s AS SELECT 1 AS a;
		CREATE INDEX ON s ((sneak()))}, '42P17', 'an index expression has to be immutable' ],
	[ q{CREATE FUNCTION sneaks() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN }
		  . q{PERFORM flo.adopt('g', relations => '{public.seen}'); RETURN 1; END $$; CREATE TABLE s2 AS SELECT 1 AS a;
		CREATE INDEX ON s2 ((sneaks()))}, '55000', 'within a security-restricted operation' ],
  )
{
	my ($sql, $code, $what) = @$case;
	like(error_of($dest, $sql), qr/^$code/, "not adopted: $what");
}
is(at_dest(q{SELECT string_agg(type || ' ' || object, ', ' ORDER BY type, object)
	FROM flo.adopt('g', relations => '{ledger}', may => 'nothing')}), 'table public.ledger',
	'what is named gets just that');
held('ALTER TABLE ledger ADD z int', qr/table ledger is not known/, 'skip');
is(at_dest(q{SELECT string_agg(type || ' ' || object, ', ' ORDER BY type, object)
	FROM flo.adopt('g', relations => '{seen}', types => '{tint}', routines => '{price(int)}')}),
	'function public.price(integer), type public.tint, view public.seen', 'some by name');
my $others = join ', ', map({ "function public.$_()" } qw(noted sneak sneaks)), 'materialized view public.kept',
	'schema public',
	map({ "sequence public.$_" } qw(loose numbers)), 'trigger noted on public.orders', 'type public.amount';
like(at_dest(q{SELECT string_agg(type || ' ' || object, ', ' ORDER BY type, object)
	FROM flo.adopt('g', schemas => '{public}')}),
	qr/\Q$others\E$/, 'the rest with the schema');
is(at_dest(q{SELECT count(*) FROM flo.adopt('g', schemas => '{public}')}), '0', '... once');
like(at_dest($check), qr/^ok\|/, 'flo.check() is content');
passes('DDL of what was prepared', 'COMMENT ON VIEW seen IS $$v$$', 'ALTER SEQUENCE loose INCREMENT 2',
	q{ALTER TYPE tint ADD VALUE 'b'}, 'COMMENT ON FUNCTION price(int) IS $$p$$',
	'DROP FUNCTION price(int)', 'ALTER TABLE orders DISABLE TRIGGER noted', 'DROP TRIGGER noted ON orders',
	'DROP DOMAIN amount', 'COMMENT ON SCHEMA public IS $$s$$',
	'ALTER VIEW seen RENAME TO looked_at', 'DROP VIEW looked_at');
is(at_dest(q{SELECT to_regclass('looked_at') IS NULL AND to_regclass('seen') IS NULL}), 't', 'it was done');

# code here that rows of the stream have run
at_dest(q{CREATE FUNCTION adopts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	PERFORM flo.adopt('g', schemas => '{other}'); RETURN NEW; END $$;
	CREATE TRIGGER adopts BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION adopts();
	ALTER TABLE orders ENABLE ALWAYS TRIGGER adopts});
$source->safe_psql($db, 'ALTER TABLE orders DROP s');
$source->safe_psql($db, 'INSERT INTO orders (id) VALUES (1)');
ok(wait_until($dest, $db, q{SELECT last_error ~ 'flo.adopt\(\) cannot be called by code that a member' FROM flo.status
	WHERE group_name = 'g'}, 'the trigger to fail'), 'no worker adopts anything');
at_dest('DROP TRIGGER adopts ON orders');
wait_caught_up($source, $dest, 'g');

# --- a person may change his mind, and a schema takes along what is in it -------------------------

held('DROP TABLE ledger CASCADE', qr/table ledger is not known/, 'skip');
held('CREATE TABLE ledger (id int PRIMARY KEY)', qr/table ledger has rows/, 'release');
passes('a table that was said to be another, and has been released', 'COMMENT ON TABLE ledger IS $$after all$$');

at_dest(q{SELECT flo.adopt('h', schemas => '{h}'); CREATE TABLE h.own (id int)});
held('ALTER SCHEMA h RENAME TO hh', qr/table h.own is not known .* would be in a schema of another name/, 'skip');
$source->safe_psql($db, 'ALTER SCHEMA hh RENAME TO h');
at_dest(q{DROP TABLE h.own});

# --- sequences that a copy finds ------------------------------------------------------------------

$_->safe_psql($db, 'CREATE DATABASE two') for $source, $dest;
$_->safe_psql('two', 'CREATE EXTENSION pg_flo; CREATE SEQUENCE unused; CREATE SEQUENCE used') for $source, $dest;
$dest->safe_psql('two', q{SELECT nextval('used')});
$source->safe_psql('two', q{CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('unused'));
	INSERT INTO t VALUES (DEFAULT);
	CREATE TABLE u (id int PRIMARY KEY DEFAULT nextval('used')); INSERT INTO u VALUES (DEFAULT);
	SELECT flo.create_replicator('s', schemas => '{public}', mode => 'copy_and_stream', sync_schema => true,
		track_ddl => true); SELECT flo.start_group('s')});
$dest->safe_psql('two', q{SELECT flo.create_worker('s'); SELECT flo.start_group('s')});
ok(wait_until($dest, 'two', q{SELECT count(*) = 1 FROM flo.pending_ddl}, 'the copy to wait'),
	'a sequence that others have used is not taken numbers of');
like($dest->safe_psql('two', 'SELECT reason FROM flo.pending_ddl'),
	qr/table public.u: sequence public.used is not known/, '... one that nobody has is');
$dest->safe_psql('two', 'SELECT flo.release_ddl(id) FROM flo.pending_ddl');
wait_state($dest, 's', 'postgres', 'streaming', 'two');
$source->safe_psql('two', q{ALTER TABLE u ADD n int; ALTER TABLE u ALTER n SET DEFAULT nextval('used');
	ALTER SEQUENCE unused INCREMENT 3});
ok(wait_until($dest, 'two', q{SELECT count(*) = 1 FROM flo.pending_ddl}, 'a statement to be held'),
	'to change it is another thing');
like($dest->safe_psql('two', 'SELECT command || reason FROM flo.pending_ddl'),
	qr/ALTER SEQUENCE unused.*sequence unused is not known/s, '... than to refer to it');

$_->stop('fast') for $source, $dest;
done_testing();
