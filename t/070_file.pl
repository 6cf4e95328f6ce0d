
# Events in files: what they say, and each of them exactly once whatever dies.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $dir = PostgreSQL::Test::Utils::tempdir() . '/events';
my $here = PostgreSQL::Test::Utils::tempdir() . '/here';
mkdir $_ for $dir, $here;

# Settings of a database must not show in events
$_->safe_psql('postgres', q{
	ALTER DATABASE postgres SET datestyle = 'SQL, DMY';
	ALTER DATABASE postgres SET extra_float_digits = -10;
	ALTER DATABASE postgres SET timezone = 'Asia/Kathmandu';
	ALTER DATABASE postgres SET bytea_output = 'escape';
}) for $source, $dest;
$ENV{PGOPTIONS} = '-c datestyle=ISO -c extra_float_digits=3 -c timezone=GMT -c bytea_output=hex';

$source->safe_psql('postgres', q{
	CREATE TYPE mood AS ENUM ('sad', 'ok');
	CREATE TYPE pair AS (a int, b text, moods mood[]);
	CREATE DOMAIN posint AS int CHECK (VALUE > 0);
	CREATE DOMAIN posints AS posint[];
	CREATE TABLE builtin (id int PRIMARY KEY, n numeric, f8 float8, f4 float4, b bool, big bigint, s smallint, t text,
		c char(4), j json, jb jsonb, ia int[], ta text[], na numeric[], ja jsonb[], ts timestamp, tz timestamptz,
		d date, ti time, tiz timetz, iv interval, by bytea, u uuid, r int4range, ra int4range[], mr int4multirange,
			m money, i inet,
		bx box[], o oid, bi bit(3), ts_v tsvector, l pg_lsn, x xml, tsa timestamptz[]);
	CREATE TABLE users (id int PRIMARY KEY, m mood, ms mood[], p pair, ps pair[], d posint, dd posint[], ds posints,
		j jsonb, rc regclass);
	CREATE TABLE toasted (id int PRIMARY KEY, big text, small int);
	ALTER TABLE toasted ALTER big SET STORAGE EXTERNAL;
	CREATE TABLE "Odd ""Name\ " ("the ""Key" int PRIMARY KEY, "tab	le" text);
	CREATE TABLE keyless (a int, b text);
	ALTER TABLE keyless REPLICA IDENTITY FULL;
	CREATE TABLE by_index (a int NOT NULL, b int NOT NULL, v text);
	CREATE UNIQUE INDEX by_index_b ON by_index (b);
	ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_b;
});
create_group($source, undef, 'g');
create_event_worker($dest, 'g', 'file', 'file', { directory => $dir });
create_event_worker($source, 'g', 'file', 'here', { directory => $here });
mkdir "$dir.some";
create_event_worker($dest, 'g', 'file', 'some',
	{ directory => "$dir.some", tables => [ 'keyless', 'public."Odd ""Name\\ "' ] });

# --- what events say -----------------------------------------------------------------

# The text as it stands: backslashes count
$source->safe_psql('postgres', <<'SQL');
	INSERT INTO builtin VALUES (1, 12345678901234567890.123456789000, 0.1::float8 + 0.2::float8, 1e-7, true,
		9223372036854775807, -5,
		E'quo"te \\ back\n\r\t\x01 é 中 /', 'ab', '{"a":  1, "a": [2,
 "x"]}', '{"z": 1.500, "a": null}', '{{1,2},{3,NULL}}', '{"a b",NULL,"NULL","x\"y\\\\",""}', '{1.50,NaN}',
 	array['{"k": [1]}', 'null']::jsonb[],
		'2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789012+03', '2024-02-29', '12:00:01.5', '12:00:01+02',
			'1 mon -2 days 03:04:05', '\x00ff10',
		'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '[1,10)', '{"[1,2)",empty}', '{[1,2),[5,7)}', 12.5, '10.0.0.1/8',
		'{(1,1),(0,0);(2,2),(1,1)}', 4294967295, '101', 'a b:1', '1/AB', '<a>b</a>',
			'{"2024-02-29 12:00+00",infinity}');
	INSERT INTO builtin (id, n, f8, f4, ts, tz, d, ia, t, jb)
		VALUES (2, 'NaN', 'Infinity', '-Infinity', 'infinity', '-infinity', '0044-03-15 BC', '{}', '', '"text"');
	INSERT INTO builtin (id, ia) VALUES (3, '[0:1]={7,8}');
	INSERT INTO users VALUES (1, 'ok', '{sad,NULL,ok}', '(1,"a, ""q"" \\","{ok,sad}")', array[row(1, NULL, NULL)::pair,
		NULL, row(NULL, '', '{}')::pair],
		5, '{1,2}', '{3}', '{"k": 1}', 'pg_class');
