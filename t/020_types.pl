# Every type, by construction: each built-in one and its arrays in binary and
# in text, found by key and found by value; user-defined ones whose OIDs differ
# between the clusters; extensions' types; values far beyond max_payload.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloMatrix;
use FloTest;
use FloValues;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker', conf => 'max_payload: 1048576');
my $conf = "pg_flo.restart_interval = '300ms'\nmax_locks_per_transaction = 512\n";
my $source = flo_node('source', $nats, conf => "${conf}pg_flo.row_writer = check\n");
my $dest = flo_node('dest', $nats, conf => $conf);

# Whatever has an OID of its own gets another one at the destination
$dest->safe_psql('postgres', q{
	CREATE SCHEMA junk;
	DO $$ BEGIN FOR i IN 1..25 LOOP
		EXECUTE format('CREATE TYPE junk.e%s AS ENUM (''x''); CREATE TYPE junk.c%1$s AS (a int)', i);
	END LOOP; END $$;
	CREATE ROLE junk;
	CREATE SCHEMA ext;
});
# ... and extensions another schema
$source->safe_psql('postgres', 'CREATE EXTENSION ' . $_) for qw(hstore citext ltree cube intarray isn);
$dest->safe_psql('postgres', "CREATE EXTENSION $_ SCHEMA ext") for reverse qw(hstore citext ltree cube intarray isn);

# --- built-in types ----------------------------------------------------------------------

my %values = builtin_values($source);
# No value of these can be written in SQL; the server has no input for them
my %without_input = map { $_ => 1 } qw(pg_node_tree pg_ndistinct pg_dependencies pg_mcv_list
  pg_brin_bloom_summary pg_brin_minmax_multi_summary gtsvector);

