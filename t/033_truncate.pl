# TRUNCATE of partitions, where the destination has the same, others, or none:
# exactly the rows that were in them go, or the worker says why it cannot tell.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloMatrix;
use FloTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\nlogical_decoding_work_mem = '64kB'\n";
my $source = flo_node('source', $nats, conf => "${conf}pg_flo.row_writer = check\n");
my $dest = flo_node('dest', $nats, conf => $conf);
my $dir = PostgreSQL::Test::Utils::tempdir() . '/events';
mkdir $dir;
$FloTest::timeout = 40;
my $m = FloMatrix->new($source, $dest, 'g');

# for every table of the schema at hand
my $full = q{DO $$ DECLARE r regclass; BEGIN FOR r IN SELECT oid FROM pg_class }
	  . q{WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema) AND relkind IN ('r', 'p') }
	  . q{ORDER BY relkind = 'p' LOOP EXECUTE 'ALTER TABLE ' || r || ' REPLICA IDENTITY FULL'; END LOOP; END $$};

# A case's root t is compared as a whole; partitions of the source are named p...
my $rows = q{SELECT id, k::text AS k, ts FROM "%s".t};
sub parted
{
	my ($name, %case) = @_;
	$m->case($name, tables => [ sprintf($rows, $name) ], %case,
		source => join(';', grep { defined } $case{source}, $full),
		steps => [ $case{insert} || q{INSERT INTO t SELECT i, i % 9, '2024-01-01'::timestamp + i * interval '30 days'
			FROM generate_series(1, 60) i}, @{ $case{steps} } ]);
}
# which tables of the destination were emptied, and not deleted from: those with another file since
sub files
{
	my ($name) = @_;
	return $dest->safe_psql('postgres', qq{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
		WHERE relnamespace = '"$name"'::regnamespace AND relkind = 'r' AND relfilenode <> oid});
}

my $by_time = q{CREATE TABLE t (id int, k int, ts timestamp) PARTITION BY RANGE (ts);
	CREATE TABLE p_2024 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
	CREATE TABLE p_2025 PARTITION OF t FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
	CREATE TABLE p_rest PARTITION OF t DEFAULT};
my $plain = 'DROP TABLE t; CREATE TABLE t (id int, k int, ts timestamp)';
my $fill = q{INSERT INTO t SELECT i + 1000, i % 9, '2024-01-01'::timestamp + i * interval '30 days'
	FROM generate_series(1, 60) i};
my @time_steps = ('TRUNCATE p_rest', $fill, 'TRUNCATE p_2024, p_rest', $fill, 'TRUNCATE ONLY p_2025');