SQL

sub events_of
{
	my ($where, $table) = @_;
	return grep { $_->{Table} eq $table } file_events($where);
}

# Compared as text: digits count
sub new_tuples
{
	my ($where, $table) = @_;
	return map { /"NewTuple":(.*),"OldTuple":/s ? $1 : '' } grep {
		index($_, qq("Table":"$table")) > 0 } file_lines($where);
}

wait_caught_up($source, $dest, 'g');
wait_caught_up($source, $source, 'g', member => 'here');
for my $where ([ 'another database', $dir ], [ 'the source database', $here ])
{
	my ($place, $in) = @$where;
	my @expected = map { s/[\n\r]/ /gr } split /\x1e/,
	  $source->safe_psql('postgres', q{SELECT string_agg(row_to_json(builtin)::text, E'\x1e' ORDER BY id)
		FROM builtin});
	my @found = new_tuples($in, 'builtin');
	is($found[$_], $expected[$_], "row $_ of built-in types in $place is what row_to_json() makes of it") for 0 .. 2;
}
is((new_tuples($here, 'users'))[0], $source->safe_psql('postgres', q{SELECT row_to_json(users) FROM users}),
	'user-defined types in the source database, too');
my ($foreign) = events_of($dir, 'users');
is_deeply([ @{ $foreign->{NewTuple} }{qw(id m ms p d dd)} ],
	[ 1, 'ok', '{sad,NULL,ok}', '(1,"a, ""q"" \\\\","{ok,sad}")', '5', '{1,2}' ],
	'and as strings where they are not known');

$source->safe_psql('postgres', q{
	INSERT INTO toasted VALUES (1, repeat('x', 5000), 1);
	UPDATE toasted SET small = NULL;
	UPDATE toasted SET id = 7;
	INSERT INTO "Odd ""Name\ " VALUES (1, E'new\nline');
	INSERT INTO keyless VALUES (1, 'a'), (2, NULL);
	UPDATE keyless SET b = 'z' WHERE a = 2;
	DELETE FROM keyless WHERE a = 1;
	INSERT INTO by_index VALUES (1, 10, 'v');
	UPDATE by_index SET b = 11;
	DELETE FROM by_index;
	BEGIN; DELETE FROM toasted; TRUNCATE keyless, by_index; INSERT INTO keyless VALUES (3, 'x'); COMMIT;
});
wait_caught_up($source, $dest, 'g');
my @e = events_of($dir, 'toasted');
is(join(' ', map { $_->{Type} } @e), 'INSERT UPDATE UPDATE DELETE', 'types of events');
is_deeply([ $e[1]{NewTuple}, $e[1]{OldTuple}, $e[1]{UnchangedColumns} ],
	[ { id => 1, small => undef }, undef, ['big'] ],
	'an unchanged TOAST value is listed, not shown');
is_deeply([ $e[2]{NewTuple}, $e[2]{OldTuple} ], [ { id => 7, small => undef }, { id => 1 } ],
	'a changed key shows the old one');
is_deeply([ @{ $e[3] }{qw(NewTuple OldTuple)} ], [ undef, { id => 7 } ], 'DELETE shows the key');
ok(!exists $e[0]{UnchangedColumns}, 'no unchanged columns, no list');
is_deeply($e[0]{ReplicationKey}, { Type => 'PRIMARY KEY', Columns => ['id'] }, 'ReplicationKey: primary key');

