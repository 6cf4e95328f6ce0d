
# Documents that cross hosts, forged at the broker: each field that is missing, of
# another type or out of its bounds is an error 08P01 that names document and
# field; no process crashes, nothing is taken for something else, and there is a
# way on.  Sequences: only those of the group's tables are set.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloChunk;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "log_line_prefix = '%m [%p] %e '\npg_flo.restart_interval = '200ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $bucket = '$KV.pg_flo_state_g';
my $stream = 'pgflo_g_stream';

for my $node ($source, $dest)
{
	$node->safe_psql('postgres', q{
		CREATE ROLE owner; GRANT CREATE ON SCHEMA public TO owner; SET ROLE owner;
		CREATE TABLE t (id serial PRIMARY KEY, v text);
		CREATE SEQUENCE shared; CREATE TABLE u (id int DEFAULT nextval('shared') PRIMARY KEY);
		CREATE SEQUENCE admin_seq;
		CREATE TABLE other (id serial PRIMARY KEY)});
}
create_group($source, $dest, 'g', tables => q{'{t,u}'});
my $born = $dest->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $values = sub {
	$dest->safe_psql('postgres', q{SELECT (SELECT (last_value, is_called) FROM t_id_seq),
	(SELECT (last_value, is_called) FROM shared), (SELECT (last_value, is_called) FROM admin_seq),
	(SELECT (last_value, is_called) FROM other_id_seq), (SELECT (last_value, is_called) FROM flo.rules_id_seq)}) };

sub log_since { my ($node, $from) = @_; return substr(slurp_file($node->logfile), $from); }
sub never_down
{
	is($_->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity}) > 0, 1, $_[0]) for $dest;
	unlike(slurp_file($_->logfile), qr/terminated by signal|PANIC|TRAP/, "$_[0]: " . $_->name . ' has not crashed')
	  for $source, $dest;
}

# --- which sequences ---------------------------------------------------------------------

$source->safe_psql('postgres', q{INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 5); INSERT INTO u DEFAULT VALUES;
	SELECT nextval('admin_seq'), nextval('other_id_seq')});