parted('the same partitions', ddl => $by_time, steps => [@time_steps]);
parted('a default only', ddl => $by_time, dest => 'DROP TABLE p_2024, p_2025', steps => [@time_steps]);
parted('a plain table', ddl => $by_time, dest => $plain, steps => [@time_steps]);
parted('names mixed up', ddl => $by_time, steps => [@time_steps],
	dest => 'ALTER TABLE p_2024 RENAME TO x; ALTER TABLE p_rest RENAME TO p_2024; ALTER TABLE p_2025 RENAME TO p_rest;
		ALTER TABLE x RENAME TO p_2025');
parted('a default with other siblings', ddl => $by_time,
	dest => 'CREATE TABLE p_2026 PARTITION OF t FOR VALUES FROM ($$2026-01-01$$) TO ($$2027-01-01$$)',
	steps => [@time_steps]);
parted('a source partition less', ddl => $by_time, source => 'DROP TABLE p_2025',
	steps => [ 'TRUNCATE p_rest', $fill, 'TRUNCATE p_2024' ]);
parted('partitioned otherwise', ddl => $by_time, steps => [@time_steps],
	dest => 'DROP TABLE t; CREATE TABLE t (id int, k int, ts timestamp) PARTITION BY LIST (k);
		CREATE TABLE p_2024 PARTITION OF t FOR VALUES IN (1, 2, 3); CREATE TABLE p_rest PARTITION OF t DEFAULT');

my $by_list = q{CREATE TABLE t (id int, k %s, ts timestamp) PARTITION BY LIST (k);
	CREATE TABLE p1 PARTITION OF t FOR VALUES IN ('1', '2', NULL);
	CREATE TABLE p2 PARTITION OF t FOR VALUES IN ('3', '4'); CREATE TABLE p3 PARTITION OF t DEFAULT};
my $with_null = q{INSERT INTO t SELECT i, nullif(i % 9, 8), '2024-01-01' FROM generate_series(1, 40) i};
my @list_steps = ('TRUNCATE p1', $with_null, 'TRUNCATE p3', $with_null, 'TRUNCATE p2, p1');
for my $type ('int', 'numeric', 'smallint')
{
	parted("list of $type", ddl => sprintf($by_list, $type), insert => $with_null, steps => [@list_steps],
		dest => 'DROP TABLE t; CREATE TABLE t (id int, k ' . $type . ', ts timestamp)');
}
parted('list, values in another order', ddl => sprintf($by_list, 'int'), insert => $with_null, steps => [@list_steps],
	dest => 'DROP TABLE p1; CREATE TABLE q PARTITION OF t FOR VALUES IN (NULL, 2, 1)');
parted('list, wider type', ddl => sprintf($by_list, 'int'), insert => $with_null, steps => [@list_steps],
	dest => 'DROP TABLE t; CREATE TABLE t (id int, k bigint, ts timestamp)');
my $text_null = $with_null =~ s/nullif\(i % 9, 8\)/nullif(i % 9, 8)::text/r;
parted('list of text', ddl => sprintf($by_list, 'text COLLATE "POSIX"'), insert => $text_null,
	steps => [ map { s/nullif\(i % 9, 8\)/nullif(i % 9, 8)::text/r } @list_steps ],
	dest => 'DROP TABLE t; CREATE TABLE t (id int, k varchar, ts timestamp)');
my $mood = q{CREATE TYPE mood AS ENUM ('sad', 'so so', 'ok''', 'fine');
	CREATE TABLE t (id int, k mood, ts timestamp) PARTITION BY %s (k); %s};
my $moods = q{INSERT INTO t SELECT i, (enum_range(NULL::mood))[1 + i % 4], '2024-01-01' FROM generate_series(1, 40) i};
my $mood_parts = q{CREATE TABLE p1 PARTITION OF t FOR VALUES IN ('sad', 'ok''');
	CREATE TABLE p2 PARTITION OF t DEFAULT};
parted('list of enum', ddl => sprintf($mood, 'LIST', $mood_parts), insert => $moods,
	steps => [ 'TRUNCATE p1', $moods, 'TRUNCATE p2' ],
	dest => 'DROP TABLE t; CREATE TABLE t (id int, k mood, ts timestamp)');
parted('list of enum, the same', ddl => sprintf($mood, 'LIST', $mood_parts), insert => $moods,
	steps => [ 'TRUNCATE p1', $moods, 'TRUNCATE p2' ]);

# more than one key, open ends, more than one level
my $two = q{CREATE TABLE t (id int, k int, ts timestamp) PARTITION BY RANGE (k, id);
	CREATE TABLE p1 PARTITION OF t FOR VALUES FROM (MINVALUE, MINVALUE) TO (2, 10);
	CREATE TABLE p2 PARTITION OF t FOR VALUES FROM (2, 10) TO (5, MINVALUE);
	CREATE TABLE p3 PARTITION OF t FOR VALUES FROM (5, MINVALUE) TO (7, MAXVALUE);
	CREATE TABLE p4 PARTITION OF t FOR VALUES FROM (7, MAXVALUE) TO (MAXVALUE, MAXVALUE)};
parted("two keys, $_->[0]", ddl => $two, dest => $_->[1],
	steps => [ 'TRUNCATE p1', $fill, 'TRUNCATE p2', $fill, 'TRUNCATE p3, p4' ])
  for [ 'plain', $plain ], ['the same'], [ 'other',
	'ALTER TABLE t DETACH PARTITION p2; DROP TABLE p2, p1; CREATE TABLE p1 PARTITION OF t FOR VALUES '
  . 'FROM (MINVALUE, MINVALUE) TO (5, MINVALUE)' ];
my $deep = q{CREATE TABLE t (id int, k int, ts timestamp) PARTITION BY RANGE (ts);
	CREATE TABLE p24 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2026-01-01') PARTITION BY LIST (k);
	CREATE TABLE p24_1 PARTITION OF p24 FOR VALUES IN (1, 2);
	CREATE TABLE p24_d PARTITION OF p24 DEFAULT PARTITION BY RANGE (id);
	CREATE TABLE p24_d1 PARTITION OF p24_d FOR VALUES FROM (MINVALUE) TO (20);
	CREATE TABLE p24_d2 PARTITION OF p24_d DEFAULT; CREATE TABLE p_rest PARTITION OF t DEFAULT};
parted("three levels, $_->[0]", ddl => $deep, dest => $_->[1],
	steps => [ 'TRUNCATE p24_1', $fill, 'TRUNCATE p24_d1, p_rest', $fill, 'TRUNCATE p24_d', $fill, 'TRUNCATE p24' ])
  for [ 'plain', $plain ], ['the same'],
  [ 'other', 'DROP TABLE p24_d; CREATE TABLE p24_7 PARTITION OF p24 FOR VALUES IN (7);
	CREATE TABLE p24_x PARTITION OF p24 DEFAULT' ];

# expressions
my $computed = q{CREATE TABLE t (id int, k text, ts timestamp) PARTITION BY LIST (lower(k));
	CREATE TABLE p1 PARTITION OF t FOR VALUES IN ('a', 'b');
	CREATE TABLE p2 PARTITION OF t DEFAULT PARTITION BY RANGE ((id % 10), date_trunc('year', ts));
	CREATE TABLE p21 PARTITION OF p2 FOR VALUES FROM (0, '2024-01-01') TO (3, '2025-01-01');
	CREATE TABLE p22 PARTITION OF p2 DEFAULT};
my $letters = q{INSERT INTO t SELECT i, (ARRAY['a', 'B', 'c', 'A', NULL])[1 + i % 5],
	'2024-01-01'::timestamp + i * interval '20 days' FROM generate_series(1, 50) i};
parted("expressions, $_->[0]", ddl => $computed, dest => $_->[1], insert => $letters,
	steps => [ 'TRUNCATE p1', $letters, 'TRUNCATE p21', $letters, 'TRUNCATE p22', $letters, 'TRUNCATE p2' ])
  for ['the same'], [ 'plain', 'DROP TABLE t; CREATE TABLE t (id int, k text, ts timestamp)' ];

# hashes
my $hash = q{CREATE TABLE t (id int, k %s, ts timestamp) PARTITION BY HASH (k, id); };
my $four = join(';', map { "CREATE TABLE p$_ PARTITION OF t FOR VALUES WITH (MODULUS 4, REMAINDER $_)" } 0 .. 3);
my $texts = $fill =~ s/i % 9/(i % 9)::text/r;
parted("hashes of $_->[0], $_->[1]", ddl => sprintf($hash, $_->[0]) . $four, dest => $_->[2],
	insert => $_->[0] eq 'text' ? $texts : $fill, steps => [ 'TRUNCATE p0', 'TRUNCATE p3, p1' ])
  for [ 'int', 'the same' ], [ 'int', 'fewer',
	'DROP TABLE p0, p1, p2, p3; CREATE TABLE q0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE q1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)' ],
  [ 'text', 'names mixed up', 'ALTER TABLE p0 RENAME TO x; ALTER TABLE p1 RENAME TO p0; ALTER TABLE p3 RENAME TO p1' ];

# tables that refer to a partition; tables that are truncated with it
$m->case('CASCADE', ddl => q{CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p DEFAULT;
		CREATE TABLE r (id int PRIMARY KEY, p int REFERENCES p); CREATE TABLE other (id int PRIMARY KEY)},
		tables => [ 'SELECT id FROM "CASCADE".p', 'r', 'other' ],
	steps => [ q{INSERT INTO p SELECT generate_series(1, 20); INSERT INTO r SELECT i, i FROM generate_series(1, 20) i;
		INSERT INTO other VALUES (1)}, 'TRUNCATE p1, other CASCADE' ]);
$m->case('CASCADE, a plain table', ddl => q{CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p DEFAULT;
		CREATE TABLE r (id int PRIMARY KEY, p int REFERENCES p)},
		dest => 'DROP TABLE r, p; CREATE TABLE p (id int PRIMARY KEY);
			CREATE TABLE r (id int PRIMARY KEY, p int REFERENCES p)',
		tables => [ 'SELECT id FROM "CASCADE, a plain table".p', 'r' ],
	steps => [ q{INSERT INTO p SELECT generate_series(1, 20); INSERT INTO r SELECT i, i FROM generate_series(1, 20) i},
		'TRUNCATE p1 CASCADE' ]);
$m->case('RESTART IDENTITY', source => $full,
	ddl => q{CREATE TABLE t (id int, k int) PARTITION BY LIST (k); CREATE TABLE p1 (id serial, k int);
	ALTER TABLE t ATTACH PARTITION p1 FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF t DEFAULT},
	tables => [ 'SELECT id, k FROM "RESTART IDENTITY".t' ], dest => q{SELECT setval('p1_id_seq', 50)},
	steps => [ 'INSERT INTO t VALUES (1, 1), (2, 2)', 'TRUNCATE p1 RESTART IDENTITY' ],
	after => q{SELECT nextval('p1_id_seq') = 1});
# within a transaction that is sent in pieces, with a savepoint that is not kept
parted('in the midst of a large transaction', ddl => $by_time, dest => $plain,
	steps => [ qq{BEGIN; INSERT INTO t SELECT i, 5, '2024-03-01' FROM generate_series(1, 20000) i; SAVEPOINT a;
	TRUNCATE p_2025; ROLLBACK TO a; TRUNCATE p_2024;
	INSERT INTO t SELECT i, 6, '2024-03-01' FROM generate_series(1, 20000) i; COMMIT} ]);
$m->run;
is(files('the same partitions'), 'p_2024 p_2025 p_rest', 'the same partitions are truncated');
is(files('names mixed up'), 'p_2024 p_2025 p_rest', 'whatever they are called');
is(files('a default with other siblings'), 'p_2024 p_2025', 'a default that has other siblings is not');
is(files('three levels, the same'), 'p24_1 p24_d1 p24_d2 p_rest', 'nor is a level what its parents are not');
is(files('three levels, other'), 'p24_1 p24_7 p24_x p_rest', 'but what is the same below others is');
is(files('expressions, the same'), 'p1 p21 p22', 'expressions are compared');
is(files('hashes of int, the same') . files('hashes of text, names mixed up') . files('hashes of int, fewer'),
	'p0 p1 p3p0 p1 x', 'and hashes');

# --- what cannot be told ------------------------------------------------------------------

sub told
{
	my ($name, %case) = @_;
	$m->refused($name, tables => [ sprintf($rows, $name) ], compare => 0, fix_code => sub { skip_failed() },
		name_in_error => $name, source => $full, %case);
}
sub skip_failed
{
	my ($lsn) = status_of($dest, 'g', 'postgres',
		'last_error') =~ m{flo\.skip\('g', 'postgres', '([0-9A-F/]+)'\)|([0-9A-F]+/[0-9A-F]+)};
	($lsn) = status_of($dest, 'g', 'postgres', 'last_error') =~ m{\b([0-9A-F]+/[0-9A-F]+)\b};
	$dest->safe_psql('postgres', "SELECT flo.skip('g', 'postgres', '$lsn')");
}
my $enum_hash = sprintf($mood, 'HASH', 'CREATE TABLE p0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE p1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)');
told('hashes of an enum', ddl => $enum_hash, change => "$moods; TRUNCATE p1",
	error => qr/"hashes of an enum\.p1" was truncated .* rows of "hashes of an enum\.t" were in it cannot.*hashes/s);
is($dest->safe_psql('postgres', 'SELECT count(*) FROM "hashes of an enum".t'), 40, 'no row is gone');
told('hashes, a plain table', ddl => sprintf($hash, 'int') . $four, dest => $plain, change => "$fill; TRUNCATE p1",
	error => qr/cannot be told here.*hashes/s);
told('ranges of an enum',
	ddl => sprintf($mood, 'RANGE', q{CREATE TABLE p1 PARTITION OF t FOR VALUES FROM ('sad') TO ('fine');
	CREATE TABLE p2 PARTITION OF t DEFAULT}), change => "$moods; TRUNCATE p1",
	error => qr/cannot be told here.*means something else here/s);
told('another type', ddl => sprintf($by_list, 'int'),
	dest => 'DROP TABLE t; CREATE TABLE t (id int, k text, ts timestamp)', change => "$with_null; TRUNCATE p1",
	error => qr/cannot be told here.*"k" is of type text here and of type pg_catalog\.int4 there/s);
told('another order', ddl => q{CREATE TABLE t (id int, k text COLLATE "C", ts timestamp) PARTITION BY RANGE (k);
	CREATE TABLE p1 PARTITION OF t FOR VALUES FROM ('1') TO ('3'); CREATE TABLE p2 PARTITION OF t DEFAULT},
	dest => 'DROP TABLE t; CREATE TABLE t (id int, k text COLLATE "C.utf8", ts timestamp)',
	change => "$texts; TRUNCATE p1", error => qr/cannot be told here.*another order/s)
  if $dest->safe_psql('postgres', q{SELECT count(*) FROM pg_collation
	WHERE collname = 'C.utf8' AND collprovider = 'c'}) ne '0'
  && $dest->safe_psql('postgres', q{SELECT pg_collation_actual_version(oid) IS NOT NULL FROM pg_collation
	WHERE collname = 'C.utf8' AND collprovider = 'c' LIMIT 1}) eq 't';
told("a user's function", ddl => q{CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 % 3';
	CREATE TABLE t (id int, k int, ts timestamp) PARTITION BY LIST (f(k));
	CREATE TABLE p1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF t DEFAULT},
	change => "$fill; TRUNCATE p1", error => qr/cannot be told here/);
my $a_rule = q{INSERT INTO flo.rules (group_name, schema_name, table_name, column_name, action, arguments)
	VALUES ('g', '%s', 't', 'k', 'expression', '{"expression": "7"}')};
$dest->safe_psql('postgres', sprintf($a_rule, 'a rule'));
told('a rule', ddl => sprintf($by_list, 'int'), change => "$with_null; TRUNCATE p1",
	error => qr/rule \d+ changes column "k"/);
is($dest->safe_psql('postgres', 'SELECT count(*) FROM "a rule".t'), 40, 'no row is gone');

$dest->safe_psql('postgres', 'DELETE FROM flo.rules');

# --- routes and events -----------------------------------------------------------------------

$m->create({ name => 'routed', ddl => sprintf($by_list, 'int'), source => $full,
	dest => 'ALTER TABLE t RENAME COLUMN k TO kind; CREATE SCHEMA far; ALTER TABLE t SET SCHEMA far;
	ALTER TABLE far.t RENAME TO u; CREATE TABLE keeps (LIKE far.u); ALTER TABLE keeps RENAME COLUMN kind TO k' });
$m->create({ name => 'kept', ddl => sprintf($by_list, 'int'), source => $full });
$m->create({ name => 'without', ddl => sprintf($by_list, 'int'), source => $full,
	dest => 'DROP TABLE t; CREATE TABLE t (id int, ts timestamp)' });
$dest->safe_psql('postgres',
	q{INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table,
	column_mappings, operations) VALUES
	('g', 'routed', 't', 'far', 'u', '{"k": "kind"}', DEFAULT),
		('g', 'kept', 't', NULL, NULL, DEFAULT, '{INSERT,UPDATE,DELETE}'),
		('g', 'without', 't', NULL, NULL, '{"k": null}', DEFAULT)});
create_event_worker($dest, 'g', 'file', 'file', { directory => $dir });
$source->safe_psql('postgres', qq{SET search_path = $_; $with_null; TRUNCATE p1, p3; TRUNCATE t; $with_null;
	TRUNCATE p1}) for 'routed', 'kept';
$m->wait;
is($dest->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE kind IN (1, 2) OR kind IS NULL) FROM far.u}),
	$source->safe_psql('postgres', 'SELECT count(*), 0 FROM routed.t'), 'by the route of the root, under its names');
is($dest->safe_psql('postgres', 'SELECT relname FROM pg_class
	WHERE relfilenode <> oid AND relkind = $$r$$ AND relnamespace IN ($$far$$::regnamespace, $$routed$$::regnamespace)
	ORDER BY 1'), "p1\np2\np3", 'and truncates the partitions there');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM kept.t'), 80,
	'a route that keeps what the source truncates keeps what it truncates in part');
{
	my @events = grep { $_->{Schema} eq 'kept' && $_->{Type} eq 'TRUNCATE' } file_events($dir);
	is(scalar(@events), 0, 'the route holds for events, too');
	@events = grep { $_->{Schema} eq 'far' && $_->{Type} eq 'TRUNCATE' } file_events($dir);
	is(join(' ',
		map { "$_->{Table}:" . ($_->{Partition} ? "$_->{Partition}{Schema}.$_->{Partition}{Table}" : '') } @events),
		'u:routed.p1 u:routed.p3 u: u:routed.p1', 'events name the root, and the partition');
	is($events[0]{Partition}{Condition}, q{((kind IS NOT NULL AND kind IN ('1'::pg_catalog.int4, }
		  . q{'2'::pg_catalog.int4)) OR kind IS NULL)}, 'and which rows were in it');
	my %ids = map { $_->{Id} => 1 } @events;
	is(scalar(keys %ids), 4, 'each with an Id of its own');
}
told('without', exists => 1, change => "$with_null; TRUNCATE p2",
	error => qr/Column "k", by which they are told apart, does not come here/);

# --- as it was then -----------------------------------------------------------------------------

# the replicator reads of it when the partition has long been changed
$m->create({ name => 'later', ddl => $by_time, source => $full, dest => $plain });
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
$source->safe_psql('postgres', qq{SET search_path = later; $fill; TRUNCATE p_rest;
	CREATE TABLE p_more PARTITION OF t FOR VALUES FROM ('2027-01-01') TO ('2028-01-01'); $fill; TRUNCATE p_2024;
	DROP TABLE p_2024; ALTER TABLE p_2025 RENAME TO p_24});
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
$m->wait;
# the rows of a partition that was dropped stay, as its DROP is no change of rows
is($dest->safe_psql('postgres', q{SELECT count(*) FROM later.t}),
	$source->safe_psql('postgres', 'SELECT count(*) FROM later.t'),
	'what a partition was when it was truncated counts');

$m->finish;
$_->stop('fast') for $source, $dest;
done_testing();
