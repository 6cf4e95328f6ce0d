# Rewrites of tables: every setting that a conversion reads is in force at the
# destination while it runs, and what cannot be computed alike is held.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "pg_flo.row_writer = check\n");
my $dest = flo_node('dest', $nats);
$FloTest::timeout = 40;
my %has = map { $_ => 1 } split /\n/, `locale -a`;

$_->safe_psql('postgres', q{CREATE TYPE row_t AS (f float8, b bytea); CREATE TYPE visit AS (n int, day date);
	CREATE DOMAIN cash AS money}) for $source, $dest;
$source->safe_psql('postgres',
	q{SELECT flo.create_replicator('g', track_ddl => true, schemas => '{public}',
	options => '{"keyless_tables": "full"}')});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')});
start_member($dest, 'g', 'postgres');

# name, columns, a row, settings, the statement
my $n = 0;
my @cases;
sub same
{
	my ($name, $columns, $row, $settings, @ddl) = @_;
	push @cases, { name => $name, table => 't' . ++$n, columns => $columns, row => $row, settings => $settings,
		ddl => \@ddl };
}

for my $style (qw(escape hex))
{
	my $set = "SET bytea_output = $style";
	same("bytea_output, cast", 'v bytea', q{'\x00ff41'}, $set, 'ALTER v TYPE text');
	same("bytea_output, USING", 'v bytea', q{'\x00ff41'}, $set, q{ALTER v TYPE text USING v::text || 'x'});
	same("bytea_output, arrays", 'v bytea[]', q{'{"\\\\x00ff41"}'}, $set, 'ALTER v TYPE text[]');
	same("bytea_output, rows", 'v row_t', q{'(0.1,\x00ff)'}, $set, 'ALTER v TYPE text USING v::text');
	same("bytea_output, generated", 'v bytea', q{'\x00ff41'}, $set, 'ADD w text GENERATED ALWAYS AS (v::text) STORED');
	same("bytea_output, default", 'v int', 1, $set, q{ADD w text DEFAULT '\x00ff41'::bytea::text});
}
for my $digits (-5, 0, 1, 3)
{
	my $set = "SET extra_float_digits = $digits";
	same("extra_float_digits = $digits, $_->[0]", "v $_->[0]", $_->[1], $set, 'ALTER v TYPE text')
	  for [ 'float8', '1/3.0' ], [ 'real', '1/7.0' ], [ 'float8[]', q{ARRAY[1/3.0::float8]} ],
	  [ 'row_t', q{ROW(1/3.0, NULL)} ];
	same("extra_float_digits = $digits, $_", "v $_", $_ eq 'point' ? 'point(1/3.0, 1/7.0)'
		  : 'box(point(1/3.0, 1/7.0), point(0, 0))', $set, 'ALTER v TYPE text USING v::text') for 'point', 'box';
	same("extra_float_digits = $digits, generated", 'v float8', '1/3.0', $set,
		'ADD w text GENERATED ALWAYS AS (v::text) STORED');
	same("extra_float_digits = $digits, default", 'v int', 1, $set, 'ADD w text DEFAULT (1/3.0::float8)::text');
}
for my $nulls (qw(on off))
{
	same("array_nulls = $nulls", 'v text', q{'{NULL,a}'}, "SET array_nulls = $nulls",
		'ALTER v TYPE text[] USING v::text[]',
		q{ADD w text[] DEFAULT '{NULL,b}', ADD x text[] GENERATED ALWAYS AS (ARRAY['{NULL}'::text[]]::text[]) STORED});
}
for my $style ('postgres', 'iso_8601', 'sql_standard', 'postgres_verbose')
{
	same("IntervalStyle $style", 'v interval', q{'1 year -2 days 03:00'}, "SET intervalstyle = $style",
		'ALTER v TYPE text', q{ADD w text DEFAULT '-1 2:03:04'::interval::text},
		q{ADD y interval DEFAULT '-1 2:03:04'});
}
for my $style ('ISO, DMY', 'SQL, MDY', 'German, YMD', 'Postgres, DMY')
{
	same("DateStyle $style, $_->[0]", "v $_->[0]", $_->[1], "SET datestyle = '$style'", "ALTER v TYPE text",
		q{ADD w date DEFAULT '01/02/03'})
	  for [ 'date', q{'2024-03-04'} ], [ 'timestamptz', q{'2024-03-04 05:06+00'} ],
	  [ 'timestamp[]', q{'{2024-03-04 05:06}'} ], [ 'daterange', q{'[2024-01-01,2024-02-03)'} ];
	same("DateStyle $style, in", 'v text', q{'01/02/2003'}, "SET datestyle = '$style'",
		'ALTER v TYPE timestamp USING v::timestamp') if $style !~ /YMD/;
}
for my $zone ('Asia/Kathmandu', 'America/New_York', '<+07>-7')
{
	same("TimeZone $zone, $_->[0]", "v $_->[0]", $_->[1], "SET timezone = '$zone'", "ALTER v TYPE $_->[2]",
		q{ADD w timestamptz DEFAULT '2024-07-01 12:00'})
	  for [ 'timestamptz', q{'2024-03-04 05:06+00'}, 'text' ], [ 'timestamptz', q{'2024-07-04 05:06+00'}, 'timestamp' ],
	  [ 'timestamp', q{'2024-07-04 05:06'}, 'timestamptz' ], [ 'date', q{'2024-07-04'}, 'timestamptz' ],
	  [ 'timestamptz', q{'2024-07-04 23:06+00'}, 'date' ], [ 'timestamptz', q{'2024-07-04 05:06+00'}, 'timetz' ];
	same("TimeZone $zone, in", 'v text', q{'2024-07-04 05:06'}, "SET timezone = '$zone'",
		'ALTER v TYPE timestamptz USING v::timestamptz');
}
same('timezone_abbreviations', 'v text', q{'2024-01-15 12:00 IST'}, '',
	'ALTER v TYPE timestamptz USING v::timestamptz');
