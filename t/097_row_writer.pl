# Rows that the source writes without pgoutput are what pgoutput would write: with
# pg_flo.row_writer = check it writes them both ways, and an error ends it where they
# differ.  Here: which tables it does so for, and what changes in the midst; random
# tables of random types.  020, 021, 022, 024, 026, 033 and 034 run so as well.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloMatrix;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{FLO_SEED} || time ^ $$;
srand($seed);
note("FLO_SEED=$seed");

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\n";
my $source = flo_node('source', $nats,
	conf => $conf . "pg_flo.row_writer = check\nlogical_decoding_work_mem = '64kB'\nmax_locks_per_transaction = 256\n");
my $dest = flo_node('dest', $nats, conf => $conf . "max_locks_per_transaction = 256\n");
my $m = FloMatrix->new($source, $dest, 'g');

# --- what changes in the midst ---------------------------------------------------------------

my $three = join(';', map { "INSERT INTO t VALUES ($_, 'v$_')" } 1 .. 3);

# Old rows that are shorter than the table, and have columns that are gone
$m->case('columns', ddl => q{CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY FULL},
	steps => [
		$three,
		q{ALTER TABLE t ADD d text DEFAULT 'missing', ADD n numeric(10,2) DEFAULT 1.50;
			UPDATE t SET v = 'u1' WHERE id = 1; UPDATE t SET v = 'u2' WHERE id = 2; DELETE FROM t WHERE id = 3;
			INSERT INTO t VALUES (4, 'x', NULL, 0), (5, 'y', 'd', -1234567.891), (6, NULL, NULL, 'NaN')},
		q{ALTER TABLE t DROP d; UPDATE t SET v = 'u4'; UPDATE t SET v = 'u5'; DELETE FROM t WHERE id > 3},
		q{BEGIN; ALTER TABLE t ADD e int DEFAULT 7; UPDATE t SET v = 'u6'; UPDATE t SET v = 'u7';
			ALTER TABLE t ALTER n TYPE text, DROP e; INSERT INTO t VALUES (7, 'a', 'b'), (8, 'c', 'd'); COMMIT},
	],
	dest => 'ALTER TABLE t ADD d text, ADD n text, ADD e int', columns => q{id, v, to_jsonb(t)->>'n'});
$m->case('identities', ddl => q{CREATE TABLE t (id int PRIMARY KEY, u text NOT NULL UNIQUE, v text)},
	steps => [
		q{INSERT INTO t SELECT i, i::text, repeat(i::text, 3000) FROM generate_series(1, 6) i},
		q{UPDATE t SET v = 'a' WHERE id < 3; UPDATE t SET id = id + 10 WHERE id < 3},
		q{BEGIN; ALTER TABLE t REPLICA IDENTITY USING INDEX t_u_key; UPDATE t SET u = u || 'x' WHERE id > 3;
			DELETE FROM t WHERE id > 11; ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET v = v || 'f';
			UPDATE t SET u = u || 'f'; DELETE FROM t WHERE id = 4; DELETE FROM t WHERE id = 5;
			ALTER TABLE t REPLICA IDENTITY DEFAULT; UPDATE t SET id = id + 100; COMMIT},
	]);
# Values kept elsewhere: unchanged, changed, compressed, in the old row
$m->case('toast', ddl => q{CREATE TABLE t (id int PRIMARY KEY, a text, b bytea, c numeric, d jsonb, n int);
		CREATE TABLE f (id int, a text, b bytea, c numeric, d jsonb, n int); ALTER TABLE f REPLICA IDENTITY FULL;
		ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
			ALTER TABLE f ALTER a SET STORAGE EXTERNAL},
	tables => [qw(t f)],
	steps => [
		map { my $t = $_; (
			qq{INSERT INTO $t SELECT i, repeat(md5(i::text), 100), convert_to(repeat(md5(i::text), 120), 'UTF8'),
				repeat('9', 9000 * i)::numeric, jsonb_build_object('k', repeat('x', 5000 * i)), i
				FROM generate_series(1, 4) i},
			qq{UPDATE $t SET n = n + 1; UPDATE $t SET a = 'short' WHERE id = 1; UPDATE $t SET b = '\\x00' WHERE id = 2;
				UPDATE $t SET c = -c, d = NULL; UPDATE $t SET a = repeat('z', 200000)},
			qq{DELETE FROM $t WHERE id < 4}) } qw(t f) ]);
