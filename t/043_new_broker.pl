
# Another broker in the place of one: nothing is lost when the workers have
# everything.  And a group whose publication somebody has dropped.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @broker = map { FloTest::Nats->new("broker$_") } 1 .. 3;
my $source = flo_node('source', $broker[0]);
my $dest = flo_node('dest', $broker[0]);
my $n = 0;

sub shows
{
	my ($node, $member, $pattern, $name) = @_;
	ok(wait_until($node, 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g' AND member = '$member'"
		  . " AND concat_ws(' ', state, detail) ~ '$pattern')", "$member to show $pattern"), $name)
	  or diag(status_of($node, 'g', $member, "concat_ws(' | ', state, detail, last_error)"));
}
sub insert { $source->safe_psql('postgres', "INSERT INTO t VALUES ($_)") for $n + 1 .. $n + 5; $n += 5; }
sub same { insert(); wait_caught_up($source, $dest, 'g'); is_same_table($source, $dest, 't', $_[0]); }
# The slot has let go of all that the broker had
sub let_go
{
	my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
	ok(wait_until($source, 'postgres', "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots", 'the slot'),
		'the WAL is released');
}
sub lead_to
{
	my ($node, $nats) = @_;
	$node->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	ok(wait_until($node, 'postgres', q{SELECT bool_and(state = 'stopped') FROM flo.status}, 'the group to stop'),
		'led to another broker');
	$node->append_conf('postgresql.conf', "pg_flo.nats_url = '" . $nats->url . "'\n");
	$node->reload;
	$node->safe_psql('postgres', q{SELECT flo.start_group('g')});
}

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)') for $source, $dest;
create_group($source, $dest, 'g');
same('the first broker');
let_go();

# As doc/operations.md says it
lead_to($source, $broker[1]);
shows($source, 'replicator', '^waiting for workers to report: the broker holds nothing of this group',
	'a new broker: the replicator waits for the workers');
lead_to($dest, $broker[1]);
wait_state($source, 'g', 'replicator', 'streaming');
same('a new broker: nothing is lost, the group goes on');
is(status_of($source, 'g', 'replicator', 'last_error'), '', 'without an error');

# Emptied where it stands
let_go();
$broker[1]->stop;
$broker[1]->forget;
$broker[1]->start;
same('an emptied broker');

# A worker that has not got everything: then something is lost
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
insert();
$source->safe_psql('postgres', q{SELECT flo.wait_for('g')});
let_go();
lead_to($source, $broker[2]);
shows($source, 'replicator', '^waiting for workers to report', 'a worker that is behind: the replicator waits');
lead_to($dest, $broker[2]);
shows($source, 'replicator', '^failed gap: the stream ends at', 'and fails when it hears of it');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
wait_state($source, 'g', 'replicator', 'streaming|copying');
same('flo.resync() is the way out');

# --- the publication ---------------------------------------------------------------------------

$source->safe_psql('postgres', 'DROP PUBLICATION pgflo_g');
insert();
shows($source, 'replicator', '^failed publication "pgflo_g" was dropped', 'a publication that was dropped is failed');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
wait_state($source, 'g', 'replicator', 'streaming|copying');
same('flo.resync() makes it anew');

$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
$source->safe_psql('postgres', 'DROP PUBLICATION pgflo_g');
insert();
$source->safe_psql('postgres', q{CREATE PUBLICATION pgflo_g FOR TABLE ONLY t; SELECT flo.start_group('g')});
SKIP:
{
	skip 'later servers pass over a publication that is missing', 1 if $source->pg_version >= 18;
	shows($source, 'replicator', '^failed publication "pgflo_g" was dropped, or dropped and made again',
		'one that was made again, too');
}
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
wait_state($source, 'g', 'replicator', 'streaming|copying');
same('and flo.resync() leads out');

# --- the account wants limits --------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
$broker[0]->configure('accounts { A { jetstream: { max_mem: 1M, max_file: 200MB, max_streams: 10, max_consumers: 20, '
	  . 'max_bytes_required: true }, users: [ { user: test, password: test }, { user: pgflo, password: pgflo } ] } }');
$broker[0]->restart;
$_->append_conf('postgresql.conf', "pg_flo.nats_user = 'pgflo'\npg_flo.nats_password = 'pgflo'\n") for $source, $dest;
$_->append_conf('postgresql.conf', "pg_flo.nats_url = '" . $broker[0]->url . "'\n") for $source, $dest;
$_->reload for $source, $dest;
$dest->safe_psql('postgres', q{TRUNCATE t; SELECT flo.create_worker('g'); SELECT flo.start_group('g')});
shows($dest, 'postgres', '^waiting for stream', 'a worker that comes first leaves the bucket to the source');
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', mode => 'copy_and_stream');
	SELECT flo.start_group('g')});
ok(wait_until($source, 'postgres', q{SELECT last_error ~ 'max bytes' FROM flo.status WHERE member = 'replicator'},
	'the error'), 'an account that requires max_bytes: says so')
  or diag(status_of($source, 'g', 'replicator', "concat_ws(' | ', state, detail, last_error)"));
$source->append_conf('postgresql.conf', "pg_flo.stream_max_bytes = '20MB'\n");
$source->reload;
wait_state($source, 'g', 'replicator', 'streaming|copying');
same('with a limit the group works, its copy too');
for my $stream ($broker[0]->streams)
{
	cmp_ok($broker[0]->api("STREAM.INFO.$stream")->{config}{max_bytes}, '>', 0, "$stream has one");
}

$_->stop('fast') for $source, $dest;
done_testing();