@e = events_of($dir, 'keyless');
is_deeply([ map { $_->{OldTuple} } @e[ 2, 3 ] ], [ { a => 2, b => undef }, { a => 1, b => 'a' } ],
	'replica identity FULL: whole old rows');
is_deeply($e[0]{ReplicationKey}, { Type => 'FULL', Columns => [ 'a', 'b' ] }, 'ReplicationKey: full');
is_deeply([ map { $_->{Type} } @e[ 4, 5 ] ], [ 'TRUNCATE', 'INSERT' ], 'TRUNCATE is in order');
is_deeply((events_of($dir, 'by_index'))[0]{ReplicationKey}, { Type => 'UNIQUE', Columns => ['b'] },
	'ReplicationKey: index');
is_deeply((events_of($dir, 'Odd "Name\\ '))[0]{NewTuple}, { 'the "Key' => 1, "tab\tle" => "new\nline" }, 'odd names');

my ($i) = events_of($dir, 'builtin');
like($i->{$_}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$/, "$_ is ISO 8601 in UTC")
  for 'CommittedAt', 'EmittedAt';
is(join(' ', sort keys %$i),
	'CommitLSN CommittedAt EmittedAt Id LSN NewTuple OldTuple ReplicationKey Schema Table Type Xid',
	'members of an event');
like($i->{CommitLSN}, qr{^[0-9A-F]+/[0-9A-F]+$}, 'CommitLSN');
my @all = file_events($dir);
is_deeply([ map { $_->{Id} } @all ], [ map { $_->{Id} } file_events($here) ], 'Ids are the same whoever writes them');
are_exactly(\@all, 19, 'events');
is((stat "$dir/" . (event_files($dir))[0])[2] & 07777, 0600, 'files are for their owner only');

# --- the option tables -----------------------------------------------------------------

wait_caught_up($source, $dest, 'g', member => 'some');
is_deeply([ map { $_->{Id} } file_events("$dir.some") ],
	[ map { $_->{Id} } grep { $_->{Table} =~ /keyless|Odd/ } @all ],
	'the option tables: only their events, Ids the same');
cmp_ok(status_of($dest, 'g', 'some', 'filtered'), '>', 3, 'the rest is counted');

# --- who may, and into what ---------------------------------------------------------------

$dest->safe_psql('postgres', "SELECT flo.create_worker('g', 'file', 'second', '{\"directory\": \"$dir\"}');
	SELECT flo.start_group('g', 'second')");
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'is used by another process|belongs to another worker'
	FROM flo.status WHERE member = 'second'}, 'an error'),
	'a second worker cannot have the directory');
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'second')});
are_exactly([ file_events($dir) ], 19, 'and has changed nothing');
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'some')});
$source->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'here')});

# --- trouble with the directory --------------------------------------------------------------

sub insert
{
	my ($n) = @_;
	$source->safe_psql('postgres', "INSERT INTO toasted SELECT i, 'x', $n
		FROM generate_series($n * 1000 + 1, $n * 1000 + 100) i");
}

SKIP:
{
	skip 'permissions do not stop root', 3 if $> == 0;
	$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'file', '{"max_size": "64kB"}')});
	chmod 0500, $dir;
	insert(1) for 1;
	insert($_) for 2 .. 6;
	ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'could not create file.*Permission denied' FROM flo.status
		WHERE member = 'file'}, 'an error'),
		'a directory that cannot be written to is shown');
	chmod 0700, $dir;
	ok(wait_caught_up($source, $dest, 'g'), 'and it goes on by itself');
	are_exactly([ file_events($dir) ], 619, 'nothing is lost or doubled');
}

my $before = scalar file_events($dir);
rename $dir, "$dir.away" or die;
insert(7);
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'No such file or directory|was removed while it was written'
	FROM flo.status WHERE member = 'file'}, 'an error'),
	'a directory that is gone is shown');
is(scalar file_events("$dir.away"), $before, 'nothing is left in the old place that will come again');
mkdir $dir;
ok(wait_caught_up($source, $dest, 'g'), 'and it goes on by itself when there is one again');
are_exactly([ file_events($dir) ], 100, 'with what is missing');
are_exactly([ file_events("$dir.away"), file_events($dir) ], $before + 100, 'and together there is all');