my %known = map { my $t = $_; $t =~ s/"//g; $t => 1 } keys %values;
is($source->safe_psql('postgres', q{
		SELECT string_agg(t.typname, ' ' ORDER BY 1) FROM pg_type t
		 WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
		   AND NOT EXISTS (SELECT FROM pg_type x WHERE x.typarray = t.oid)
		   AND t.typname <> ALL ('\{} . join(',', map { "\"$_\"" } keys %known, keys %without_input) . q{\}')}),
	'', 'there are values for every built-in type');

$_->safe_psql('postgres', q{CREATE TABLE public.own (a int PRIMARY KEY);
	CREATE TABLE public."Own ""two" (a int PRIMARY KEY)})
  for $source, $dest;
$dest->safe_psql('postgres', q{
	CREATE DOMAIN public.hstore AS int;
	CREATE FUNCTION public.hstore_in(cstring) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
	CREATE FUNCTION public.q(public.hstore, text) RETURNS bool LANGUAGE sql AS 'SELECT true';
	CREATE OPERATOR public.? (FUNCTION = public.q, LEFTARG = public.hstore, RIGHTARG = text);
});

my $m = FloMatrix->new($source, $dest, 'g');

for my $type (sort keys %values)
{
	my @v = @{ $values{$type} };
	my ($n, $name) = (scalar @v, $type);
	$name =~ s/"//g;

	# early minor releases of 15 and 16 make no arrays of these by ARRAY[]
	my ($text, $list) = $type =~ /^(?:int2|oid)vector$/ ? ('::text', "::$type\[]") : ('', '');
	my $array = sub { "ARRAY[$_[0]::$type$text, NULL, $v[0]::$type$text]$list" };
	my $rows = join(', ', map { "($_, $v[$_ - 1]::$type, " . $array->($v[$_ - 1]) . ')' } 1 .. $n);
	my $values = join(', ', map { "($v[$_ - 1]::$type, " . $array->($v[$_ - 1]) . ')' } 1 .. $n);

	$m->case("type $name",
		tables => [qw(b x f)],
		# b travels in binary; x in text, for the sake of m; f is found by value
		ddl => qq{CREATE TYPE m AS ENUM ('a', 'b');
			CREATE TABLE b (id int PRIMARY KEY, v $type, a $type\[]);
			CREATE TABLE x (id int PRIMARY KEY, v $type, a $type\[], m m);
			CREATE TABLE f (v $type, a $type\[]); ALTER TABLE f REPLICA IDENTITY FULL},
		steps => [
			qq{INSERT INTO b VALUES $rows, (100, NULL, NULL), (101, NULL, '{}'),
				(102, NULL, ARRAY[NULL, NULL]::$type\[]);
			INSERT INTO x SELECT *, 'b' FROM b;
			INSERT INTO f VALUES $values, $values, (NULL, NULL), (NULL, NULL)},
			qq{UPDATE b SET v = (SELECT v FROM b o WHERE o.id = b.id % $n + 1), a = array_append(a, v);
			UPDATE x SET v = (SELECT v FROM x o WHERE o.id = x.id % $n + 1), m = 'a';
			UPDATE f SET a = array_append(a, $v[0]::$type) WHERE ctid IN ('(0,1)', '(0,2)')},
			q{DELETE FROM b WHERE id IN (1, 100); DELETE FROM x WHERE id IN (1, 100);
			DELETE FROM f WHERE ctid IN (SELECT min(ctid) FROM f UNION ALL SELECT max(ctid) FROM f)},
		]);
}

# --- user-defined types --------------------------------------------------------------------

my $types = q{
	CREATE TYPE mood AS ENUM ('sad', 'ok', 'Happy "day", yes');
	CREATE DOMAIN posint AS int CHECK (VALUE > 0);
	CREATE DOMAIN email AS text NOT NULL CHECK (VALUE LIKE '%@%');
	CREATE DOMAIN moods AS mood[] CHECK (array_length(VALUE, 1) < 5);
	CREATE TYPE address AS (street text, mood mood, numbers int[]);
	CREATE TYPE nested AS (a address, aa address[], d posint, r int4range);
	CREATE DOMAIN home AS address CHECK ((VALUE).street <> '-');
	CREATE TYPE floats AS RANGE (SUBTYPE = float8);
	CREATE TYPE moodrange AS RANGE (SUBTYPE = mood);
	CREATE TYPE "Odd ""type" AS ENUM ('', 'x''y');
	CREATE TYPE shrunk AS (a int, b text, c int); ALTER TYPE shrunk DROP ATTRIBUTE b;
};
$m->case('user types',
	ddl => $types . q{CREATE TABLE t (id int PRIMARY KEY, m mood, ms mood[], p posint, ps posint[], e email, mm moods,
		a address, aa address[], n nested, h home, r floats, rr floats[], mr floats_multirange, mo moodrange,
			o "Odd ""type", s shrunk)},
	steps => [
		q{INSERT INTO t VALUES
			(1, 'Happy "day", yes', '{sad,"Happy \"day\", yes",NULL}', 5, '{1,NULL,2}', 'a@b', '{sad,ok}',
				'("a, ""q""",ok,"{1,2}")',
			 '{"(x,sad,)",NULL,"(,,)"}', ROW('(a,ok,)'::address, ARRAY['("b c",,{})'::address, NULL], 3, '[1,5)'),
				'(home,ok,)', '[1.5,2)',
			 '{"[1,2)",empty}', '{[1,2),(3,)}', '[sad,ok]', '', '(1,2)'),
			(2, NULL, NULL, NULL, NULL, '@', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
			(3, 'sad', '[0:1][2:3]={{sad,ok},{NULL,sad}}', 1, '{}', '@', '{}', '(,,)', '{}', '(,,,)', '("",,)', 'empty',
				'{}', '{}', '(,)', 'x''y', '(,)')},
		q{UPDATE t SET m = 'ok', ms = ms || 'sad'::mood, n.d = 9, a.street = E'tab\there\\\\' WHERE id <> 3;
			UPDATE t SET id = 30 WHERE id = 3},
		q{DELETE FROM t WHERE id = 1},
	]);
$m->case('enum key',
	ddl => q{CREATE TYPE mood AS ENUM ('sad', 'ok', 'three');
		CREATE TABLE t (m mood, d int4range, v text, PRIMARY KEY (m, d))},
	dest => q{DROP TABLE t; CREATE TYPE other AS ENUM ('z'); DROP TYPE mood;
		CREATE TYPE mood AS ENUM ('three', 'sad', 'ok');
		CREATE TABLE t (v text, d int4range, m mood, PRIMARY KEY (d, m))},
	columns => 'm, d, v',
	steps => [ q{INSERT INTO t VALUES ('sad', '[1,2)', 'a'), ('ok', 'empty', 'b'), ('three', '(,)', NULL)},
		q{UPDATE t SET v = 'c' WHERE m = 'sad'; UPDATE t SET m = 'three' WHERE m = 'ok'},
		q{DELETE FROM t WHERE d = '(,)'} ]);
$m->case('enum by another order',
	ddl => q{CREATE TYPE e AS ENUM ('a', 'b'); ALTER TYPE e ADD VALUE 'c' BEFORE 'a'; CREATE TABLE t (e e, es e[]);
		ALTER TABLE t REPLICA IDENTITY FULL},
	dest => q{DROP TABLE t; DROP TYPE e; CREATE TYPE e AS ENUM ('a', 'b', 'c', 'more'); CREATE TABLE t (e e, es e[])},
	steps => [ q{INSERT INTO t SELECT 'c', '{a,b,c}' FROM generate_series(1, 3)},
		q{UPDATE t SET e = 'b' WHERE ctid = '(0,2)'},
		q{DELETE FROM t WHERE e = 'c'} ]);
# Types of initdb's own making have OIDs that differ between major versions
$m->case('types of information_schema',
	ddl => q{CREATE TABLE t (id int PRIMARY KEY, i information_schema.sql_identifier,
		c information_schema.cardinal_number,
		a information_schema.sql_identifier[], r pg_namespace, y information_schema.yes_or_no)},
	steps => [ q{INSERT INTO t VALUES (1, 'x', 5, '{a,b}', ROW(11, 'n', 10, NULL), 'YES')}, q{UPDATE t SET c = 6},
		q{DELETE FROM t} ]);
$m->case('extensions',
	ddl => q{SET search_path = extensions, ext, public;
		CREATE TABLE t (id int PRIMARY KEY, h hstore, hs hstore[], c citext, l ltree, ls ltree[], q lquery, k cube,
			i isbn, f query_int);
		CREATE TABLE u (c citext, l ltree, k cube, PRIMARY KEY (c, l));
		CREATE TABLE f (h hstore, c citext, k cube); ALTER TABLE f REPLICA IDENTITY FULL;},
	tables => [qw(t u f)],
	steps => [
		q{INSERT INTO t VALUES (1, 'a=>1, b=>NULL, "c d"=>"x\\"y"', ARRAY[''::hstore, NULL, 'k=>v'], 'CiText',
			'a.b.C_1', '{a.b,""}', '*.x|y{1,}', '(1,2),(3,4)', '978-0-393-04002-9', '1&(2|3)'),
			(2, '', '{}', '', '', '{}', '*', '0', NULL, NULL);
		INSERT INTO u VALUES ('Key', 'a.b', '(1)'), ('other', '', '(1,2)');
		INSERT INTO f VALUES ('a=>1', 'X', '(1)'), ('a=>1', 'x', '(1)'), ('a=>1', 'X', '(1)'), (NULL, NULL, NULL)},
		q{UPDATE t SET h = h || 'n=>w', c = upper(c), l = l || 'z' WHERE id = 1;
		UPDATE u SET c = 'KEY', k = '(9)' WHERE c = 'key'; UPDATE u SET l = 'q' WHERE c = 'other';
		UPDATE f SET h = NULL WHERE ctid = '(0,2)'},
		q{DELETE FROM t WHERE id = 2; DELETE FROM u WHERE c = 'KEY'; DELETE FROM f WHERE ctid IN ('(0,1)', '(0,4)')},
	]);
$m->case('arrays',
	ddl => q{CREATE TABLE t (id int PRIMARY KEY, a int[], b text[], c text[][], d json[], e bytea[], f numeric(5,2)[], }
	  . q{g varchar(3)[], h timestamptz[], p point[], bb bit(3)[])},
	steps => [
		q{INSERT INTO t VALUES
			(1, '{}', '{"",NULL,"NULL"," a ","a,b","q\"q","b\\\\s","{}"}', '[-1:0][5:6]={{a,b},{c,NULL}}',
				'{"{\"a\": [1]}","null"}', '{"\\\\x00ff",""}',
			 '{1.5,NULL,NaN}', '{abc,""}', '{infinity,-infinity,"2024-01-01 00:00+05"}', '{"(1,2)"}', '{101,NULL}'),
			(2, '[2:4]={1,NULL,3}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
			(3, '{{{1,2},{3,4}},{{5,6},{7,NULL}}}', E'{"new\nline","tab\t"}', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
				NULL)},
		q{UPDATE t SET a[7] = 1, b[-2] = 'low' WHERE id = 2;
			UPDATE t SET c = NULL, b = b || 'é€'::text WHERE id = 1},
		q{DELETE FROM t WHERE id = 3},
	]);
$m->case('empty and null',
	ddl => q{CREATE TABLE t (id int PRIMARY KEY, a text, b bytea, c varchar, d bpchar, e text[], f "char", g json);
		CREATE TABLE f (a text, b bytea, c bpchar); ALTER TABLE f REPLICA IDENTITY FULL},
	tables => [qw(t f)],
	steps => [ q{INSERT INTO t VALUES (1, '', '', '', '', '{}', '', '""'),
		(2, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
			INSERT INTO f VALUES ('', '', ''), (NULL, NULL, NULL), ('', NULL, NULL), (NULL, '', NULL)},
		q{UPDATE t SET a = NULL, b = NULL WHERE id = 1; UPDATE t SET a = '', b = '' WHERE id = 2;
			UPDATE f SET a = 'x' WHERE a = '' AND b IS NULL},
		q{DELETE FROM f WHERE a IS NULL AND b = ''; DELETE FROM f WHERE a IS NULL AND b IS NULL} ]);

# --- values beyond a NATS message --------------------------------------------------------------

$m->case('1, 9 and 40 MB',
	ddl => q{CREATE TYPE m AS ENUM ('a');
		CREATE TABLE t (id int PRIMARY KEY, v bytea, small int); ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
		CREATE TABLE x (id int PRIMARY KEY, v text, j jsonb, m m);
		CREATE TABLE f (v text, n int); ALTER TABLE f REPLICA IDENTITY FULL;
		ALTER TABLE f ALTER v SET STORAGE EXTERNAL},
	tables => [ 'SELECT id, md5(v), length(v), small FROM "1, 9 and 40 MB".t',
		'SELECT id, md5(v), length(v), md5(j::text), m FROM "1, 9 and 40 MB".x',
		'SELECT md5(v), length(v), n FROM "1, 9 and 40 MB".f' ],
	steps => [
		q{INSERT INTO t SELECT mb, decode(repeat(md5(mb::text), mb * 32768), 'hex')
			|| decode(repeat('00ff', mb * 256 * 1024), 'hex'), 0 FROM unnest('{1,9,40}'::int[]) mb;
		INSERT INTO x SELECT mb, repeat(md5(mb::text), mb * 32768),
			jsonb_build_object('k', repeat('j', mb * 1024 * 1024)), 'a' FROM unnest('{1,9,40}'::int[]) mb;
		INSERT INTO f SELECT repeat(md5(mb::text), mb * 32768), mb FROM unnest('{1,9,9}'::int[]) mb},
		q{UPDATE t SET small = 1; UPDATE t SET id = id + 100 WHERE id = 9;
			UPDATE x SET v = v || 'end', j = NULL WHERE id = 40;
		UPDATE f SET n = 0 WHERE ctid = '(0,2)'; UPDATE f SET v = v || 'x' WHERE n = 1},
		q{DELETE FROM t WHERE id = 40; DELETE FROM f WHERE n = 9},
	]);

$m->run;
cmp_ok($source->safe_psql('postgres', q{SELECT '"user types".mood'::regtype::oid}), '!=',
	$dest->safe_psql('postgres', q{SELECT '"user types".mood'::regtype::oid}),
	'the types have other OIDs at the destination');

# --- not carried -------------------------------------------------------------------------------

# Nothing can read these back, not even pg_dump
$m->refused('parsed expressions',
	ddl => 'CREATE TABLE t (id int PRIMARY KEY, v pg_node_tree)',
	change => q{INSERT INTO t SELECT 1, adbin FROM pg_attrdef LIMIT 1},
	error => qr/cannot accept a value of type pg_node_tree.*column "v"/,
	fix => q{ALTER TABLE t ALTER v TYPE text}, columns => 'id, v::text');
$m->refused('enum value missing',
	ddl => q{CREATE TYPE e AS ENUM ('a'); CREATE TABLE t (id int PRIMARY KEY, e e)},
	source => q{ALTER TYPE e ADD VALUE 'b'},
	change => q{INSERT INTO t VALUES (1, 'b')}, error => qr/invalid input value for enum .*"b".*column "e"/,
	fix => q{ALTER TYPE e ADD VALUE 'b'});
$m->refused('domain objects',
	ddl => 'CREATE DOMAIN d AS int; CREATE TABLE t (id int PRIMARY KEY, v d)',
	dest => 'ALTER DOMAIN d ADD CONSTRAINT small CHECK (VALUE < 10)',
	change => 'INSERT INTO t VALUES (1, 10)',
	error => qr/value for domain .* violates check constraint "small".*column "v"/,
	fix => 'ALTER DOMAIN d DROP CONSTRAINT small');
$m->refused('regclass of nothing',
	ddl => 'CREATE TABLE t (id int PRIMARY KEY, v regclass)', source => 'CREATE SEQUENCE only_here',
	change => q{INSERT INTO t VALUES (1, 'only_here')},
	error => qr/relation "regclass of nothing\.only_here" does not exist.*column "v"/,
	fix => 'CREATE SEQUENCE only_here');

$m->finish;
$_->stop('fast') for $source, $dest;
done_testing();
