
# A source with 0.2 before its workers: one with 0.1 stands still and is told of, others
# go on, and when it is upgraded it gets everything; and a worker that meets what is
# newer than itself says so and waits.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloChunk;
use FloTest;
use FloUpgrade;
use JSON::PP ();
use MIME::Base64 ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

skip_without_former();
my $nats = FloTest::Nats->new('broker');
my $source = former_node('source', $nats);
my $former = former_node('former', $nats);
my $dest = flo_node('dest', $nats);

transfer_tables($source, $former, $dest);
$source->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i');
create_copy_group($source, $former, 'g', tables => q{'{accounts,moves}'});
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g',
	options => '{"start": "earliest"}'); SELECT flo.start_group('g')});
wait_state($_, 'g', 'postgres', 'streaming') for $former, $dest;
my $load = transfer_load($source, rate => 100);
wait_caught_up($source, $_, 'g') for $former;

sub report_at
{
	my ($subject) = @_;
	my $message = $nats->api('STREAM.MSG.GET.KV_pg_flo_state_g', { last_by_subj => $subject })->{message};

	return JSON::PP::decode_json(MIME::Base64::decode_base64($message->{data}));
}

# --- the source is upgraded first ----------------------------------------------------

my $log = -s $source->logfile;
my $before = -s $former->logfile;
upgrade($source);
wait_state($source, 'g', 'replicator', 'streaming');
is_logged($source, $log, qr/WARNING:  worker "postgres" of database "postgres" runs pg_flo 0\.1 and cannot read/,
	'the source says which worker is to be upgraded');
like(slurp_file($source->logfile, $log), qr/HINT:  Upgrade pg_flo at that destination/, 'and how');
is_logged($former, $before, qr/is passed over: chunk version of a newer pg_flo/, 'so does the worker');

my $rows = $former->safe_psql('postgres', 'SELECT count(*) FROM moves');
my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
wait_until($dest, 'postgres', "SELECT flo.wait_for('g', '$lsn', '10 s')", 'another worker');
is($former->safe_psql('postgres', 'SELECT count(*) FROM moves'), $rows, 'it takes nothing that it cannot read');

# Others have done with what it lacks, and it may say that it has, too: nothing of that is removed
my $stream = 'pgflo_g_stream';
my $lacks = $nats->last_seq($stream);
ok(wait_until($source, 'postgres', q{SELECT now() - backend_start > interval '7 s' FROM flo.status
	JOIN pg_stat_activity USING (pid)}, 'the time after which a source removes things'), 'the source runs for a while');
my $id = $former->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
my ($subject) = grep { /\.worker\./ && report_at($_)->{system_identifier} eq $id }
  keys %{ $nats->api('STREAM.INFO.KV_pg_flo_state_g', { subjects_filter => '>' })->{state}{subjects} };
my $report = report_at($subject);
my $has = $report->{seq};
@$report{qw(lsn seq)} = ($source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()'), $lacks);
$nats->publish($subject, JSON::PP::encode_json($report));
$lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
wait_until($dest, 'postgres', "SELECT flo.wait_for('g', '$lsn', '10 s')", 'another worker');
cmp_ok($has, '<', $lacks, 'it lacks something');
cmp_ok($nats->api("STREAM.INFO.$stream")->{state}{first_seq}, '<=', $has + 1, '... all of which is in the stream');
is($source->safe_psql('postgres', q{SELECT restart_lsn IS NOT NULL AND invalid FROM (SELECT restart_lsn,
	wal_status = 'lost' AS invalid FROM pg_replication_slots) s}),
	'f', 'and nothing is lost');

# --- the worker then -------------------------------------------------------------------

upgrade($former);
wait_state($former, 'g', 'postgres', 'streaming');
stop_load($load);
wait_caught_up($source, $_, 'g') for $former, $dest;
is_same_table($source, $former, $_) for 'accounts', 'moves';
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.stream_status('g') WHERE acked_lsn IS NULL}), 0,
	'and is a worker like others');

# --- what is newer than 0.2 --------------------------------------------------------------

my $chunk = FloChunk->parse($nats->message($stream, $nats->last_seq($stream)));
$chunk->{version} = 3;
$nats->publish('pgflo.g', $chunk->bytes);
my $newer = $nats->last_seq($stream);
ok(wait_until($former, 'postgres', q{SELECT EXISTS (SELECT FROM flo.status
	WHERE last_error ~ 'cannot be read: it is of a newer version of pg_flo')},
		'an error'), 'a later version stops a worker');
like(status_of($former, 'g', 'postgres', 'last_hint'), qr/Upgrade pg_flo here/, 'with what to do');
$nats->api("STREAM.MSG.DELETE.$stream", { seq => $newer });
wait_state($former, 'g', 'postgres', 'streaming');

done_testing();
