
# DDL finds objects by name.  Whoever owns a table of a group at the source makes
# objects there that are called like some of the destination's which have nothing
# to do with the group, and alters, attaches, refers to, empties or drops them:
# these stay as they are, until a person says otherwise.

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
# what fails stands there, too, until its transaction is passed over
my $pending = q{FROM flo.pending_ddl WHERE group_name = 'g' AND decision IS NULL AND reason !~ '^it fails here'};

sub mallory { my ($sql) = @_; $source->safe_psql($db, "SET SESSION AUTHORIZATION mallory; $sql"); }

sub held
{
	my ($what, $reason, $decision) = @_;
	wait_until($dest, $db, "SELECT count(*) = 1 $pending", "held: $what") or return fail("held: $what");
	like($dest->safe_psql($db, "SELECT reason $pending"), $reason, "held: $what");
	$decision ||= 'skip';
	$dest->safe_psql($db, "SELECT flo.${decision}_ddl(id) $pending");
	return 1;
}

# --- two clusters --------------------------------------------------------------------------------

$source->safe_psql($db, q{
	CREATE ROLE mallory LOGIN;
	GRANT CREATE ON SCHEMA public TO mallory;
	GRANT CREATE ON DATABASE postgres TO mallory;
	CREATE TABLE mt (id int PRIMARY KEY, v text);
	CREATE TABLE gone (id int PRIMARY KEY);
	CREATE TABLE heir (id int PRIMARY KEY, v text);
	CREATE TABLE root (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE counted (id serial PRIMARY KEY);
	ALTER TABLE counted OWNER TO mallory;
	CREATE TABLE kept (id int PRIMARY KEY, v text);
	CREATE TABLE mover (id int PRIMARY KEY);
	ALTER TABLE kept OWNER TO mallory;
	ALTER TABLE mover OWNER TO mallory;
	CREATE TABLE guarded (id int PRIMARY KEY, v text, w text);
	ALTER TABLE guarded OWNER TO mallory;
	CREATE TABLE hidden (id int PRIMARY KEY, v text);
	ALTER TABLE hidden OWNER TO mallory;
	ALTER TABLE mt OWNER TO mallory; ALTER TABLE gone OWNER TO mallory; ALTER TABLE heir OWNER TO mallory;
	ALTER TABLE root OWNER TO mallory;
	INSERT INTO mt VALUES (1, 'one');
});
$dest->safe_psql($db, q{
	CREATE TABLE mt (id int PRIMARY KEY, v text);
	CREATE TABLE gone (id int PRIMARY KEY);
	CREATE TABLE heir (id int PRIMARY KEY, v text);
	CREATE TABLE root (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE counted (id serial PRIMARY KEY);
	CREATE TABLE kept (id int PRIMARY KEY, v text);
	CREATE TABLE guarded (id int PRIMARY KEY, v text, w text);
	CREATE TABLE mover (id int PRIMARY KEY);
	CREATE TABLE hidden (id int PRIMARY KEY, v text);

	-- what is the administrator's
	CREATE TABLE bills (id int PRIMARY KEY, v text);
	INSERT INTO bills VALUES (1, 'unpaid');
	CREATE INDEX bills_v ON bills (v);
	CREATE STATISTICS bills_s ON id, v FROM bills;
	CREATE TABLE ledger (id int PRIMARY KEY);
	INSERT INTO ledger VALUES (1);
	CREATE TABLE prepared (id int PRIMARY KEY);
	CREATE TABLE books (id int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE SEQUENCE bill_seq;
	CREATE TYPE shade AS ENUM ('light');
	CREATE DOMAIN amount AS int;
	CREATE TABLE paid (a amount);
	CREATE FUNCTION price(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
	CREATE COLLATION plainly FROM "C";
	CREATE SCHEMA vault;
	CREATE TABLE seats (id int PRIMARY KEY, v text);
	INSERT INTO seats VALUES (1, 'taken');
	CREATE TABLE walls (id int, v text);
	INSERT INTO walls VALUES (1, 'wall');
	CREATE TABLE vault.gold (id int PRIMARY KEY);
	CREATE VIEW seen AS SELECT id FROM gone;
	CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER noted BEFORE INSERT ON mt FOR EACH ROW EXECUTE FUNCTION noted();
	ALTER TABLE mt ENABLE ALWAYS TRIGGER noted;
	CREATE RULE noted AS ON DELETE TO mt DO ALSO NOTHING;
	CREATE TABLE bills_kept () INHERITS (kept);
	CREATE POLICY noted ON guarded USING (v = current_user);
	CREATE TRIGGER noted BEFORE UPDATE OF w ON guarded FOR EACH ROW EXECUTE FUNCTION noted();
	CREATE TRIGGER noted_root BEFORE INSERT ON root FOR EACH ROW EXECUTE FUNCTION noted();
	INSERT INTO bills_kept VALUES (7, 'seven');
	CREATE TABLE payments (id int PRIMARY KEY REFERENCES counted);
	CREATE TABLE logs (id int, v text);
	CREATE TABLE logs_1 () INHERITS (logs);
	INSERT INTO logs_1 VALUES (1, 'kept');
	CREATE TABLE books_1 PARTITION OF books FOR VALUES FROM (1) TO (10);
	CREATE COLLATION vault.twice FROM "C";
	CREATE COLLATION public.twice FROM "C";
});
my $own = q{SELECT string_agg(x, E'\n' ORDER BY x) FROM (
	SELECT pg_describe_object(classid, objid, objsubid) || ' ' || deptype::text || ' '
		|| pg_describe_object(refclassid, refobjid, refobjsubid) AS x FROM pg_depend
		WHERE pg_describe_object(classid, objid, objsubid) !~ 'root_9' AND refobjid >= 16384
			AND pg_describe_object(classid, objid, objsubid) ~
			'bill|ledger|books|shade|amount|paid|price|plainly|vault|seen|noted|payments|logs|twice|seats|walls'
	UNION ALL SELECT 'bill ' || id || v FROM bills UNION ALL SELECT 'ledger ' || id FROM ledger
	UNION ALL SELECT 'kept ' || id || v FROM bills_kept UNION ALL SELECT 'seat ' || id || v FROM seats
		UNION ALL SELECT 'log ' || id || v FROM logs_1
	UNION ALL SELECT 'value ' || enumlabel FROM pg_enum UNION ALL SELECT concat(tgrelid::regclass, tgname, tgenabled)
		FROM pg_trigger WHERE (NOT tgisinternal OR tgrelid = 'counted'::regclass)
		AND tgrelid::regclass::text <> 'root_9'
	UNION ALL SELECT concat(rulename, ev_enabled) FROM pg_rewrite WHERE rulename = 'noted'
	UNION ALL SELECT concat(relname, obj_description(oid, 'pg_class')) FROM pg_class
		WHERE obj_description(oid, 'pg_class') IS NOT NULL AND relnamespace <> 'flo'::regnamespace
	UNION ALL SELECT 'next ' || last_value || is_called FROM bill_seq) y};

$source->safe_psql($db,
	q{SELECT flo.create_replicator('g', schemas => '{public}', except_tables => '{hidden}', track_ddl => true);
	SELECT flo.start_group('g')});
$dest->safe_psql($db, q{SELECT flo.create_worker('g'); SELECT flo.start_group('g')});
wait_state($source, 'g', 'replicator', 'streaming');
wait_state($dest, 'g', $db, 'streaming');
my $before = $dest->safe_psql($db, $own);

# --- by name --------------------------------------------------------------------------------------

for my $attack (
	[ 'a table that has rows', q{CREATE TABLE bills (id int PRIMARY KEY, v text)},
		qr/table bills has rows here that are not known to be of the group/ ],
	[ 'attach', q{ALTER TABLE root ATTACH PARTITION bills FOR VALUES FROM (0) TO (10)},
		qr/table bills is not known to be of the group/ ],
	[ 'detach', q{ALTER TABLE root DETACH PARTITION bills}, qr/table bills is not known/ ],
	[ 'a child of it', q{CREATE TABLE child (PRIMARY KEY (id)) INHERITS (bills)}, qr/table bills is not known/ ],
	[ 'inherit', q{ALTER TABLE heir INHERIT bills}, qr/table bills is not known/ ],
	[ 'foreign key', q{ALTER TABLE mt ADD b int REFERENCES bills}, qr/it refers to .*bills.*, which is not known/ ],
	[ 'foreign key of a new table', q{CREATE TABLE owing (id int PRIMARY KEY, b int REFERENCES bills)},
		qr/it refers to .*bills.*, which is not known/ ],
	[ 'a column of it', q{ALTER TABLE bills ADD x int}, qr/table bills is not known/ ],
	[ 'comment', q{COMMENT ON TABLE bills IS 'mine'}, qr/table bills is not known/ ],
	[ 'comment on a column', q{COMMENT ON COLUMN bills.v IS 'mine'}, qr/table bills is not known/ ],
	[ 'index', q{CREATE INDEX ON bills (id, v)}, qr/table bills is not known/ ],
	[ 'index concurrently', q{CREATE INDEX CONCURRENTLY ON bills (v, id)}, qr/table bills is not known/ ],
	[ 'rename', q{ALTER TABLE bills RENAME TO bills2}, qr/table bills is not known/ ],
	[ 'renamed back', q{ALTER TABLE bills2 RENAME TO bills}, qr/table bills is not known/ ],
	[ 'drop', q{DROP TABLE bills CASCADE}, qr/table bills is not known/ ],
	[ 'sequence owned', q{CREATE SEQUENCE bill_seq; ALTER SEQUENCE bill_seq OWNED BY mt.id},
		qr/sequence bill_seq is not known/ ],
	[ 'sequence of a default', q{ALTER TABLE mt ADD n bigint DEFAULT nextval('bill_seq')},
		qr/sequence bill_seq is not known/ ],
	[ 'sequence of another default', q{ALTER TABLE mt ALTER id SET DEFAULT nextval('public.bill_seq')},
		qr/sequence bill_seq is not known/ ],
	[ 'sequence set back', q{ALTER SEQUENCE bill_seq RESTART 1 INCREMENT -1}, qr/sequence bill_seq is not known/ ],
	[ 'a value of a type', q{CREATE TYPE shade AS ENUM ('light'); ALTER TYPE shade ADD VALUE 'dark'},
		qr/type shade is not known/ ],
	[ 'another value', q{ALTER TABLE mt ADD s shade; ALTER TYPE shade RENAME VALUE 'light' TO 'bright'},
		qr/type shade is not known/ ],
	[ 'domain cascade', q{CREATE DOMAIN amount AS int; DROP DOMAIN amount CASCADE}, qr/type amount is not known/ ],
	[ 'a function, which is code', q{CREATE FUNCTION price(int) RETURNS int LANGUAGE sql AS 'SELECT 0'}, qr/code/ ],
	[ 'drop of the function', q{DROP FUNCTION price}, qr/function price\(integer\) is not known/ ],
	[ 'statistics', q{CREATE STATISTICS bills_s ON id, v FROM mt; DROP STATISTICS bills_s},
		qr/statistics object bills_s is not known/ ],
	[ 'trigger', q{CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'}, qr/code/ ],
	[ 'a trigger', q{CREATE TRIGGER noted BEFORE INSERT ON mt FOR EACH ROW EXECUTE FUNCTION noted()}, qr/code/ ],
	[ 'a trigger off', q{ALTER TABLE mt DISABLE TRIGGER noted},
		qr/it changes trigger noted on table mt, which is not known/ ],
	[ 'all triggers off', q{ALTER TABLE mt DISABLE TRIGGER USER},
		qr/it changes trigger noted on table mt, which is not known/ ],
	[ 'drop of a trigger', q{DROP TRIGGER noted ON mt}, qr/trigger noted on table mt is not known/ ],
	[ 'a rule', q{CREATE RULE noted AS ON DELETE TO mt DO ALSO NOTHING}, qr/code/ ],
	[ 'a rule off', q{ALTER TABLE mt DISABLE RULE noted}, qr/it changes rule noted on table mt, which is not known/ ],
	[ 'cascade to a view', q{DROP TABLE gone CASCADE}, qr/it drops .*seen, which is not known/ ],
  )
{
	my ($what, $sql, $reason) = @$attack;
	mallory($sql);
	held($what, $reason) or last;
	is($dest->safe_psql($db, $own), $before, "$what: all is as it was");
}
wait_caught_up($source, $dest, 'g');

# --- a name that is taken: the statement fails, and is given up -----------------------------------

for my $attack (
	[ 'index of that name', q{CREATE INDEX bills_v ON mt (v)}, q{DROP INDEX bills_v}, qr/index bills_v is not known/ ],
	[ 'renamed to it', q{CREATE TABLE other (id int PRIMARY KEY); ALTER TABLE other RENAME TO ledger},
		q{DROP TABLE ledger}, qr/table ledger is not known/ ],
	[ 'made like it', q{CREATE TABLE paid (id int PRIMARY KEY, a text)}, q{ALTER TABLE paid DROP COLUMN a},
		qr/table paid is not known/ ],
  )
{
	my ($what, $sql, $then, $reason) = @$attack;
	mallory($sql);
	wait_state($dest, 'g', $db, 'backoff');
	wait_until($dest, $db,
		q{SELECT flo.skip('g', 'postgres', (regexp_match(last_error, 'transaction at ([0-9A-F/]+)'))[1]::pg_lsn) IS NOT
		NULL FROM flo.status}, "$what: skipped");
	mallory($then);
	held($what, $reason) or last;
	is($dest->safe_psql($db, $own), $before, "$what: all is as it was");
}
wait_caught_up($source, $dest, 'g');

# --- names that come by another way ---------------------------------------------------------------

$source->safe_psql($db, 'CREATE SCHEMA hers AUTHORIZATION mallory; CREATE SCHEMA vault AUTHORIZATION mallory;
	CREATE SCHEMA mal AUTHORIZATION mallory');
for my $attack (
	[ 'moved into the schema', q{CREATE TABLE hers.seats (id int PRIMARY KEY, v text);
		ALTER TABLE hers.seats SET SCHEMA public; ALTER TABLE seats ADD x int}, qr/table seats is not known/ ],
	[ 'dropped after that', q{DROP TABLE seats}, qr/table seats is not known/ ],
	[ 'made while it is explained', q{EXPLAIN ANALYZE CREATE TABLE walls AS SELECT 1 AS id, 'x'::text AS v},
		qr/table walls has rows/ ],
	[ 'dropped after that, too', q{DROP TABLE walls}, qr/table walls is not known/ ],
	[ 'out of the group\'s schemas', q{ALTER TABLE mover SET SCHEMA vault},
		qr/it moves mover to schema "vault", which is none of the group's/ ],
	[ 'an inheriting table', q{ALTER TABLE kept ALTER v TYPE text USING NULL::text}, qr/it changes .*bills_kept/ ],
	[ 'a column of it', q{ALTER TABLE kept ADD more int DEFAULT 1}, qr/it changes .*bills_kept/ ],
	[ 'a parent without rows', q{CREATE TABLE logs (id int, v text)}, qr/table logs has rows here/ ],
	[ 'a partition without rows', q{CREATE TABLE books_1 (id int NOT NULL, PRIMARY KEY (id))},
		qr/table books_1 has rows here/ ],
	[ 'drop of that', q{DROP TABLE books_1}, qr/table books_1 is not known/ ],
	[ 'numbers by text', q{ALTER TABLE mt ADD CHECK (nextval('public.bill_seq'::text) IS NOT NULL)}, qr/nextval\(\)/ ],
	[ 'numbers of a domain', q{CREATE DOMAIN numbered AS bigint DEFAULT nextval('public.bill_seq')},
		qr/sequence bill_seq is not known/ ],
	[ 'numbers of a bound', q{SELECT setval('bill_seq', 400);
		CREATE TABLE bound PARTITION OF root FOR VALUES FROM (nextval('public.bill_seq'::regclass)::int) TO (1000)},
		qr/sequence bill_seq is not known/ ],
	[ 'foreign keys off', q{ALTER TABLE counted DISABLE TRIGGER ALL},
		qr/it changes constraint payments_id_fkey on table payments/ ],
	[ 'a table of another schema, empty', q{CREATE TABLE vault.gold (id int PRIMARY KEY);
		ALTER TABLE counted INHERIT vault.gold}, qr/table vault.gold is not known/ ],
	[ 'a policy by its column', q{ALTER TABLE guarded DROP COLUMN v CASCADE},
		qr/it drops policy noted on table guarded/ ],
	[ 'a trigger by its column', q{ALTER TABLE guarded DROP COLUMN w CASCADE},
		qr/it drops trigger noted on table guarded/ ],
	[ 'a partition\'s copy of a trigger', q{CREATE TABLE root_9 PARTITION OF root FOR VALUES FROM (1900) TO (1999);
		ALTER TABLE root_9 DISABLE TRIGGER USER}, qr/it changes trigger noted_root on table root_9/ ],
	[ 'a table as a type', q{CREATE TYPE hers.ledger AS (id int); SET search_path = hers, public;
		ALTER TABLE public.mt ADD c ledger}, qr/it refers to table ledger/ ],
  )
{
	my ($what, $sql, $reason) = @$attack;
	mallory($sql);
	held($what, $reason) or last;
	is($dest->safe_psql($db, $own), $before, "$what: all is as it was");
}
wait_caught_up($source, $dest, 'g');

# --- what is the group's --------------------------------------------------------------------------

mallory($_) for
  q{CREATE TABLE prepared (id int PRIMARY KEY)}, q{INSERT INTO prepared VALUES (1)},
  q{ALTER TABLE prepared ADD v text DEFAULT 'x'},
  q{CREATE TYPE tint AS ENUM ('a'); CREATE TABLE tinted (id serial PRIMARY KEY, t tint)},
  q{ALTER TYPE tint ADD VALUE 'b'}, q{ALTER SEQUENCE tinted_id_seq INCREMENT 2},
  q{INSERT INTO tinted (t) VALUES ('a'), ('b')}, q{ALTER SEQUENCE counted_id_seq CACHE 2;
	INSERT INTO counted DEFAULT VALUES},
  q{CREATE TABLE part PARTITION OF root FOR VALUES FROM (100) TO (200); CREATE TABLE lone (id int PRIMARY KEY, v text);
	ALTER TABLE root ATTACH PARTITION lone FOR VALUES FROM (200) TO (300)},
  q{INSERT INTO root VALUES (150, 'part'), (250, 'lone'); ALTER TABLE root ADD w int; CREATE INDEX root_w ON root (w);
	ALTER TABLE root DETACH PARTITION part; DROP TABLE part},
  q{CREATE TABLE keys (id int PRIMARY KEY REFERENCES mt); ALTER TABLE keys RENAME TO keyring; DROP TABLE keyring},
  q{DROP INDEX root_w}, q{ALTER TABLE tinted ALTER id TYPE bigint, ALTER t TYPE text};
# what is copied again is emptied, and nothing else
mallory(q{CREATE TABLE rr (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE TABLE rr_1 PARTITION OF rr FOR VALUES FROM (0) TO (100);
	CREATE TABLE rl (id int NOT NULL, v text, PRIMARY KEY (id)); INSERT INTO rr VALUES (5, 'keep');
	INSERT INTO rl VALUES (205, 'l')});
mallory(q{CREATE TYPE span AS RANGE (subtype = int); CREATE DOMAIN named AS text CONSTRAINT c CHECK (VALUE <> '');
	COMMENT ON CONSTRAINT c ON DOMAIN named IS 'c'; DROP TYPE span});
wait_caught_up($source, $dest, 'g');
$source->safe_psql($db, q{SELECT flo.resync('g', 'rl'); ALTER TABLE rr ATTACH PARTITION rl FOR VALUES }
	  . q{FROM (200) TO (300)});
wait_until($source, $db, 'SELECT count(*) = 0 FROM flo.copy_requests', 'the copy of rl');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'rr');

wait_until($dest, $db, q{SELECT (SELECT durable_lsn FROM flo.status) >= '}
	  . $source->safe_psql($db, 'SELECT pg_current_wal_lsn()') . q{' OR EXISTS (SELECT FROM flo.pending_ddl)},
	'own objects');
is($dest->safe_psql($db, q{SELECT string_agg(command || ': ' || reason, E'\n') FROM flo.pending_ddl}), '',
	'nothing of its own is held');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_) for qw(prepared tinted root counted);
is($dest->safe_psql($db, q{SELECT count(*) FROM flo.group_objects
	WHERE pg_describe_object(class_oid, object_oid, 0) ~ 'index|constraint|\[\]'}), 0,
	'parts of objects are not listed one by one');

# a person's word for a statement is one for what it is about
mallory(q{ALTER TYPE shade ADD VALUE 'dim'});
held('a value', qr/type shade is not known/, 'release');
mallory(q{ALTER TYPE shade ADD VALUE 'dull'});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql($db, q{SELECT enum_range(NULL::shade)}), '{light,dim,dull}',
	'what has been released once is the group\'s');

# --- a table list ---------------------------------------------------------------------------------

$_->safe_psql($db, q{CREATE SCHEMA listed; CREATE TABLE listed.t (id int PRIMARY KEY, v text);
	CREATE TABLE listed.books (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id)}) for $source, $dest;
$source->safe_psql($db, q{ALTER TABLE listed.t OWNER TO mallory; ALTER TABLE listed.books OWNER TO mallory;
	GRANT ALL ON SCHEMA listed TO mallory;
	SELECT flo.create_replicator('h', tables => '{listed.t}', track_ddl => true); SELECT flo.start_group('h')});
$dest->safe_psql($db, q{SELECT flo.create_worker('h'); SELECT flo.start_group('h')});
wait_state($source, 'h', 'replicator', 'streaming');
wait_state($dest, 'h', $db, 'streaming');
$pending =~ s/'g'/'h'/;
mallory(q{ALTER TABLE listed.books ATTACH PARTITION listed.t FOR VALUES FROM (0) TO (10)});
held('attached to a table that is not of the group', qr/table listed.books is not known/);
mallory(q{ALTER TABLE listed.books DETACH PARTITION listed.t});
held('detached from it', qr/table listed.books is not known/);
is($dest->safe_psql($db, q{SELECT count(*) FROM pg_inherits WHERE inhparent = 'listed.books'::regclass}), 0,
	'it is no partition of that');

$_->stop('fast') for $source, $dest;
done_testing();
