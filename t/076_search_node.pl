
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

$_->safe_psql('postgres', q{CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b text)}) for $source, $dest;
$source->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, n numeric, f8 float8, f4 float4, b bool, big bigint, s smallint, t text,
		m mood, p pair, ps pair[], j json, jb jsonb, ia int[], ta text[], ts timestamp, tz timestamptz, d date, ti time, iv interval,
		by bytea, u uuid, r int4range, i inet, x xml, o oid, ja jsonb[], whole numeric(10, 0), "a.b" int, _id text, "=" int);
	CREATE TABLE composed (a int, b text, v text, PRIMARY KEY (a, b));
	CREATE TABLE toasted (id int PRIMARY KEY, big text, small int);
	ALTER TABLE toasted ALTER big SET STORAGE EXTERNAL;
	INSERT INTO toasted SELECT i, repeat(md5(i::text), 200), i FROM generate_series(1, 50) i;
	INSERT INTO composed SELECT i, 'b,%' || i, 'v' FROM generate_series(1, 100) i;
	INSERT INTO t VALUES
		(1, 12345678901234567890.1234567890, 1.5, 2.5, true, 9223372036854775807, 7, 'é " \ ' || chr(10), 'ok', (1, 'x'), '{"(2,y)"}',
			'{"a": 1, "b": [1, 2]}', '5', '{1,2}', '{a,b}', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05+02', '2026-01-02',
			'03:04', '1 day', '\xdeadbeef', '00000000-0000-0000-0000-000000000001', '[1,5)', '10.0.0.1', '<a/>', 7, '{5}', 12, 1, 'i', 2),
		(2, 'NaN', 'Infinity', 'NaN', NULL, NULL, NULL, repeat('long ', 20000), NULL, NULL, NULL, 'null',
			jsonb_build_object('k', repeat('x', 100000)), '{{1,2},{3,4}}', NULL, 'infinity', '-infinity', '0044-03-15 BC', NULL, NULL,
			decode(repeat('00ff', 50000), 'hex'), NULL, NULL, '10.0.0.0/8', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
	INSERT INTO t VALUES (3);
});
create_copy_group($source, undef, 'g', wait => 0);
create_event_worker($dest, 'g', 'search', 'search',
	{ url => $search->url, index => "$prefix-{table}", start => 'copy', batch_ms => 0 });
is_same('t', 'a copy: every type');
is_same('toasted', 'values out of line');
is_same('composed', 'a key of two columns', q{a || ',' || replace(replace(b, '%', '%25'), ',', '%2C')});
done_testing();
