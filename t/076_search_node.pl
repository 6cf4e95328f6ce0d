
# Documents of a real search service, and that they are the rows: what rows become, changes,
# statements, whatever is killed.  make test-search starts one; without it this is skipped.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloSearch;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no search service: make test-search starts one' if !$ENV{FLO_SEARCH_URL};
$FloTest::timeout = 60;

my $search = FloSearch->new($ENV{FLO_SEARCH_URL});
my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $prefix = "t$$";

sub caught_up { return wait_caught_up($source, $dest, 'g', @_); }
sub index_of { return "$prefix-$_[0]"; }

# Change options, and wait until they are in force
sub alter
{
	my ($options) = @_;
	my $pid = status_of($dest, 'g', 'search', 'pid');
	$dest->safe_psql('postgres', "SELECT flo.alter_worker('g', 'search', '$options')");
	wait_other_pid($dest, 'g', 'search', $pid) if $pid ne '';
}

# One test: a table's documents are its rows; fields are called otherwise than these columns
sub is_same
{
	my ($table, $name, $id) = @_;
	my $doc = 'to_jsonb(of_row)';

	$doc .= qq{ - 'a.b' - '_id' - '=' || jsonb_build_object('a=2eb', "a.b", '=5fid', _id, '=3d', "=")} if $table eq 't';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	caught_up();
	return is_indexed($search, $source, index_of($table),
		'SELECT ' . ($id || 'id::text') . " AS id, $doc AS doc FROM $table of_row", $name);
}

$_->safe_psql('postgres', q{CREATE TYPE mood AS ENUM ('sad', 'ok');
	CREATE TYPE pair AS (a int, b text)}) for $source, $dest;
$source->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, n numeric, f8 float8, f4 float4, b bool, big bigint, s smallint, t text,
		m mood, p pair, ps pair[], j json, jb jsonb, ia int[], ta text[], ts timestamp, tz timestamptz, d date, ti time,
		iv interval, by bytea, u uuid, r int4range, i inet, x xml, o oid, ja jsonb[], whole numeric(10, 0),
		"a.b" int, _id text, "=" int);
	CREATE TABLE composed (a int, b text, v text, PRIMARY KEY (a, b));
	CREATE TABLE toasted (id int PRIMARY KEY, big text, small int);
	ALTER TABLE toasted ALTER big SET STORAGE EXTERNAL;
	INSERT INTO toasted SELECT i, repeat(md5(i::text), 200), i FROM generate_series(1, 50) i;
	INSERT INTO composed SELECT i, 'b,%' || i, 'v' FROM generate_series(1, 100) i;
	INSERT INTO t VALUES
		(1, 12345678901234567890.1234567890, 1.5, 2.5, true, 9223372036854775807, 7, 'é " \ ' || chr(10), 'ok', (1,
			'x'), '{"(2,y)"}',
			'{"a": 1, "b": [1, 2]}', '5', '{1,2}', '{a,b}', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05+02',
				'2026-01-02',
			'03:04', '1 day', '\xdeadbeef', '00000000-0000-0000-0000-000000000001', '[1,5)', '10.0.0.1', '<a/>', 7,
				'{5}', 12, 1, 'i', 2),
		(2, 'NaN', 'Infinity', 'NaN', NULL, NULL, NULL, repeat('long ', 20000), NULL, NULL, NULL, 'null',
			jsonb_build_object('k', repeat('x', 100000)), '{{1,2},{3,4}}', NULL, 'infinity', '-infinity',
				'0044-03-15 BC', NULL, NULL,
			decode(repeat('00ff', 50000), 'hex'), NULL, NULL, '10.0.0.0/8', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
	INSERT INTO t VALUES (3);
});

$source->safe_psql('postgres',
	q{SELECT flo.create_replicator('g', mode => 'copy_and_stream', track_ddl => true,
		options => '{"keyless_tables": "insert_only"}');
	SELECT flo.start_group('g')});
create_event_worker($dest, 'g', 'search', 'search',
	{ url => $search->url, index => "$prefix-{table}", start => 'copy', batch_bytes => '64kB' });

# --- a copy -----------------------------------------------------------------------------

