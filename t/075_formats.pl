
# Formats of events: each is held against its own rules, and against the others.

use strict;
use warnings;
use Encode ();
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloHook;
use FloNatsClient;
use FloTest;
use JSON::PP ();
use MIME::Base64 ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

$FloTest::timeout = 60;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $json = JSON::PP->new->utf8->canonical;
my %dir = map { ($_ => PostgreSQL::Test::Utils::tempdir() . "/$_") } qw(pg_flo cloudevents debezium);
mkdir $_ for values %dir;

$source->safe_psql('postgres', qq{
	CREATE DATABASE "Shop 1";
});
my $db = 'Shop 1';
$source->safe_psql($db, 'CREATE EXTENSION pg_flo');
$source->safe_psql($db, qq{
	CREATE TABLE items (id int PRIMARY KEY, name text, price numeric, day date, at timestamptz, raw bytea, doc jsonb,
		photo text);
	ALTER TABLE items ALTER photo SET STORAGE EXTERNAL;
	CREATE TABLE "Ödd.n\tame" (id int PRIMARY KEY);
	CREATE TABLE whole (a int, b text);
	ALTER TABLE whole ALTER b SET STORAGE EXTERNAL;
	ALTER TABLE whole REPLICA IDENTITY FULL;
	CREATE TABLE parted (id int, p text, PRIMARY KEY (id, p)) PARTITION BY LIST (p);
	CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('a');
	CREATE TABLE parted_b PARTITION OF parted FOR VALUES IN ('b');
	INSERT INTO items VALUES (1, 'copied', 1.50, '2024-02-29', '2024-02-29 12:00+00', '\\x00ff', '{"k": 1}', 'p');
	INSERT INTO items VALUES (2);
	SELECT flo.create_replicator('g', mode => 'copy_and_stream', track_ddl => true);
});
$dest->safe_psql('postgres', "SELECT flo.create_worker('g', 'file', '$_', '"
	. JSON::PP::encode_json({ directory => $dir{$_}, format => $_, start => 'copy' }) . "')") for sort keys %dir;
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_state($dest, 'g', $_, 'waiting') for sort keys %dir;
# the copy is kept for workers that are known while it is there, so it waits for all three
halt_at($source, 'chunk.after');
$source->safe_psql($db, q{SELECT flo.start_group('g')});
await_halt($source, 'a chunk of the copy') or die;
wait_state($dest, 'g', $_, 'copying') for sort keys %dir;
$source->safe_psql($db, 'SELECT pg_terminate_backend(' . halted_pid($source, 'chunk.after') . ')');
wait_state($dest, 'g', $_, 'streaming') for sort keys %dir;

sub caught_up { wait_caught_up($source, $dest, 'g', source_db => $db, member => $_) for @_ ? @_ : sort keys %dir; }
caught_up();

my $before = time();
my $big = 'x' x 5000;
$source->safe_psql($db, $_) for (
	"INSERT INTO items VALUES (3, 'new', 0.10, NULL, NULL, NULL, NULL, '$big')",
	"UPDATE items SET name = 'changed' WHERE id = 3",
	'UPDATE items SET id = 30 WHERE id = 3',
	"BEGIN; UPDATE items SET price = 2 WHERE id = 1; UPDATE items SET name = NULL WHERE id = 2; COMMIT",
	'DELETE FROM items WHERE id = 1',
	qq{INSERT INTO "Ödd.n\tame" SELECT generate_series(1, 11)},
	"INSERT INTO whole VALUES (1, '$big'); UPDATE whole SET a = 2; DELETE FROM whole",
	"INSERT INTO parted VALUES (1, 'a'), (2, 'b'); UPDATE parted SET p = 'b' WHERE id = 1",
	'TRUNCATE parted_b',
	'TRUNCATE whole, parted',
	"ALTER TABLE items ADD COLUMN extra text DEFAULT 'e'");
caught_up();
my %events = map { ($_ => [ file_events($dir{$_}) ]) } keys %dir;
my @own = @{ $events{pg_flo} };
my %own = map { ($_->{Id} => $_) } @own;
my $count = @own;

is(join(' ', map { $_->{Type} } grep { !$_->{Snapshot} } @own),
	'INSERT UPDATE UPDATE UPDATE UPDATE DELETE ' . 'INSERT ' x 11 . 'INSERT UPDATE DELETE INSERT INSERT DELETE INSERT '
	  . 'TRUNCATE TRUNCATE TRUNCATE DDL', 'what happened');
is_deeply([ map { $_->{NewTuple}{id} } grep { $_->{Snapshot} } @own ], [ 1, 2 ], 'copied rows are marked');