# Rows that are larger than the memory that is kept for them
my $writer = pid_of($dest, 'g', 'file');
for my $n (1 .. 3)
{
	$source->safe_psql('postgres', "INSERT INTO toasted VALUES (-$n, repeat('x', 3000000), 1)");
	wait_caught_up($source, $dest, 'g');
}
is(join(' ', map { length $_->{NewTuple}{big} } (file_events($dir))[ -3 .. -1 ]),
	'3000000 3000000 3000000', 'large rows');
is(pid_of($dest, 'g', 'file'), $writer, 'and the process that writes them lives');

$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'file')});

# --- kills under load ---------------------------------------------------------------------------

# Small files, so that rotation is among what is interrupted
my $load_dir = "$dir.load";
mkdir $load_dir;
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
pgbench_tables($source);
$source->safe_psql('postgres', 'CREATE TABLE many (id int PRIMARY KEY, v text)');
create_group($source, undef, 'l');
create_event_worker($dest, 'l', 'file', 'file', { directory => $load_dir, max_size => '1MB' });
$source->safe_psql('postgres', q{
	INSERT INTO pgbench_branches VALUES (1, 0);
	INSERT INTO pgbench_tellers SELECT i, 1, 0 FROM generate_series(1, 10) i;
	INSERT INTO pgbench_accounts SELECT i, 1, 0 FROM generate_series(1, 100000) i;
});

my $load = start_load($source, clients => 4, rate => 400);
for my $round (1 .. 8)
{
	# within a large transaction as well
	$source->safe_psql('postgres', "INSERT INTO many SELECT i, repeat('m', 100)
		FROM generate_series($round * 100000, $round * 100000 + 9999) i");
	sleep rand(0.7);	# sleeps: the moment of the kill is a random one
	my $pid = pid_of($dest, 'l', 'file');
	if ($round % 4 == 0)
	{
		$dest->stop('immediate');
		$dest->start;
	}
	elsif ($round % 4 == 3)
	{
		$dest->kill9;
		ok(wait_for_start($dest), 'the server is back');
	}
	else { kill 'KILL', $pid; }
	wait_other_pid($dest, 'l', 'file', $pid);
}
stop_load($load);
wait_caught_up($source, $dest, 'l');
my @lines = file_lines($load_dir);
my $count = $source->safe_psql('postgres', 'SELECT 4 * count(*) + 100011 + 8 * 10000 FROM pgbench_history');
lines_are_exactly(\@lines, $count, 'every event exactly once after kills');
my @events = map { JSON::PP::decode_json($_) } grep { /"Table":"pgbench_(tellers|branches)"/ } @lines;
my @files = event_files($load_dir);
cmp_ok(scalar @files, '>', 20, 'files were rotated');
is(scalar(grep { -s "$load_dir/$_" > 1024 * 1024 } @files), 0, 'none is larger than max_size');
is_replayed($source, \@events, 'public.pgbench_tellers', 'tid');
is_replayed($source, \@events, 'public.pgbench_branches', 'bid');

sub wait_for_start
{
	my ($node) = @_;
	return await(sub {
			return 1 if $node->start(fail_ok => 1);
			# the old one has not quite gone: the lock file is still its own
			$node->{_pid} = undef;
			return 0;
		}, 'the server to start');
}

# --- rotation by age ------------------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.alter_worker('l', 'file', '{"max_size": null, "max_age": "1s"}')});
my ($aged, $began) = (0, time());
ok(await(sub {
			$aged++;
			$source->safe_psql('postgres', "INSERT INTO many VALUES ($aged, 'age')");
			wait_caught_up($source, $dest, 'l');
			event_files($load_dir) >= @files + 3;
		}, 'files to be rotated'), 'files are rotated by age');
cmp_ok(time() - $began, '>=', 2, 'and not earlier');
lines_are_exactly([ grep { /"age"/ } file_lines($load_dir, $files[-1]) ], $aged, 'and complete');

$_->stop('fast') for $source, $dest;
done_testing();