is_same('t', 'a copy: every type');
is_same('toasted', 'values out of line');
is_same('composed', 'a key of two columns', q{a || ',' || replace(replace(b, '%', '%25'), ',', '%2C')});
is($search->found(index_of('t'), $_->[0]), $_->[1], "found by $_->[2]") for (
	[ { match => { t => 'LONG' } }, '2', 'a word of a text' ],
	[ { term => { m => 'ok' } }, '1', 'an enum' ],
	[ { range => { big => { gte => '9223372036854775807' } } }, '1', 'a bigint' ],
	[ { range => { n => { gt => 1 } } }, '1', 'a numeric' ],
	[ { range => { tz => { lt => '2026-01-02T01:04:06Z', gt => '2026-01-02T01:04:04Z' } } }, '1', 'a time' ],
	[ { term => { i => '10.0.0.0/8' } }, '1', 'an address within a network' ],
	[ { term => { ia => 3 } }, '2', 'an element of an array' ],
	[ { match => { 'p.b' => 'x' } }, '1', 'a field of a composite type' ],
	[ { term => { whole => 12 } }, '1', 'a numeric without fractions' ]);
is($search->ask('GET', '/' . index_of('t') . '/_settings')->{ index_of('t') }{settings}{index}{gc_deletes}, '3600000ms',
	'gc_deletes is set');

# --- changes ------------------------------------------------------------------------------

$source->safe_psql('postgres', q{
	UPDATE t SET n = n + 1, t = 'changed' WHERE id = 1;
	DELETE FROM t WHERE id = 3;
	INSERT INTO t (id, t) VALUES (3, 'again'), (4, 'four');
	UPDATE t SET id = 5 WHERE id = 4;
	BEGIN; UPDATE t SET id = 6 WHERE id = 5; DELETE FROM t WHERE id = 6; INSERT INTO t (id) VALUES (5); COMMIT;
	UPDATE toasted SET small = small + 1000;
	UPDATE toasted SET small = small + 1000 WHERE id % 3 = 0;
	BEGIN; INSERT INTO toasted SELECT i, repeat(md5(i::text), 300), i FROM generate_series(51, 60) i;
	UPDATE toasted SET small = -small WHERE id > 40; UPDATE toasted SET id = id + 100 WHERE id > 55; COMMIT;
	UPDATE composed SET b = b || 'x' WHERE a % 7 = 0;
	DELETE FROM composed WHERE a % 11 = 0;
});
is_same('t', 'changes');
is_same('toasted', 'values that were not sent are kept');
is_same('composed', 'changes of a key of two columns', q{a || ',' || replace(replace(b, '%', '%25'), ',', '%2C')});
$source->safe_psql('postgres', q{INSERT INTO composed VALUES (0, repeat('k', 600)), (0, repeat('k', 508)), (-1, '')});
is_same('composed', 'a long key is a hash',
	q{CASE WHEN length(a || ',' || b) > 512 THEN encode(sha256(convert_to(a || ',' || b, 'UTF8')), 'hex')
		ELSE a || ',' || replace(replace(b, '%', '%25'), ',', '%2C') END});
$source->safe_psql('postgres', q{
	BEGIN; INSERT INTO toasted VALUES (1000, 'before', 1); TRUNCATE toasted, composed;
		INSERT INTO toasted VALUES (1001, 'after', 1); COMMIT;
	INSERT INTO toasted SELECT i, 'x', i FROM generate_series(1, 10) i;
});
is_same('toasted', 'TRUNCATE, and rows after it');
is_same('composed', 'TRUNCATE of another table', 'a::text');

# --- crashes: the newest of each row, whatever comes again -----------------------------------------