my $lsn = $source->safe_psql('postgres', q{SELECT flo.sync_sequences('g')});
is($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn')"), 't', 'values arrive');
is($values->(), '(5,t)|(1,t)|(1,f)|(1,f)|(1,f)', 'sequences that the group\'s tables own or use are set, no others');

# what has the name of one here, and is another table's
$dest->safe_psql('postgres', q{ALTER TABLE u ALTER id DROP DEFAULT;
	ALTER TABLE other ALTER id SET DEFAULT nextval('shared')});
$source->safe_psql('postgres', q{SELECT nextval('shared'), nextval('t_id_seq')});
my $log = -s $dest->logfile;
$lsn = $source->safe_psql('postgres', q{SELECT flo.sync_sequences('g')});
is($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn')"), 't', 'values arrive again');
is($values->(), '(6,t)|(1,t)|(1,f)|(1,f)|(1,f)', 'one of the same name that another table uses is left alone');
like(log_since($dest, $log), qr/LOG: .*sequence "public.shared" of the source is not set here/, 'and that is told');
$dest->safe_psql('postgres', q{ALTER TABLE other ALTER id DROP DEFAULT; DROP SEQUENCE shared});
$log = -s $dest->logfile;
$lsn = $source->safe_psql('postgres', q{SELECT flo.sync_sequences('g')});
is($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn')"), 't', 'and again');
like(log_since($dest, $log), qr/LOG: .*"public.shared" of the source is not set here.*There is none/s,
	'one that is not there is told of, too');
$dest->safe_psql('postgres', q{SET ROLE owner; CREATE SEQUENCE shared;
	ALTER TABLE u ALTER id SET DEFAULT nextval('shared')});

# --- forged messages ---------------------------------------------------------------------------

$source->safe_psql('postgres', q{INSERT INTO t (v) VALUES ('last')});
wait_caught_up($source, $dest, 'g');
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');

# The newest chunk with a row, and the newest of all
sub newest
{
	my ($with_rows) = @_;
	for (my $seq = $nats->last_seq($stream); $seq > 0; $seq--)
	{
		my $chunk = FloChunk->parse($nats->message($stream, $seq) // die 'no message') or next;
		return $chunk if !$with_rows || !$chunk->is_heartbeat;
	}
}

# Put a transaction with one message at the end of the stream; its LSN
sub forge
{
	my ($prefix, $content) = @_;
	my ($chunk, $end) = (newest(1), newest(0));
	my ($in, $out) = ($chunk->{records}, '');

	while (length $in)
	{
		my $record = substr $in, 4, unpack('N', $in);
		$in = substr $in, 4 + length $record;
		$record = pack('a C Q> Z* N', 'M', 1, 0, $prefix, length $content) . $content if $record =~ /^[IM]/;
		$out .= pack('N', length $record) . $record if $record =~ /^[BCM]/;
	}
	$chunk->{records} = $out;
	$chunk->move_to($end->{upto}, $end->{position} + 16);
	@$chunk{qw(epoch number)} = ($end->{epoch}, $end->{number} + 1);
	$nats->publish('pgflo.g', $chunk->bytes);
	return sprintf '%X/%X', ($end->{position} + 16) >> 32, ($end->{position} + 16) & 0xFFFFFFFF;
}

sub refused
{
	my ($prefix, $content, $pattern, $name) = @_;
	my $from = -s $dest->logfile;
	my $at = forge($prefix, $content);

	ok(wait_until($dest, 'postgres', "SELECT coalesce(last_error, '') ~ '$at' FROM flo.status", 'the error'),
		"$name: an error");
	like(log_since($dest, $from), qr/08P01 ERROR: .*$pattern/, "$name: 08P01, with document and field");
	$dest->safe_psql('postgres', "SELECT flo.skip('g', 'postgres', '$at')");
	ok(wait_until($dest, 'postgres', "SELECT durable_lsn > '$at' AND state IN ('streaming', 'waiting') FROM flo.status",
		'the worker'), "$name: skip() leads on");
}

my $before = $values->();
my $doc = sub { qq({"version": 1, "group": "g", "sequences": [$_[0]]}) };
my $one = sub { my %f = (schema => '"public"', name => '"t_id_seq"', last_value => 1000, is_called => 'true',
	tables => '[{"schema": "public", "name": "t"}]', @_); '{'
	  . join(', ', map { qq("$_": $f{$_}) } grep { defined $f{$_} } sort keys %f) . '}' };
my @bad = (
	[ '', 'is not JSON' ], [ '{', 'is not JSON' ], [ '[]', 'is not an object' ], [ "\xff\xfe", 'text of its encoding' ],
	[ '[' x 20000, 'is not JSON' ],
	[ '{"group": "g", "sequences": []}', '"version" is missing' ],
	[ '{"version": 1, "sequences": []}', '"group" is missing' ],
	[ '{"version": 1, "group": "other", "sequences": []}', 'another group' ],
	[ '{"version": 1, "group": "g", "sequences": 7}', '"sequences" is not an array' ],
	[ $doc->('["public", null, 1, true]'), 'sequences\[0\]' ], [ $doc->('1'), 'sequences\[0\].*is not an object' ],
	[ $doc->($one->(name => 'null')), 'sequences\[0\].name" is missing' ],
	[ $doc->($one->(name => 7)), 'name" is not a string' ],
	[ $doc->($one->(name => '"' . ('x' x 64) . '"')), 'name" is longer' ],
	[ $doc->($one->(name => '"a\\u0000b"')), 'is not JSON' ],
	[ $doc->($one->(last_value => '"5"')), 'last_value" is not a number' ],
	[ $doc->($one->(last_value => '9223372036854775808')), 'last_value" is not a whole number' ],
	[ $doc->($one->(last_value => '1.5')), 'last_value" is not a whole' ],
	[ $doc->($one->(last_value => '1e400')), 'last_value" is not a whole' ],
	[ $doc->($one->(is_called => '"t"')), 'is_called" is not true or false' ],
	[ $doc->($one->() . ', ' . $one->(schema => undef)), 'sequences\[1\].schema" is missing' ]);
refused('pg_flo_sequences', $_->[0], $_->[1], substr($_->[0], 0, 70)) for @bad;
is($values->(), $before, 'nothing was set');
never_down('forged values of sequences');

# Well-formed ones, about what is not the group's
my $at = '';
my @others = map { $one->(last_value => '9223372036854775807', %$_) }
  { name => '"admin_seq"' }, { name => '"admin_seq"', tables => '[]' },
  { schema => '"flo"', name => '"rules_id_seq"', tables => '[{"schema": "flo", "name": "rules"}]' },
  { schema => '"pg_catalog"', name => '"pg_class"' }, { name => '"t"' }, { name => '"other_id_seq"' },
  { schema => '"none"' };
$at = forge('pg_flo_sequences', $doc->(join ', ', @others));
ok(wait_until($dest, 'postgres', "SELECT durable_lsn > '$at' FROM flo.status", 'the position'),
	'values of others\' sequences: passed over');
is($values->(), $before, 'and none is set');

# beyond the bounds of the sequence here
$dest->safe_psql('postgres', 'ALTER SEQUENCE t_id_seq MAXVALUE 500');
my $from = -s $dest->logfile;
$at = forge('pg_flo_sequences', $doc->($one->()));
ok(wait_until($dest, 'postgres', "SELECT coalesce(last_error, '') ~ '$at' FROM flo.status", 'the error'),
	'a value out of bounds: an error');
like(log_since($dest, $from), qr/22003 ERROR: .*out of bounds for sequence "t_id_seq"/, 'that says so');
$dest->safe_psql('postgres', 'ALTER SEQUENCE t_id_seq MAXVALUE 5000');
ok(wait_until($dest, 'postgres', "SELECT durable_lsn > '$at' FROM flo.status", 'the position'),
	'and goes when the bounds are wider');
is($dest->safe_psql('postgres', 'SELECT last_value FROM t_id_seq'), '1000', 'then it is set');

# --- DDL ------------------------------------------------------------------------------------------

my $ddl = '{"version": 1, "id": 1, "phase": "both", "tag": "X", "text": "SELECT 1", "objects": [%s]}';
refused('pg_flo_ddl', $_->[0], $_->[1], substr($_->[0], 0, 70)) for (
	[ '', 'is not JSON' ], [ '7', 'is not an object' ], [ '{"version": 1}', 'is missing' ],
	[ '{"version": 1, "id": 1, "phase": "after all", "tag": "X", "text": "", "objects": []}',
		'"phase" has an unknown value' ],
	[ sprintf($ddl, '7'), 'objects\[0\].*is not an object' ],
	[ sprintf($ddl, '{"type": "table", "name": null}'), 'objects\[0\].name" is missing' ],
	[ sprintf($ddl, '{"type": "table", "name": "t", "relation": -1}'), 'relation" is not between' ],
	[ sprintf($ddl, '{"type": "table", "name": "t", "creates": 1}'), 'creates" is not true' ]);
never_down('forged DDL');

# --- the state bucket -----------------------------------------------------------------------------

sub state_of
{
	return $_[0]->safe_psql('postgres', q{SELECT concat_ws(' ', state, last_error) FROM flo.status
		WHERE group_name = 'g'});
}
my $report = q({"version": 1, "worker": "w", "system_identifier": "1", "database": "d", "lsn": "0/1", "seq": 0, )
	  . q("copied_seq": 0, "copying": false, "awaits_resync": false, "missing_chunks": 0, "missing_attempt": 0, )
	  . q("copy_attempt": 0, "at": "2026-01-31T12:00:00Z"});
my @documents = (
	[ 'worker.forged', 'not JSON', 'not JSON' ], [ 'worker.forged', '{"lsn":"0/0","seq":0}', '"worker" is missing' ],
	[ 'worker.forged', $report =~ s/"0\/1"/"x"/r, '"lsn" is not an LSN' ],
	[ 'worker.forged', $report =~ s/"seq": 0/"seq": -1/r, '"seq" is not between' ],
	[ 'worker.forged', $report =~ s/"awaits_resync": false/"awaits_resync": "false"/r, '"awaits_resync" is not true' ],
	[ 'worker.forged', $report =~ s/"at": "[^"]*"/"at": "2026-99-99T99:99:99Z"/r, '"at" is not a time' ],
	[ 'worker.forged', $report =~ s/"1"/"-1"/r, '"system_identifier" is not' ],
	[ 'worker.forged', $report =~ s/"d"/"\xff"/r, 'encoding' ]);
$source->safe_psql('postgres', q{SELECT flo.resync('g', copy => false)});
sub logged
{
	my ($since, $pattern, $name) = @_;
	await(sub { slurp_file($source->logfile, $since) =~ $pattern }, "a line like $pattern");
	like(log_since($source, $since), $pattern, $name);
}
start_member($source, 'g', 'replicator');
my $replicator = pid_of($source, 'g', 'replicator');
for my $case (@documents)
{
	my ($key, $value, $pattern) = @$case;
	my $since = -s $source->logfile;
	$nats->publish("$bucket.$key", $value);
	logged($since, qr/08P01 WARNING: .*malformed document "$key": .*$pattern/,
		"$key: $pattern: a warning that names key and field");
}
$log = -s $source->logfile;
$nats->publish("$bucket.worker.forged", $report =~ s/"version": 1/"version": 2/r);
logged($log, qr/0A000 WARNING: .*"worker.forged" has version 2/, 'one of a later version');
is(pid_of($source, 'g', 'replicator'), $replicator, 'the replicator goes on');
is(error_of($source, q{SELECT flo.drop_consumer('g', 'forged')}), '', 'drop_consumer() removes it');
$nats->publish("$bucket.source", '{"lsn": "0/0"}');
ok(wait_until($dest, 'postgres', q{SELECT coalesce(last_error, '') ~ 'document "source"' FROM flo.status}, 'the error'),
	'a worker says what it cannot read');
never_down('forged documents of the state bucket');

# and all is well again
wait_state($dest, 'g', 'postgres', 'streaming');
$source->safe_psql('postgres', q{INSERT INTO t (v) VALUES ('after')});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM t WHERE v = 'after'}), '1', 'the stream goes on');
is($dest->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $born, 'in the same server');

done_testing();
