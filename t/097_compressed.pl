
# Values that travel as the source's server has compressed them: what arrives is exact
# for each storage and method on either side, for keys, rules, events and rows that are
# applied one by one; nothing that is forged is stored; and nobody gets what he has not
# said that he reads.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloForge;
use FloTest;
use JSON::PP ();
use MIME::Base64 ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '100ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $lz4 = $source->psql('postgres', 'CREATE TABLE lz4 (v text COMPRESSION lz4); DROP TABLE lz4') == 0;

sub src { return $source->safe_psql($_[1] || 'postgres', $_[0]); }
sub dst { return $dest->safe_psql($_[1] || 'postgres', $_[0]); }
# what is counted is handed in with what is published, which a worker may have before
sub sent { wait_caught_up($source, $source, 'g'); return status_of($source, 'g', 'replicator', 'bytes'); }
sub synced { wait_caught_up($source, $dest, 'g', @_); }

# --- what is stored, and how -----------------------------------------------------------------

# A column for each way to store at the source and each at the destination
my @ways = ('STORAGE EXTENDED', 'STORAGE MAIN', 'STORAGE EXTERNAL', 'COMPRESSION ' . ($lz4 ? 'lz4' : 'pglz'));
my (@columns, %alter);
for my $s (0 .. $#ways)
{
	for my $d (0 .. $#ways)
	{
		push @columns, "c$s$d";
		push @{ $alter{source} }, "ALTER c$s$d SET $ways[$s]";
		push @{ $alter{dest} }, "ALTER c$s$d SET $ways[$d]";
	}
}
my $types = q{t text, v varchar(9000), b bytea, j json, jb jsonb, c char(5000), f varchar(40000)};
my $ddl = q{
	CREATE DOMAIN name_of AS text CHECK (length(VALUE) > 1);
	CREATE FUNCTION long(i int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
		$$ SELECT string_agg(left(md5((i * 1000 + j)::text), 8) || repeat('lorem ', 4), '')
			FROM generate_series(1, n) j $$;
	CREATE FUNCTION hard(i int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
		$$ SELECT string_agg(md5((i * 1000 + j)::text), '') FROM generate_series(1, n) j $$;
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE ways (id int PRIMARY KEY, n int, } . join(', ', map { "$_ text" } @columns) . qq{);
	CREATE TABLE types (id int PRIMARY KEY, n int, $types);
	CREATE TABLE vain (id int PRIMARY KEY, v text, b bytea, w text);
	CREATE TABLE domains (id int PRIMARY KEY, d name_of, b bytea);
	CREATE TABLE keys (k text PRIMARY KEY, v text);
	CREATE TABLE whole (k text, v text); ALTER TABLE whole REPLICA IDENTITY FULL;
	CREATE TABLE ruled (id int PRIMARY KEY, a text, b text, c text);
	CREATE TABLE checked (id int PRIMARY KEY, v text CHECK (length(v) > 10), w text);
	CREATE INDEX ON checked (left(v, 10)); CREATE INDEX ON checked USING hash (w);
	CREATE TABLE parts (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
	CREATE TABLE part PARTITION OF parts FOR VALUES IN (1);
	ALTER TABLE part ALTER v SET STORAGE EXTERNAL};
$_->safe_psql('postgres', $ddl) for $source, $dest;
src('ALTER TABLE ways ' . join(', ', @{ $alter{source} }));
dst('ALTER TABLE ways ' . join(', ', @{ $alter{dest} }));
dst(q{CREATE TABLE t2 (v text); ALTER TABLE types ALTER f TYPE text; ALTER TABLE domains ALTER d TYPE text});
my @tables = qw(vain ways types domains keys whole checked parts part);

src(q{SELECT flo.create_replicator('g', options => '{"compression": "none"}');
	INSERT INTO flo.rules (group_name, stage, table_name, column_name, action) VALUES ('g', 'replicator', 'ruled',
		'a', 'mask')});
dst(q{INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('g', 'ruled', 'b', 'mask')});
start_member($source, 'g', 'replicator');
dst(q{SELECT flo.create_worker('g', options => '{"on_conflict": "update"}')});
start_member($dest, 'g', 'postgres');
my $files = PostgreSQL::Test::Utils::tempdir() . '/events';
mkdir $files;
create_event_worker($dest, 'g', 'file', 'events', { directory => $files });

# They have said what they read when 64 kB travel in less
my $id = 0;
ok(await(sub {
	my $before = sent();
	src('INSERT INTO t SELECT ' . ++$id . q{, repeat(md5('x'), 2000)});
	synced();
	return sent() - $before < 20000;
}, 'compressed values'), 'values travel compressed when all workers read them');
is_same_table($source, $dest, 't');

# Many rows as a set, few one by one
sub of_kinds
{
	my ($from, $to) = @_;
	my $values = join ', ', map { "long(i + $_, 90)" } 1 .. @columns;

	return "INSERT INTO ways SELECT i, 0, $values FROM generate_series($from, $to) i;
		INSERT INTO types SELECT i, 0, long(i, 250), long(i, 200), convert_to(long(i, 300), 'UTF8'),
			to_json(long(i, 300)), to_jsonb(long(i, 300)), long(i, 100), long(i, 400)
			FROM generate_series($from, $to) i;
		INSERT INTO vain SELECT i, hard(i, 100), convert_to(hard(i, 120), 'UTF8'), long(i, 300)
			FROM generate_series($from, $to) i;
		INSERT INTO domains SELECT i, long(i, 300), convert_to(long(i, 300), 'UTF8')
			FROM generate_series($from, $to) i;
		INSERT INTO keys SELECT repeat('k', 2400) || i, long(i, 300) FROM generate_series($from, $to) i;
		INSERT INTO whole SELECT repeat('k', 4000) || i, long(i, 300) FROM generate_series($from, $to) i;
		INSERT INTO ruled SELECT i, long(i, 100), long(i, 110), long(i, 300) FROM generate_series($from, $to) i;
		INSERT INTO checked SELECT i, long(i, 300), long(i, 300) FROM generate_series($from, $to) i;
		INSERT INTO parts SELECT i, 1, long(i, 300) FROM generate_series($from, $to) i;";
}
sub same
{
	my ($what) = @_;

	synced();
	is_same_table($source, $dest, $_, "$what: $_") for @tables;
	is(dst('SELECT md5(string_agg(c, id::text ORDER BY id)) FROM ruled'),
		src('SELECT md5(string_agg(c, id::text ORDER BY id)) FROM ruled'), "$what: beside masked columns");
	is(dst(q{SELECT count(*) FROM ruled WHERE length(a) <> 3200 OR length(b) <> 3520 OR a !~ '^.\*+.$'
			OR b !~ '^.\*+.$'}), 0, "$what: masked at either side");
}
src('BEGIN; ' . of_kinds(1, 20) . 'COMMIT');
same('a set');
src('BEGIN; ' . of_kinds(21, 22) . 'COMMIT');
same('one by one');
my @by_method = map { $_->safe_psql('postgres', q{SELECT string_agg(pg_column_compression(t), '')
	|| sum(pg_column_size(t)) || string_agg(pg_column_compression(b), '') FROM types}) } $source, $dest;
is($by_method[1], $by_method[0], 'what the source has compressed is as large');
is(dst('SELECT DISTINCT pg_column_compression(c33) FROM ways'), $lz4 ? 'lz4' : 'pglz', 'and by the same method');
is(dst("SELECT DISTINCT concat_ws(' ', pg_column_compression(c00), pg_column_compression(c30),
		pg_column_compression(c03), pg_column_compression(c02)) FROM ways"),
	'pglz pglz ' . ($lz4 ? 'lz4' : 'pglz'), 'a column that wants another method, or none, gets what it wants');
is(dst("SELECT DISTINCT concat_ws(' ', pg_column_compression(v), pg_column_compression(b), pg_column_compression(w))
		FROM vain"), 'pglz', 'what the source could not make smaller stays as large');
src(q{ALTER TABLE vain ALTER v SET STORAGE EXTERNAL;
	INSERT INTO vain SELECT i, long(i, 300), NULL, hard(i, 100) FROM generate_series(51, 70) i});
synced();
is(dst(q{SELECT DISTINCT concat_ws(' ', pg_column_compression(v), pg_column_compression(w)) FROM vain WHERE id > 50}),
	'pglz', 'others of the column are compressed as ever');
src(q{ALTER TABLE vain ALTER v SET STORAGE EXTENDED; UPDATE vain SET v = hard(id + 1, 110), w = hard(id, 90);
	UPDATE types SET n = 1; UPDATE ways SET n = n + 1; UPDATE types SET t = long(id + 7, 250), b = NULL WHERE id < 12;
	UPDATE keys SET v = k; UPDATE keys SET k = repeat('n', 2400) || k WHERE false;
	UPDATE keys SET k = repeat('m', 2400) || right(k, 2) WHERE right(k, 1) = '1';
	UPDATE whole SET v = long(length(k), 310) WHERE right(k, 1) = '2'; UPDATE whole SET k = k || 'x';
	UPDATE checked SET w = v; UPDATE vain SET b = NULL WHERE id < 5; UPDATE parts SET v = long(id + 9, 200)});
same('updates');
src(q{DELETE FROM keys WHERE right(k, 1) > '5'; DELETE FROM whole WHERE right(k, 2) > '5x';
	DELETE FROM types WHERE id < 9; DELETE FROM ways WHERE id < 9; DELETE FROM checked WHERE id < 9;
	DELETE FROM parts WHERE id < 9});
same('deletes');

# Rows that are there already, and triggers that fire
dst(q{INSERT INTO checked SELECT i, 'something else', 'x' FROM generate_series(101, 120) i;
	CREATE FUNCTION longer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := NEW.v || 'x'; RETURN NEW; END $$;
	CREATE TRIGGER longer BEFORE INSERT ON keys FOR EACH ROW EXECUTE FUNCTION longer();
	ALTER TABLE keys ENABLE ALWAYS TRIGGER longer});
src('BEGIN; ' . of_kinds(101, 120) . 'COMMIT');
synced();
is_same_table($source, $dest, 'checked', 'rows in the way');
is(dst(q{SELECT count(*), md5(string_agg(v, ',' ORDER BY k)) FROM keys WHERE k ~ '^k+1[0-2][0-9]$'}),
	src(q{SELECT count(*), md5(string_agg(v || 'x', ',' ORDER BY k)) FROM keys WHERE k ~ '^k+1[0-2][0-9]$'}),
	'a trigger sees the value');
dst('DROP TRIGGER longer ON keys');

# A route that gives columns other names and places; and events
dst(q{CREATE TABLE moved (w text, v text, id int PRIMARY KEY);
	INSERT INTO flo.routes (group_name, worker_name, source_schema, source_table, destination_schema,
		destination_table, column_mappings) VALUES ('g', 'postgres', 'public', 'checked', NULL, 'moved',
		'{"v": "w", "w": "v"}')});
ok(wait_until($dest, 'postgres', q{SELECT EXISTS (SELECT FROM flo.routes WHERE enabled)}, 'the route'), 'a route');
src('UPDATE checked SET v = w WHERE false; INSERT INTO checked VALUES (200, NULL, NULL)');
ok(await(sub {
	src('INSERT INTO checked SELECT max(id) + 1, long(1, 20), long(2, 20) FROM checked');
	synced();
	return dst('SELECT count(*) FROM moved') > 0;
}, 'the route to be in force'), 'is in force');
src(q{INSERT INTO checked SELECT i, long(i, 300), long(i + 1, 300) FROM generate_series(301, 320) i});
synced();
is(dst(q{SELECT md5(string_agg(w || '-' || v, ',' ORDER BY id)) FROM moved WHERE id > 300}),
	src(q{SELECT md5(string_agg(v || '-' || w, ',' ORDER BY id)) FROM checked WHERE id > 300}), 'values change places');
src(q{SELECT pg_logical_emit_message(true, 'x', 'y')});
my @told;
ok(await(sub {
	@told = grep { /"Table":"types"/ && /"Type":"INSERT"/ } file_lines($files);
	return $told[-1] && $told[-1] =~ /"id":"?120\b/;
}, 'events'), 'events');
my @rows = map { JSON::PP::decode_json($_)->{NewTuple} } @told[0, -1];
is(join(' ', map { "$_->{id} " . length($_->{t}) . ' ' . length($_->{jb}) } @rows), '1 8000 9600 120 8000 9600',
	'hold the values');
is($rows[1]{t}, src('SELECT t FROM types WHERE id = 120'), 'as they are');
dst(q{SELECT flo.drop_worker('g', 'events')});

# As much as may be expanded of a message, and beside it what is not
src(q{INSERT INTO vain VALUES (1000, hard(1, 100), NULL, repeat('w', 64 * 1024 * 1024))});
synced();
is_same_table($source, $dest, 'vain', 'a row of 64 MB, and more');
src('DELETE FROM vain WHERE id = 1000');

# --- a copy -----------------------------------------------------------------------------------

my @copied = qw(types vain whole);
dst('TRUNCATE ' . join(', ', @copied));
src("SELECT flo.resync('g', '$_')") for @copied;
for (@copied)
{
	ok(wait_until($dest, 'postgres', "SELECT count(*) = " . src("SELECT count(*) FROM $_") . " FROM $_", "copy of $_"),
		"$_ is copied");
	is_same_table($source, $dest, $_);
}
my @sizes = map { $_->safe_psql('postgres', q{SELECT concat_ws(' ', sum(pg_column_size(t)),
	string_agg(DISTINCT pg_column_compression(t), ' '),
	(SELECT concat_ws(' ', sum(pg_column_size(v)), count(pg_column_compression(v))) FROM vain)) FROM types}) }
	$source, $dest;
is($sizes[1], $sizes[0], 'and as large as at the source');

# --- tables whose description is larger than a chunk is to be ------------------------------------

my @wide = map { sprintf 'c%04d_%s', $_, 'x' x 52 } 1 .. 1500;
$_->safe_psql('postgres', 'CREATE TABLE wide (id int PRIMARY KEY, ' . join(', ', map { "$_ int" } @wide) . ')')
	for $source, $dest;
src('INSERT INTO wide (id) SELECT generate_series(1, 300)');
synced();
my $before = sent();
src("UPDATE wide SET $wide[0] = id");
synced();
cmp_ok(sent() - $before, '<', 3_000_000, 'a chunk holds many rows of a table with many columns');
is_same_table($source, $dest, 'wide');

# --- encodings -------------------------------------------------------------------------------

src(q{CREATE DATABASE latin ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0});
dst('CREATE DATABASE latin');
for ([ $source, 'latin' ], [ $dest, 'latin' ])
{
	$_->[0]->safe_psql($_->[1], 'CREATE EXTENSION pg_flo; CREATE TABLE e (id int PRIMARY KEY, v text, b bytea)');
}
create_group($source, $dest, 'latin', source_db => 'latin', dest_db => 'latin');
src(q{INSERT INTO e SELECT i, repeat('abc' || chr(233), 5000), convert_to(repeat('abc' || chr(233), 5000), 'LATIN1')
	FROM generate_series(1, 20) i}, 'latin');
wait_caught_up($source, $dest, 'latin', source_db => 'latin', dest_db => 'latin');
is(dst('SELECT DISTINCT md5(v), md5(b) FROM e', 'latin'),
	src(q{SELECT DISTINCT md5(convert_to(v, 'UTF8')), md5(b) FROM e}, 'latin'),
	'text of another encoding is converted');

# --- who does not read them ------------------------------------------------------------------

my $consumer = dst(q{SELECT consumer FROM flo.stream_status('g') WHERE worker_name = 'postgres'});
my $key = '$KV.pg_flo_state_g.worker.';
my $answer = $nats->api('STREAM.MSG.GET.KV_pg_flo_state_g', { last_by_subj => "$key$consumer" });
my $report = JSON::PP::decode_json(MIME::Base64::decode_base64($answer->{message}{data}));
ok($report->{pglz}, 'a worker says that it reads them');
is(!!$report->{lz4}, $lz4, 'and by which methods') if $lz4;
delete @$report{qw(pglz lz4)};
(my $other = $consumer) =~ s/.$/x/;
$nats->publish("$key$other", JSON::PP::encode_json($report));
sub travels
{
	my ($plain, $what) = @_;

	return ok(await(sub {
		my $before = sent();
		src('INSERT INTO t SELECT ' . ++$id . q{, repeat(md5('x'), 2000)});
		synced();
		my $bytes = sent() - $before;
		return $plain ? $bytes > 60000 : $bytes < 20000;
	}, $what), $what);
}
travels(1, 'while a worker is registered that does not, values travel plain');
$nats->request("$key$other", '');
$nats->api('STREAM.PURGE.KV_pg_flo_state_g', { filter => "$key$other" });
travels(0, 'and compressed again without it');
is_same_table($source, $dest, 't', 'they are the same');

# --- forged ones -----------------------------------------------------------------------------

src(q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
forge_after($nats, 'g', $dest);

# As pglz has it, but with shorter runs than the server makes
sub pglz
{
	my ($unit, $length, $run) = @_;
	my ($out, $done, @items) = ('', length $unit, map { [ 0, $_ ] } split //, $unit);

	for (; $length - $done >= $run; $done += $run)
	{
		push @items, [ 1, chr((length($unit) >> 4 & 0xF0) | ($run - 3)) . chr(length($unit) & 0xFF) ];
	}
	push @items, map { [ 0, substr($unit, $_ % length($unit), 1) ] } $done .. $length - 1;
	while (my @eight = splice @items, 0, 8)
	{
		my $control = 0;
		$control |= $eight[$_][0] << $_ for 0 .. $#eight;
		$out .= chr($control) . join '', map { $_->[1] } @eight;
	}
	return $out;
}
sub compressed { my ($plain, $bytes, %more) = @_; return join '', 'z', $more{kind} // 't', $more{method} // 'p',
		pack('N N', $plain, length $bytes), $bytes; }
sub forged { my ($n, $value) = @_; return record("I${relation}N" . pack('n', 2) . 't' . record($n) . $value); }

my $good = pglz('ab', 2000, 17);
whole(1000, $description . join '', map { forged(1000 + $_, compressed(2000, $good)) } 1 .. 8);
ids_are(1001, 1008, join(' ', 1001 .. 1008), 'a value that another compressor has made');
is(dst(q{SELECT DISTINCT v = repeat('ab', 1000), pg_column_size(v) FROM t WHERE id BETWEEN 1001 AND 1008}),
	't|' . (8 + length $good), 'is stored as it is');

my $n = 2000;
for my $case (
	[ 'cut', compressed(2000, substr $good, 0, -1), 'cannot be expanded' ],
	[ 'longer than it says', compressed(1999, $good), 'cannot be expanded' ],
	[ 'shorter than it says', compressed(2001, $good), 'cannot be expanded' ],
	[ 'very long', compressed(0x3FFFFFFF, $good), 'too large' ],
	[ 'longer than any value', compressed(0xFFFFFFFF, $good), 'too large' ],
	[ 'plain, but shorter', compressed(2000, $good, method => 'P'), 'cannot be expanded' ],
	[ 'an unknown method', compressed(2000, $good, method => 'q'), 'cannot be expanded' ],
	[ 'an unknown kind', compressed(2000, $good, kind => 'z'), 'unknown kind' ],
	[ 'not smaller', compressed(64, join '', map { "\0abcdefgh" } 1 .. 8), 'cannot be expanded' ],
	[ 'from before its beginning', compressed(2000, "\x02a\xFE\xFF" . substr $good, 0, 200), 'cannot be expanded' ],
	[ 'text that is none', compressed(2000, pglz("\xC3a", 2000, 17)), 'invalid byte sequence' ],
	[ 'a zero byte', compressed(2000, pglz("\0a", 2000, 17)), 'invalid byte sequence' ],
	$lz4 ? [ 'lz4 that is none', compressed(2000, $good, method => 'l'), 'corrupt' ] : ())
{
	my ($name, $value, $error) = @$case;

	my ($lsn) = map { sprintf '%X/%X', $_ >> 32, $_ & 0xFFFFFFFF } next_commit();
	whole($n, $description . join '', map { forged($n * 10 + $_, $value) } 1 .. 8);
	ok(wait_until($dest, 'postgres', "SELECT last_error ~ '$error' FROM flo.status
		WHERE member = 'postgres' AND group_name = 'g' AND state <> 'streaming'", $name), "$name: $error");
	dst("SELECT flo.skip('g', 'postgres', '$lsn')");
	whole(++$n, $description . forged($n, 't' . record('after it')));
	ids_are($n, $n, $n, "$name: passed over");
	$n++;
}
is(dst('SELECT count(*) FROM t WHERE id >= 20000'), 0, 'none of them is stored');
is(dst('SELECT count(*) FROM t WHERE length(v) <> octet_length(v)'), 0, 'and all text is text');

done_testing();