$source->safe_psql('postgres', 'CREATE TABLE acts (id int PRIMARY KEY, v int, big text)');
my $script = PostgreSQL::Test::Utils::tempdir() . '/acts.sql';
append_to_file($script, q{
\set id random(1, 200)
\set what random(1, 100)
BEGIN;
INSERT INTO acts VALUES (:id, :what, repeat(md5(:what::text), 100)) ON CONFLICT (id) DO UPDATE SET v = acts.v + 1;
DELETE FROM acts WHERE id = :id + 1;
UPDATE acts SET v = v + 1 WHERE id BETWEEN :id + 2 AND :id + 12;
SELECT count(*) AS truncates FROM generate_series(1, 1) WHERE :what = 1 \gset
\if :truncates
TRUNCATE acts;
INSERT INTO acts SELECT i, 0, 'new' FROM generate_series(1, 20) i;
\endif
COMMIT;
});
my $load = IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-T', 600, '-R', 100, '-f', $script, '-h', $source->host, '-p',
	$source->port, 'postgres' ], '>', \my $out, '2>', \my $err);
for (1 .. 3)
{
	my $before = status_of($dest, 'g', 'search', 'inserts');
	wait_until($dest, 'postgres',
		"SELECT coalesce(inserts > $before + 100, false) FROM flo.status WHERE member = 'search'", 'some more rows');
	wait_other_pid($dest, 'g', 'search', kill9_member($dest, 'g', 'search'));
}
$load->signal('TERM');
$load->finish;
is_same('acts', 'after three crashes');

# Changes that come once more, in a worker of its own: nothing goes back
$dest->safe_psql('postgres', qq{SELECT flo.create_worker('g', 'search', 'late',
	'{"url": "@{[ $search->url ]}", "index": "$prefix-{table}", "tables": ["acts"]}')});
start_member($dest, 'g', 'late');
is_same('acts', 'two workers, one of which comes late');
cmp_ok(status_of($dest, 'g', 'late', 'conflicts'), '>=', 0, 'what is older is refused there');
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'late')});

# --- statements ---------------------------------------------------------------------------------------

$source->safe_psql('postgres', q{
	CREATE TABLE told (id int PRIMARY KEY, a text, b int);
	INSERT INTO told VALUES (1, 'one', 1);
	ALTER TABLE told ADD c date;
	INSERT INTO told VALUES (2, 'two', 2, '2026-01-01');
	ALTER TABLE told RENAME a TO "new name";
	INSERT INTO told VALUES (3, 'three', 3, '2026-01-01');
	UPDATE told SET b = 10 WHERE id = 1;
});
caught_up();
is_indexed($search, $source, index_of('told'),
	q{SELECT id::text, jsonb_build_object('id', id, 'a', "new name", 'b', b, 'c', c) AS doc FROM told},
	'columns that were added are there, one that was renamed keeps its field');
is($search->found(index_of('told'), { match => { 'new name' => 'three' } }), '3', 'and is found by its new name');
is($search->found(index_of('told'), { range => { c => { gt => '2025-12-31' } } }), '2 3', 'a new column is searched');
$source->safe_psql('postgres', q{
	ALTER TABLE told RENAME TO tale;
	INSERT INTO tale VALUES (4, 'four', 4);
	DELETE FROM tale WHERE id = 2;
	ALTER TABLE tale DROP b;
	INSERT INTO tale VALUES (5, 'five');
});
caught_up();
is($search->count(index_of('told')), 4, 'a table that was renamed keeps its index');
is($search->found(index_of('tale'), { match_all => {} }), '1 3 4 5', 'which has its new name, too');

# --- what is refused --------------------------------------------------------------------------------------

$source->safe_psql('postgres', 'CREATE TABLE told (id int PRIMARY KEY)');
$source->safe_psql('postgres', 'INSERT INTO told VALUES (1)');
wait_state($dest, 'g', 'search', 'failed');
like(status_of($dest, 'g', 'search', 'last_error'),
	qr/index "$prefix-told" holds documents of another table, "public.tale" of group "g"/,
	'a table whose index is another\'s');
$source->safe_psql('postgres', q{CREATE TABLE keyless (a int); CREATE TABLE wide (a int, b text);
	ALTER TABLE wide REPLICA IDENTITY FULL;
	INSERT INTO keyless VALUES (1)});
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'search', '{"tables": ["keyless"]}');
	SELECT flo.start_group('g', 'search')});
wait_state($dest, 'g', 'search', 'failed');
like(status_of($dest, 'g', 'search', 'last_error'),
	qr/table "public.keyless" cannot be searched: it has no primary key/, 'a table without a key');