same('standard_conforming_strings', 'v int', 1,
	'SET standard_conforming_strings = off; SET escape_string_warning = off', q{ADD w text DEFAULT 'a\\\\b'},
	q{ADD x text GENERATED ALWAYS AS ('a\\\\tb') STORED}, q{ALTER v TYPE text USING 'x\\\\y' || v::text});
same('backslash_quote', 'v int', 1, 'SET backslash_quote = on; SET standard_conforming_strings = off;
	SET escape_string_warning = off', q{ADD w text DEFAULT 'a\\'b'});
same('transform_null_equals', 'v int', 'NULL', 'SET transform_null_equals = on', 'ALTER v TYPE bool USING (v = NULL)',
	'ADD w bool GENERATED ALWAYS AS (id = NULL) STORED');
same('lc_monetary C', 'v money', '12.5', q{SET lc_monetary = 'C'}, 'ALTER v TYPE text', q{ADD w money DEFAULT 7.5},
	q{ADD x money DEFAULT '$1,000.00'});
same("conversion that need no settings", 'v int', 5, q{SET lc_monetary = 'C'; SET timezone_abbreviations = 'India'},
	'ALTER v TYPE bigint', 'ALTER v TYPE numeric', 'ALTER v TYPE text', q{ALTER v TYPE varchar(3) USING lower(v)},
	q{ADD w text DEFAULT 'now then'::text || 'x', ADD ts tsvector GENERATED ALWAYS AS }
	  . q{(to_tsvector('english', v)) STORED});
same('columns that the statement makes', 'v text', q{'7'}, '',
	'ADD c int DEFAULT 42, ADD x int GENERATED ALWAYS AS (c * 4) STORED',
	'ALTER v TYPE int USING v::int, ADD y int GENERATED ALWAYS AS (v * 3) STORED',
	q{DROP y, DROP v, ADD v date DEFAULT '2024-05-06', ADD z int GENERATED ALWAYS AS (v - date '2024-01-01') STORED});
my $xml = $source->safe_psql('postgres', q{SELECT pg_get_functiondef('xml_in'::regproc) IS NOT NULL}) eq 't'
  && $source->psql('postgres', q{SELECT '<a/>'::xml}) == 0;
if ($xml)
{
	same("xmlbinary $_", 'v bytea', q{'\xff00'}, "SET xmlbinary = $_",
		'ALTER v TYPE text USING xmlserialize(CONTENT xmlelement(name a, v) AS text)') for 'base64', 'hex';
	same('xmloption document', 'v text', q{'<!DOCTYPE a><a/>'}, 'SET xmloption = document',
		'ALTER v TYPE xml USING v::xml');
}