# Types that are others when they are looked at again
$m->case('types', ddl => q{CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b text);
		CREATE DOMAIN dom AS int CHECK (VALUE > 0);
		CREATE TABLE t (id int PRIMARY KEY, m mood, ms mood[], p pair, d dom, ds dom[], r int4range, z timestamptz,
			w real,
			b bool, s smallint, l bigint, j json, x xml, y bytea, u uuid, c char(4), n name, i interval, g date)},
	steps => [
		q{INSERT INTO t VALUES (1, 'sad', '{ok,sad}', '(1,"x y")', 3, '{1,2}', '[1,2)', '2024-01-01 00:00+02', 1.5,
			true, -1,
			-9223372036854775808, '{"a" : 1}', '<a/>', '\x00ff', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'ab', 'n',
				'1 day', 'infinity');
			INSERT INTO t SELECT 2, m, ms, p, d, ds, r, z, w, NOT b, s, 0, j, x, y, u, c, n, i, g FROM t},
		q{BEGIN; ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'; ALTER TYPE pair ADD ATTRIBUTE c int;
			UPDATE t SET id = id + 10;
			UPDATE t SET p = ROW(2, 'y', 3); ALTER DOMAIN dom DROP CONSTRAINT dom_check; UPDATE t SET d = -1; COMMIT},
	],
	dest => q{ALTER TABLE t ALTER m TYPE text, ALTER ms TYPE text[], ALTER p TYPE text;
		ALTER DOMAIN dom DROP CONSTRAINT dom_check}, columns => q{id, m::text, ms::text, p::text, d, ds, r, z, w, b,
			s, l,
		j::text, x::text, y, u, c, n, i, g});
# Pieces of transactions in progress, with what is undone, and tables that change in them
$m->case('pieces', ddl => q{CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE o (id int PRIMARY KEY, v text)},
	tables => [qw(t o)],
	steps => [
		q{INSERT INTO t VALUES (-1, 'a'), (-2, 'b'); INSERT INTO o VALUES (-1, 'a'), (-2, 'b')},
		q{BEGIN; INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 2000) i; SAVEPOINT a;
			INSERT INTO o SELECT i, repeat('y', 100) FROM generate_series(1, 2000) i; UPDATE t SET v = 'gone';
			ROLLBACK TO a; ALTER TABLE t ADD w int DEFAULT 5; UPDATE t SET v = 'kept'; SAVEPOINT b;
			DELETE FROM t WHERE id % 3 = 0; RELEASE b; INSERT INTO o SELECT id, v FROM t WHERE id > 0; COMMIT},
		q{BEGIN; UPDATE t SET w = id; ALTER TABLE t DROP w; UPDATE o SET v = id::text; COMMIT},
		q{UPDATE t SET v = 'one'; DELETE FROM o WHERE id % 2 = 0},
	], dest => 'ALTER TABLE t ADD w int', columns => 'id, v');