# --- CloudEvents ---------------------------------------------------------------------------------------------

my $rfc3339 = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

# What is wrong with its attributes; "" when nothing is
sub attribute_problems
{
	my (%a) = @_;
	my @problems = map { "no $_" } grep { !defined $a{$_} || $a{$_} eq '' } qw(id source specversion type);

	push @problems, "name $_" for grep { !/^[a-z0-9]{1,20}$/ } keys %a;
	push @problems, "value of $_" for
	  grep { ref $a{$_} || !defined $a{$_} || $a{$_} =~ /[\x00-\x1f\x7f-\x9f]/ } keys %a;
	push @problems, 'specversion' if $a{specversion} ne '1.0';
	push @problems, 'time' if exists $a{time} && $a{time} !~ $rfc3339;
	push @problems, 'source' if $a{source} !~ m{^[\w/:?#\[\]\@!\$&'()*+,;=.~%-]+$}a;
	return join(', ', @problems);
}

sub cloudevent_problems
{
	my ($event) = @_;
	my %attributes = %$event;
	my $data = delete $attributes{data};
	my $problems = attribute_problems(%attributes);

	$problems .= ', data' if ref $data ne 'HASH' || $attributes{datacontenttype} ne 'application/json';
	return $problems;
}

# Our own object, without what differs each time it is written
sub timeless { my %event = %{ $_[0] }; delete $event{EmittedAt}; return $json->encode(\%event); }

my @cloud = @{ $events{cloudevents} };
is(scalar @cloud, $count, 'cloudevents: one for each');
is(join("\n", grep { $_ ne '' } map { cloudevent_problems($_) } @cloud), '', 'each is a CloudEvent');
is(join("\n", map { timeless($_->{data}) } @cloud), join("\n", map { timeless($_) } @own), 'with our object as data');
is(scalar(grep { $_->{id} ne $_->{data}{Id} } @cloud), 0, 'of its Id');
is(join(' ', sort keys %{ { map { ($_->{source} => 1) } @cloud } }), '/pg_flo/Shop%201/g', 'source');
is(join(' ', sort keys %{ { map { ($_->{subject} => 1) } @cloud } }),
	'public.=C3=96dd=2En=09ame public.items public.parted public.whole', 'subjects');
is(join(' ', map { $_->{type} } @cloud[ 2 .. 3 ]), 'pg_flo.insert pg_flo.update', 'types');
is(scalar(grep { exists $_->{time} ? $_->{time} ne $_->{data}{CommittedAt} : !$_->{data}{Snapshot} } @cloud), 0,
	'the time is that of the commit');
my @sequences = map { $_->{sequence} } @cloud;
is(join(' ', @sequences), join(' ', sort @sequences), 'sequences sort as events do');

# --- Debezium ------------------------------------------------------------------------------------------------

sub debezium_problems
{
	my ($e) = @_;
	my $op = $e->{op} // '';
	my $s = $e->{source};
	my @problems;

	push @problems, "op $op" if $op !~ /^[crudtm]$/;
	push @problems, "no $_" for grep { !exists $e->{$_} } qw(source op ts_ms transaction),
	  $op eq 'm' ? 'message' : qw(before after);
	push @problems, "source without $_" for grep { !exists $s->{$_} }
	  qw(version connector name ts_ms snapshot db sequence schema table txId lsn xmin);
	push @problems, 'before' if $op =~ /[crt]/ && defined $e->{before};
	push @problems, 'no before' if $op eq 'd' && ref $e->{before} ne 'HASH';
	push @problems, 'after' if $op =~ /[dt]/ && defined $e->{after};
	push @problems, 'no after' if $op =~ /[cru]/ && ref $e->{after} ne 'HASH';
	push @problems, 'snapshot' if $s->{snapshot} ne ($op eq 'r' ? 'true' : 'false');
	push @problems, 'txId' if $op eq 'r' ? defined $s->{txId} : $s->{txId} !~ /^\d+$/;
	push @problems, "$_" for grep { $e->{$_} !~ /^\d+$/ || $s->{$_} !~ /^\d+$/ } qw(ts_ms ts_us ts_ns);
	push @problems, 'ts_ms' if $e->{ts_ms} < ($before - 300) * 1000 || $e->{ts_ms} > (time() + 1) * 1000;
	push @problems, 'ts' if $e->{ts_us} !~ /^$e->{ts_ms}\d{3}$/ || $e->{ts_ns} ne "$e->{ts_us}000";
	return join(', ', @problems);
}

sub of { my ($table) = @_; return grep { $_->{source}{table} eq $table } @{ $events{debezium} }; }
sub ops { my ($table) = @_; return join('', map { $_->{op} } of($table)); }

my @debezium = @{ $events{debezium} };
is(join("\n", grep { $_ ne '' } map { debezium_problems($_) } @debezium), '', 'each is one of Debezium\'s');
is(ops('items'), 'rrcudcuudm', 'items: copied, inserted, updated, key changed, updated twice, deleted, altered');
is(ops('whole'), 'cudt', 'whole');
is(ops('parted'), 'ccdcmt', 'parted');
my @items = of('items');
is_deeply($items[0]{after},
	{ id => 1, name => 'copied', price => 1.5, day => '2024-02-29', at => '2024-02-29T12:00:00+00:00', raw => '\\x00ff',
		doc => { k => 1 }, photo => 'p' }, 'values are as in our own format');
is_deeply($items[3]{before}, undef, 'nothing is known of the row before an update');
is($items[3]{after}{photo}, '__debezium_unavailable_value', 'what was not sent is unavailable');
is_deeply([ $items[4]{before}, @{ $items[5]{after} }{qw(id photo)} ],
	[ { id => 3 }, 30, '__debezium_unavailable_value' ],
	'a key that changes: delete and create');
is($items[5]{source}{event_id}, "$items[4]{source}{event_id}.2", 'with an Id each');
ok($own{ $items[4]{source}{event_id} }, 'the first of them that of our own');
is_deeply($items[8]{before}, { id => 1 }, 'the key of what was deleted');
my @whole = of('whole');
is_deeply([ $whole[1]{before}, $whole[1]{after} ], [ { a => 1, b => $big }, { a => 2, b => $big } ],
	'with the whole row as identity nothing is unavailable');
my ($part) = grep { $_->{op} eq 'm' } of('parted');
is($part->{message}{prefix}, 'pg_flo.TRUNCATE', 'a partition alone is no TRUNCATE of the table');
is(timeless($json->decode(MIME::Base64::decode_base64($part->{message}{content}))),
	timeless($own{ $part->{source}{event_id} }), 'but says so in our words');
my ($ddl) = grep { $_->{op} eq 'm' } @items;
is($json->decode(MIME::Base64::decode_base64($ddl->{message}{content}))->{Command}{tag}, 'ALTER TABLE', 'a statement');
my %by_transaction;
for my $e (@debezium)
{
	my ($lsn, $n) = @{ JSON::PP::decode_json($e->{source}{sequence}) };
	is($lsn, $e->{source}{lsn}, 'sequence') if $lsn ne $e->{source}{lsn};
}
my ($first) = grep { $_->{op} eq 'c' } @items;
my $first_own = $own{ $first->{source}{event_id} };
is($source->safe_psql($db, "SELECT '$first_own->{CommitLSN}'::pg_lsn - '0/0'"), $first->{source}{lsn}, 'lsn');
is_deeply([ @{ $first->{source} }{qw(name db schema table txId)} ], [ 'g', $db, 'public', 'items', $first_own->{Xid} ],
	'where it comes from');

# Who applies them has the table
my %rows;
for my $e (grep { $_->{op} ne 'm' } @items)
{
	delete $rows{ $e->{before}{id} } if $e->{op} eq 'd';
	next if $e->{op} eq 'd';
	my %new = %{ $e->{after} };
	my $old = $rows{ $new{id} };
	$new{$_} = $old->{$_} for grep { defined $new{$_} && $new{$_} eq '__debezium_unavailable_value' && $old } keys %new;
	$rows{ $new{id} } = \%new;
}
is(join(' ', map { "$_=" . ($rows{$_}{name} // 'null') } sort keys %rows),
	$source->safe_psql($db, q{SELECT string_agg(id || '=' || coalesce(name, 'null'), ' ' ORDER BY id::text)
		FROM items}),
	'replayed they are the table');

# --- what the documentation shows ---------------------------------------------------------------------------

# Names of its members, and of theirs where they are always the same
sub members
{
	my ($o) = @_;
	return join(' ', map { /^(source|ReplicationKey)$/ && ref $o->{$_} ? "$_(" . members($o->{$_}) . ')' : $_ }
		sort keys %$o);
}

my $doc = "$FindBin::Bin/../doc/events.md";
SKIP:
{
	skip 'no doc/', 3 if !-e $doc;
	my @shown = map { $json->decode($_) } slurp_file($doc) =~ /^```json\n(.*?)^```/msg;
	my ($update) = grep { $_->{UnchangedColumns} } @own;
	is(members($shown[0]), members($update), 'our own object has the members that are shown');
	is(members($shown[1]), members((grep { $_->{id} eq $update->{Id} } @cloud)[0]), 'and CloudEvents');
	is(members($shown[2]), members((grep { $_->{source}{event_id} eq $update->{Id} } @debezium)[0]), 'and Debezium\'s');
}

# --- a backfill ------------------------------------------------------------------------------------------------

my $lines = () = file_lines($dir{debezium});
$source->safe_psql($db, q{SELECT flo.backfill('g', 'items', 'debezium', 'id = 2')});
ok(wait_until($source, $db, q{SELECT state = 'done' FROM flo.backfills}, 'the backfill'), 'a backfill');
my @filled = map { $json->decode($_) } (file_lines($dir{debezium}))[ $lines .. $lines ];
is_deeply([ map { ($_->{op}, $_->{source}{snapshot}, $_->{after}{id}) } @filled ], [ 'r', 'incremental', 2 ],
	'is incremental');

# --- messages, with headers: NATS ----------------------------------------------------------------------------

my $client = FloNatsClient->new($nats->port);
$client->subscribe('sent.>');
my %through = (
	nats_own => { format => 'pg_flo', tombstones => JSON::PP::true() },
	nats_cloud => { format => 'cloudevents', cloudevents_mode => 'binary',
		cloudevents_source => 'https://example.com/a%20b' },
	nats_debezium => { format => 'debezium', tombstones => JSON::PP::true() });
create_event_worker($dest, 'g', 'nats', $_, { subject => "sent.$_.{table}.{operation}", jetstream => JSON::PP::false(),
	start => 'latest', oversize => 'reference', %{ $through{$_} } }) for sort keys %through;
my ($less, $more) = ('l' x 700_000, 'm' x 800_000);
$source->safe_psql($db, $_) for (
	"INSERT INTO items (id, name) VALUES (7, 'seven')", 'UPDATE items SET id = 8 WHERE id = 7',
	'DELETE FROM items WHERE id = 8',
	"INSERT INTO items (id, name, photo) VALUES (9, '$less', '$more')",
	q{INSERT INTO whole VALUES (1, 'x'); DELETE FROM whole});
caught_up(sort keys %through);
my %sent;
while (my $message = $client->next(2)) { push @{ $sent{ (split /\./, $message->{subject})[1] } }, $message; }

# subject without what all have in common, and what the Id ends in
sub told_of
{
	my ($message) = @_;
	my ($what) = $message->{subject} =~ /^sent\.\w+\.(.*)/;
	my ($n) = $message->{headers}{'Nats-Msg-Id'} =~ /(\.\d+)$/;
	return $what . ($n // '') . ($message->{data} eq '' ? '(empty)' : '');
}
sub told { return join(' ', map { told_of($_) } @_); }

is(told(@{ $sent{nats_own} }),
	'items.insert items.update items.delete.2(empty) items.delete items.delete.2(empty) items.insert '
	. 'whole.insert whole.delete', 'tombstones for keys that are no more; a table without a key has none');
is(told(@{ $sent{nats_debezium} }),
	'items.insert items.delete items.delete.2(empty) items.insert.3 items.delete items.delete.2(empty) items.insert '
	  . 'whole.insert whole.delete', 'and of Debezium');
my @binary = @{ $sent{nats_cloud} };
is(scalar @binary, 6, 'in binary mode one message each');
for my $message (@binary[ 0 .. 2 ])
{
	my %attributes = map { /^ce-(.*)/ ? ($1 => $message->{headers}{$_}) : () } keys %{ $message->{headers} };
	my $data = $json->decode($message->{data});
	is(attribute_problems(%attributes), '', 'attributes are headers');
	is_deeply([ $message->{headers}{'content-type'}, @attributes{qw(id source type subject time)} ],
		[ 'application/json', $data->{Id}, 'https://example.com/a%2520b', 'pg_flo.' . lc $data->{Type}, 'public.items',
			$data->{CommittedAt} ], 'that say what our object does');
	is_deeply([ @{ $message->{headers} }{qw(Flo-Type Flo-Schema Flo-Table Flo-Commit-LSN)} ],
		[ @$data{qw(Type Schema Table CommitLSN)} ], 'and our own');
}

# --- values that do not fit ------------------------------------------------------------------------------------

for my $worker (sort keys %through)
{
	my $tuple = $worker eq 'nats_debezium' ? 'after' : 'NewTuple';
	my ($large) = grep { length $_->{data} > 100_000 } @{ $sent{$worker} };
	my $event = $json->decode($large->{data});
	is_deeply($event->{Omitted}, ['photo'], "$worker: the larger value is left out, and named");
	is($event->{$tuple}{name}, $less, 'the other one is there');
	is($event->{$tuple}{photo}, $tuple eq 'after' ? '__debezium_unavailable_value' : undef, 'in its place');
}
$dest->safe_psql('postgres', "SELECT flo.drop_worker('g', '$_')") for sort keys %through;

# --- HTTP ------------------------------------------------------------------------------------------------------

my $hook = FloHook->new('one');

# What the endpoint gets for these statements
sub hooked
{
	my ($options, @sql) = @_;
	$hook->forget;
	create_event_worker($dest, 'g', 'webhook', 'hook', { url => $hook->url, start => 'latest', %$options });
	$source->safe_psql($db, $_) for @sql;
	caught_up('hook');
	$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'hook')});
	return $hook->requests;
}

my @rows = ("INSERT INTO items (id, name) VALUES (20, 'ö')", 'UPDATE items SET id = 21 WHERE id = 20',
	'DELETE FROM items WHERE id = 21');

sub body { my ($request) = @_; return $json->decode(Encode::encode_utf8($request->{body})); }
sub content_types { return join(' ', map { $_->{headers}{'content-type'} =~ s/; charset=UTF-8$//r } @_); }
my @requests = hooked({ format => 'cloudevents' }, @rows);
is(content_types(@requests), join(' ', ('application/cloudevents+json') x 3),
	'structured: the content type');
is(join("\n", grep { $_ ne '' } map { cloudevent_problems(body($_)) } @requests), '',
	'and CloudEvents');
is($requests[0]{headers}{'flo-type'}, 'INSERT', 'with our headers');

@requests = hooked({ format => 'cloudevents', events_per_request => 2 }, join(';', 'BEGIN', @rows, 'COMMIT'));
is(content_types(@requests), join(' ', ('application/cloudevents-batch+json') x 2), 'batches: the content type');
my @batched = map { @{ body($_) } } @requests;
is(join(' ', map { $_->{type} . cloudevent_problems($_) } @batched),
	'pg_flo.insert pg_flo.update pg_flo.delete', 'and arrays of CloudEvents');
is(scalar(grep { /^(flo|ce)-/ } map { keys %{ $_->{headers} } } @requests), 0, 'without headers of single ones');

@requests = hooked({ format => 'debezium' }, @rows);
is(join(' ', map { body($_)->{op} . $_->{headers}{'flo-type'} } @requests),
	'cINSERT dDELETE cINSERT dDELETE', 'Debezium\'s: one request each');
is($requests[2]{headers}{'idempotency-key'}, "$requests[1]{headers}{'idempotency-key'}.2", 'with a key each');
is($requests[0]{headers}{'content-type'}, 'application/json', 'as JSON');

# A letter is sent again with the headers it had
$hook->answer('500 No');
$hook->forget;
create_event_worker($dest, 'g', 'webhook', 'hook', { url => $hook->url, start => 'latest', format => 'cloudevents',
	cloudevents_mode => 'binary', on_error => 'dead_letter', max_attempts => 1 });
$source->safe_psql($db, qq{INSERT INTO "Ödd.n\tame" VALUES (50)});
caught_up('hook');
my ($refused) = $hook->requests;
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.dead_letters
	WHERE 'ce-type: pg_flo.insert' = ANY (headers)}), 1,
	'a letter has its headers');
$hook->answer('200 OK');
$hook->forget;
$dest->safe_psql('postgres', q{SELECT flo.redrive_group('g')});
ok(wait_until($dest, 'postgres', 'SELECT count(*) = 0 FROM flo.dead_letters', 'the letter to be taken'), 'it is taken');
my ($again) = $hook->requests;
my %attributes = map { /^ce-(.*)/ ? ($1 => $again->{headers}{$_}) : () } keys %{ $again->{headers} };
is(attribute_problems(%attributes), '', 'with attributes');
is($again->{headers}{'flo-table'}, '%C3%96dd.n%09ame', 'names are encoded');
is($again->{headers}{'content-type'}, 'application/json', 'binary: the content type is that of the data');
is_deeply([ $again->{body}, $again->{headers} ], [ $refused->{body}, $refused->{headers} ],
	'all is as it was the first time');

# --- standard output -------------------------------------------------------------------------------------------

create_event_worker($dest, 'g', 'stdout', 'out', { start => 'latest', format => 'debezium' });
$source->safe_psql($db, $_) for @rows;
caught_up('out');
my @out = map { $json->decode($_) } grep { /^\{"before"/ } split /\n/, slurp_file($dest->logfile);
is(join('', map { $_->{op} . debezium_problems($_) } @out), 'cdcd', 'standard output');

$_->stop('fast') for $source, $dest;
done_testing();