$source->safe_psql('postgres',
	join(";\n", map { my $case = $_; "CREATE TABLE $case->{table} (id int PRIMARY KEY, $case->{columns})",
	"INSERT INTO $case->{table} VALUES (1, $case->{row})" } @cases));
for my $case (@cases)
{
	my $sql = join('', map { "ALTER TABLE $case->{table} $_;\n" } @{ $case->{ddl} });
	my ($out, $err) = ('', '');
	is($source->psql('postgres', "$case->{settings};\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 1), 0,
		"$case->{name}: at the source") or diag($err);
}
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT string_agg(command || ': ' || reason, E'\n') FROM flo.pending_ddl}), '',
	'none of it is held');
{
	my $all = join(' UNION ALL ', map { "SELECT '$_->{table}' AS n, t::text FROM $_->{table} t" } @cases);
	my %want = map { split /\|/, $_, 2 } split /\n/, $source->safe_psql('postgres', $all);
	my %got = map { split /\|/, $_, 2 } split /\n/, $dest->safe_psql('postgres', $all);
	is($got{ $_->{table} }, $want{ $_->{table} }, "$_->{name}: the same values") for @cases;
}

# --- held ----------------------------------------------------------------------------------

# each is held when there are rows, and told why
my @held = (
	[ 'timezone_abbreviations', 'v text', q{'2024-01-15 12:00 IST'}, q{SET timezone_abbreviations = 'India'},
		'ALTER v TYPE timestamptz USING v::timestamptz', 'timezone_abbreviations \(India\)' ],
	[ 'abbreviation in a constant', 'v text', q{'x'}, q{SET timezone_abbreviations = 'India'},
		q{ADD w timestamptz DEFAULT '2024-01-15 12:00 IST'}, 'timezone_abbreviations \(India\)' ],
	[ 'regclass from OIDs', 'v oid', q{'pg_class'::regclass}, '', 'ALTER v TYPE text USING v::regclass::text', 'OIDs' ],
	[ 'OIDs from names', 'v text', q{'pg_class'}, '', 'ALTER v TYPE oid USING v::regclass', 'OIDs' ],
	[ 'a regtype as text', 'v regtype', q{'int'}, '', 'ALTER v TYPE text USING v::text', 'OIDs' ],
	[ 'the row as a whole', 'v int', 1, '', 'ALTER v TYPE text USING num_nulls(v)::text || ROW(id, tableoid)::text',
		'how the row is stored' ],
	[ 'the offset now', 'v time', q{'12:00'}, q{SET timezone = 'Europe/Berlin'}, 'ALTER v TYPE timetz', 'the moment' ],
	[ 'another collation', 'v text', q{'A'}, '', 'ALTER v TYPE text USING lower(v COLLATE "C.utf8")', 'the locale',
		$source->safe_psql('postgres', q{SELECT count(*) > 0 FROM pg_collation WHERE collname = 'C.utf8'}) eq 't'
		  && $source->pg_version < 17 ],
	[ 'the moment in a row', 'v text', q{' Today'}, '', 'ALTER v TYPE date USING v::date', 'other values here' ],
	[ 'the moment in a constant', 'v text', q{'2024-01-01'}, '', q{ALTER v TYPE date USING coalesce(v::date, 'today')},
		'other values here' ],
	[ 'the moment behind a blank', 'v int', 1, '', q{ADD w timestamptz DEFAULT ' now '}, 'other values here' ],
	[ 'the moment in a range', 'v int', 1, '', q{ADD w tstzrange DEFAULT '[now,infinity)'}, 'other values here' ],
	[ 'the moment in a row', 'v int', 1, '', q{ADD w visit DEFAULT '(5,Today)'}, 'other values here' ],
	[ 'the zone of the machine', 'v text', q{'2024-07-01 12:00'}, q{SET timezone = 'localtime'},
		'ALTER v TYPE timestamptz USING v::timestamptz', 'of the machine', -e '/usr/share/zoneinfo/localtime' ],
	[ 'what another new column is generated from', 'v int', 1, '',
		'ADD c float8 DEFAULT random(), ADD x float8 GENERATED ALWAYS AS (c * 2) STORED',
		'column "c" gives other values here' ],
	[ 'a generated column over a new one', 'v int', 1, '',
		'ADD c int DEFAULT 1, ADD x int GENERATED ALWAYS AS (c + tableoid::int) STORED', 'how the row is stored' ],
	[ 'formats', 'v float8', '1.5', '', q{ALTER v TYPE text USING to_char(v, '9D9')}, 'other values here' ],
);
my ($money) = grep { $has{$_} } 'en_US.utf8', 'de_DE.utf8', 'C.utf8';
push @held, [ 'money of a locale', 'v money', '12.5', "SET lc_monetary = '$money'", 'ALTER v TYPE text',
	"lc_monetary .$money." ], [ 'money from numbers', 'v numeric', '12.5', "SET lc_monetary = '$money'",
	'ALTER v TYPE money', "lc_monetary .$money." ],
  [ 'a domain over money', 'v cash', '12.5', "SET lc_monetary = '$money'", 'ALTER v TYPE text',
	"lc_monetary .$money." ],
  [ 'a default of money', 'v int', '5', "SET lc_monetary = '$money'", 'ADD w money DEFAULT 5', "lc_monetary .$money." ]
  if $money;