$source->safe_psql('postgres', q{INSERT INTO wide VALUES (1, 'x')});
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'search', '{"tables": ["wide"]}');
	SELECT flo.start_group('g', 'search')});
wait_state($dest, 'g', 'search', 'failed');
like(status_of($dest, 'g', 'search', 'last_error'),
	qr/table "public.wide" cannot be searched: its replica identity is FULL/, 'nor one without columns for it');
$source->safe_psql('postgres', q{INSERT INTO wide VALUES (2, 'y'); UPDATE wide SET a = 3 WHERE a = 2});
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'search', '{"id": ["a"]}'); SELECT flo.start_group('g',
	'search')});
is_same('wide', 'which option id names', 'a::text');

# An index that is there is used as it is; a document that does not fit is set aside
$search->ask('PUT', '/' . index_of('picky'),
	{ mappings => { dynamic => 'strict', properties => { id => { type => 'long' }, v => { type => 'integer' } } } });
alter('{"tables": ["picky"], "id": null}');
$source->safe_psql('postgres', q{CREATE TABLE picky (id int PRIMARY KEY, v text, w text);
	INSERT INTO picky VALUES (1, '1'), (2, 'two'), (3, '3')});
wait_state($dest, 'g', 'search', 'failed');
like(status_of($dest, 'g', 'search', 'last_error'),
	qr/refuses a document of index "$prefix-picky": 400 mapper_parsing_exception/,
	'a document that is refused stops the worker');
is($search->found(index_of('picky'), { match_all => {} }), '1 3', 'those beside it are there');
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'search', '{"on_error": "dead_letter"}');
	SELECT flo.start_group('g', 'search')});
$source->safe_psql('postgres', q{INSERT INTO picky VALUES (4, 'four'); UPDATE picky SET v = '44' WHERE id = 4});
caught_up();
is($search->found(index_of('picky'), { match_all => {} }), '1 3 4', 'or is set aside');
is($dest->safe_psql('postgres', q{SELECT string_agg(event->'document'->>'v',
	' ' ORDER BY id) FROM flo.dead_letters WHERE error ~ 'For input string'}), 'two four', 'as a dead letter');
$dest->safe_psql('postgres', q{SELECT flo.redrive_group('g')});
ok(wait_until($dest, 'postgres', q{SELECT count(*) = 2 AND bool_and(attempts = 2) FROM flo.dead_letters},
	'the letters to be sent again'),
	'letters are sent again, and refused again');
$search->ask('DELETE', '/' . index_of('picky'));
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'search')});
wait_state($dest, 'g', 'search', 'stopped');
start_member($dest, 'g', 'search');
$source->safe_psql('postgres', q{UPDATE picky SET w = 'w'});
is_same('picky', 'an index that is gone is made again');
$dest->safe_psql('postgres', q{SELECT flo.redrive_group('g')});
ok(wait_until($dest, 'postgres', q{SELECT NOT EXISTS (SELECT FROM flo.dead_letters)}, 'the letters to be taken'),
	'and takes the letters');
is_same('picky', 'but nothing of them: there are newer documents');

# --- other ways to map ------------------------------------------------------------------------------------

alter('{"tables": ["deep"], "json": "flattened"}');
$source->safe_psql('postgres', q{CREATE TABLE deep (id int PRIMARY KEY, j jsonb);
	INSERT INTO deep VALUES (1, '{"a": {"b": "needle"}}'), (2, '{"a": {"b": "hay"}}')});
is_same('deep', 'JSON, flattened');
is($search->found(index_of('deep'), { term => { 'j.a.b' => 'needle' } }), '1', 'is searched');
alter('{"tables": ["free"], "mapping": "dynamic"}');
$source->safe_psql('postgres', q{CREATE TABLE free (id int PRIMARY KEY, v text, j jsonb); INSERT INTO free VALUES (1,
	'x', '{"a": 1}')});
is_same('free', 'mapping dynamic');
is($search->found(index_of('free'), { term => { 'j.a' => 1 } }), '1', 'what the service makes of it');

$search->text('DELETE', "/$prefix-*");
done_testing();