# Of these pgoutput alone knows what to send
$m->case('others', ddl => q{CREATE TABLE filtered (id int PRIMARY KEY, v int);
	CREATE TABLE listed (id int PRIMARY KEY, v int, w int);
		CREATE TABLE root (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
		CREATE TABLE part PARTITION OF root FOR VALUES IN (1); CREATE TABLE gen (id int PRIMARY KEY, g int)},
	source => q{ALTER TABLE gen DROP g; ALTER TABLE gen ADD g int GENERATED ALWAYS AS (id + 1) STORED},
	tables => [ 'SELECT id, v FROM others.filtered WHERE v > 0', 'SELECT id, w FROM others.listed',
		'SELECT id, k FROM others.root', 'SELECT id FROM others.gen' ], steps => [
		q{INSERT INTO filtered VALUES (1, 1), (2, 2), (3, 3); INSERT INTO listed VALUES (1, 1, 1), (2, 2, 2)},
		q{BEGIN; ALTER PUBLICATION pgflo_g DROP TABLE filtered, listed;
			ALTER PUBLICATION pgflo_g ADD TABLE filtered WHERE (v > 0), listed (id, w); COMMIT},
		q{ALTER TABLE filtered REPLICA IDENTITY FULL; INSERT INTO filtered VALUES (4, 4), (5, -5), (6, 6);
			UPDATE filtered SET v = -v; UPDATE filtered SET v = 9 WHERE id < 3; DELETE FROM filtered WHERE id = 2;
			INSERT INTO listed VALUES (3, 3, 3), (4, 4, 4); UPDATE listed SET w = 0, v = 0; DELETE
				FROM listed WHERE id = 1},
		q{INSERT INTO root VALUES (1, 1), (2, 1), (3, 1); UPDATE root SET id = id + 10; DELETE FROM part WHERE id = 11;
			INSERT INTO gen VALUES (1), (2), (3); UPDATE gen SET id = id + 10; DELETE FROM gen WHERE id = 11},
		q{BEGIN; ALTER PUBLICATION pgflo_g DROP TABLE listed; ALTER PUBLICATION pgflo_g ADD TABLE listed; COMMIT;
			INSERT INTO listed VALUES (5, 5, 5), (6, 6, 6); UPDATE listed SET w = 1 WHERE id > 4},
	]);

# --- random tables -----------------------------------------------------------------------------

# How a value of the type is made of a random number r
my %types = (
	bool => 'r > .5',
	'"char"' => 'chr(33 + (r * 90)::int)',
	int2 => '(r * 65535 - 32768)::int',
	int4 => '(r * 4e9 - 2e9)::int8',
	int8 => '((r - .5) * 1e18)::int8',
	float4 => '(r - .5) * 1e10',
	float8 => q{CASE WHEN r < .1 THEN 'NaN' ELSE r * 1e100 END},
	numeric => q{CASE WHEN r < .05 THEN 'NaN' WHEN r < .1 THEN '-Infinity'
		WHEN r < .4 THEN trunc((r - .25)::numeric * 1e9)
		WHEN r < .6 THEN r::numeric * power(10::numeric, (r * 300)::int - 200)
		WHEN r < .7 THEN 0.000 ELSE -r::numeric END},
	'numeric(12,3)' => '(r - .5) * 1e8',
	money => '(r * 1e6)::numeric::money',
	text => q{repeat(md5(r::text), (r * r * 120)::int)},
	varchar => q{repeat(chr(8364), (r * 20)::int)},
	'varchar(20)' => 'left(md5(r::text), (r * 20)::int)',
	bpchar => q{repeat(' ', (r * 9)::int) || 'x '},
	'char(12)' => 'left(md5(r::text), (r * 12)::int)',
	name => 'md5(r::text)',
	bytea => q{decode(repeat(md5(r::text), (r * 90)::int), 'hex')},
	date => q{'2000-01-01'::date + (r * 100000 - 50000)::int},
	time => q{'00:00'::time + r * interval '23 hours'},
	timetz => q{'00:00+05'::timetz + r * interval '23 hours'},
	timestamp => q{'2000-01-01'::timestamp + (r - .5) * interval '5000 years'},
	timestamptz => q{CASE WHEN r < .1 THEN 'infinity' ELSE '2000-01-01'::timestamptz + r * interval '5000 years' END},
	interval => q{(r - .5) * interval '100 years 7 days'},
	uuid => 'md5(r::text)::uuid',
	json => 'to_json(md5(r::text))',
	jsonb => q{jsonb_build_object('a', r, 'b', repeat('z', (r * 3000)::int))},
	inet => q{'10.0.0.0/8'::inet + (r * 1e6)::int},
	macaddr => q{left(md5(r::text), 12)::macaddr},
	bit => q{(r > .5)::int::bit},
	varbit => '(r * 1e9)::int::bit(31)::varbit',
	pg_lsn => q{(to_hex((r * 1e9)::int) || '/0')::pg_lsn},
	xid8 => '(r * 1e9)::int::text::xid8',
	oid => '(r * 1e9)::int',
	point => 'point(r, -r)',
	'int4[]' => 'ARRAY[(r * 1e9)::int, NULL, 1]',
	'text[]' => q{ARRAY['a', NULL, md5(r::text)]},
	'numeric[]' => 'ARRAY[r::numeric]',
	int4range => 'int4range((r * 100)::int, 200)',
	tsvector => 'to_tsvector(md5(r::text))',
	xml => q{xmlelement(name a, r)},
	'fuzz.mood' => q{(ARRAY['sad', 'ok'])[1 + (r > .5)::int]::fuzz.mood},
	'fuzz.pair' => q{ROW((r * 100)::int, md5(r::text))::fuzz.pair},
	'fuzz.dom' => 'r::numeric * 100',
	'fuzz.words' => 'ARRAY[md5(r::text)]');

sub one { return $_[int(rand(@_))]; }

my (@ddl, @fill, @change, @tables);
for my $n (1 .. ($ENV{FLO_FUZZ_TABLES} || 25))
{
	# those without types of users travel in binary
	my @names = grep { $n % 3 || !/^fuzz/ } sort keys %types;
	my @columns = map { one(@names) } 0 .. int(rand(12));
	my $value = sub { my ($type) = @_;
		return "(SELECT CASE WHEN r < .08 THEN NULL ELSE ($types{$type})::$type END
			FROM (SELECT random() AS r WHERE i IS NOT NULL) q)" };
	my $key = one('PRIMARY KEY', 'PRIMARY KEY', 'NOT NULL');
	my $t = "fuzz.t$n";

	push @tables, "t$n";
	push @ddl, "CREATE TABLE $t (" . join(', ', "i int $key", map { "c$_ $columns[$_]" } 0 .. $#columns) . ')';
	push @ddl, "ALTER TABLE $t REPLICA IDENTITY FULL" if $key eq 'NOT NULL' || rand() < .3;
	push @ddl, "ALTER TABLE $t ALTER c$_ SET STORAGE EXTERNAL" for
		grep { $columns[$_] =~ /^(text|bytea|jsonb)$/ && rand() < .5 } 0 .. $#columns;
	push @fill, "INSERT INTO $t SELECT i, " . join(', ', map { $value->($_) } @columns)
	  . ' FROM generate_series(1, 15) i';
	my $some = "UPDATE $t SET " . join(', ', map { "c$_ = " . $value->($columns[$_]) }
		grep { rand() < .4 || $_ == 0 } 0 .. $#columns);
	push @change, "$some WHERE i % 2 = 0; $some WHERE i % 3 = 0; UPDATE $t SET i = i + 100 WHERE i < 4;"
	  . "DELETE FROM $t WHERE i > 11;"
	  . "INSERT INTO $t SELECT i, " . join(', ', map { $value->($_) } @columns) . ' FROM generate_series(200, 204) i';
}
$m->case('fuzz', ddl => q{CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b text);
	CREATE DOMAIN dom AS numeric;
	CREATE DOMAIN words AS text[];} . join(';', @ddl), tables => \@tables,
	steps => [ join(';', @fill), join(';', @change), 'BEGIN;' . join(';', @change) . ';COMMIT' ]);

$m->run;
$m->finish;

my $log = slurp_file($source->logfile);
my %seen = map { $_ => 1 } $log =~ /rows of table "(\w+)" are compared/g;
ok($seen{$_}, "$_: written without pgoutput") for qw(t f o gen), map { "t$_" } 1 .. @tables;
ok(!$seen{$_}, "$_: left to pgoutput") for qw(part root);
ok($log !~ /otherwise than|does not send/, 'and always as by pgoutput');

# Without it nothing is another
$source->append_conf('postgresql.conf', "pg_flo.row_writer = on\n");
$source->reload;
$source->safe_psql('postgres', q{BEGIN; SET search_path = columns; INSERT INTO t SELECT i, 'on'
	FROM generate_series(100, 200) i;
	UPDATE t SET v = v || '!'; DELETE FROM t WHERE id = 150; COMMIT; UPDATE columns.t SET v = v || '?'});
wait_caught_up($source, $dest, 'g');
is($_->safe_psql('postgres', q{SELECT count(*), min(v) FROM columns.t WHERE id >= 100}), '100|on!?',
	'written by it alone') for $source, $dest;

done_testing();