for my $case (@held)
{
	my ($name, $columns, $row, $settings, $ddl, $reason, $only) = @$case;
	next if defined $only && !$only;
	my $table = 'h' . ++$n;
	$source->safe_psql('postgres', "CREATE TABLE $table (id int PRIMARY KEY, $columns);
		INSERT INTO $table VALUES (1, $row)");
	$source->safe_psql('postgres', "$settings;\nALTER TABLE $table $ddl");
	ok(wait_until($dest, 'postgres', "SELECT count(*) = 1 FROM flo.pending_ddl WHERE command ~ '$table'",
		"$name is held"), "$name is held");
	like($dest->safe_psql('postgres', 'SELECT reason FROM flo.pending_ddl'), qr/$reason/, "$name: why");
	$dest->safe_psql('postgres', 'SELECT flo.skip_ddl(id) FROM flo.pending_ddl');
	$source->safe_psql('postgres', "DROP TABLE $table");
	wait_caught_up($source, $dest, 'g');
}
# the tables of a composite type change with it
$source->safe_psql('postgres', q{CREATE TYPE place AS (id int, v regclass);
	CREATE TABLE places OF place (PRIMARY KEY (id)); INSERT INTO places VALUES (1, 'pg_class')});
$source->safe_psql('postgres', 'ALTER TYPE place ALTER ATTRIBUTE v TYPE oid CASCADE');
ok(wait_until($dest, 'postgres', q{SELECT reason ~ 'OIDs' FROM flo.pending_ddl WHERE command ~ 'place'},
	'a type whose tables change is held'), 'a type whose tables change is held');
$dest->safe_psql('postgres', 'SELECT flo.skip_ddl(id) FROM flo.pending_ddl');
$source->safe_psql('postgres', 'DROP TABLE places');
wait_caught_up($source, $dest, 'g');

# and not without
$source->safe_psql('postgres', q{SET timezone_abbreviations = 'India'; CREATE TABLE e (id int PRIMARY KEY, v text);
	ALTER TABLE e ALTER v TYPE timestamptz USING v::timestamptz});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT atttypid::regtype FROM pg_attribute
	WHERE attrelid = 'e'::regclass AND attname = 'v'}), 'timestamp with time zone', 'what has no rows is applied');

# a value that the destination does not know: held where it could matter
$dest->safe_psql('postgres', q{CREATE TABLE IF NOT EXISTS e2 (id int PRIMARY KEY)});
my $zones = $source->config_data('--sharedir') . '/timezonesets';
SKIP:
{
	skip 'cannot write a file of abbreviations', 2 if !-w $zones;
	append_to_file("$zones/FloTest", "\@INCLUDE Default\nFLOT 3600\n");
	$source->safe_psql('postgres', q{SET timezone_abbreviations = 'FloTest'; CREATE TABLE known (id int PRIMARY KEY);
		SET timezone_abbreviations = 'FloTest'; SET timezone = 'UTC'});
	unlink "$zones/FloTest";
	wait_caught_up($source, $dest, 'g');
	is($dest->safe_psql('postgres', q{SELECT to_regclass('known') IS NOT NULL}), 't',
		'a setting that is not known here does not hold up what has no constants');
}

$_->stop('fast') for $source, $dest;
done_testing();
