
# A source at an earlier point in time, however it came there: its group is failed, nothing
# of its new life is applied, and flo.resync() makes both sides equal.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloLife;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, start => 0);
$source->enable_archiving;
$source->start;
$source->safe_psql('postgres', 'CREATE EXTENSION pg_flo');
my $dest = flo_node('dest', $nats);
my $last = 0;

sub insert { $last = live_on($source, $last, @_); return; }

sub same { my ($name) = @_; return lives_same($source, $dest, $name); }

make_life($source, $dest);
insert('copied');
create_copy_group($source, $dest, 'g', options => q{'{"keyless_tables": "insert_only"}'});

# --- ways back ----------------------------------------------------------------------------------

# All files while the server runs, slots included, as a snapshot of the file system has them
sub hot_copy
{
	my ($name) = @_;
	my ($from, $to) = ($source->data_dir, $source->backup_dir . "/$name");
	my $session = $source->background_psql('postgres');

	$session->query_safe(q{SELECT pg_backup_start('hot', true)});
	PostgreSQL::Test::RecursiveCopy::copypath($from, $to,
		filterfn => sub { return $_[0] !~ m{^(log|pg_wal|postmaster\.(pid|opts)|base/pgsql_tmp)$} });
	my $label = $session->query_safe('SELECT labelfile FROM pg_backup_stop(false)');
	$session->quit;
	PostgreSQL::Test::RecursiveCopy::copypath("$from/pg_wal", "$to/pg_wal");
	append_to_file("$to/backup_label", "$label\n");
	return;
}

sub cold_copy
{
	my ($name) = @_;

	$source->stop('fast');
	$source->backup_fs_cold($name);
	$source->start;
	wait_state($source, 'g', 'replicator', 'streaming');
	return;
}

my %make = (base => sub { $source->backup($_[0]) }, hot => \&hot_copy, cold => \&cold_copy);

# Of one that lives, into a server that takes its place when $point is reached, or where the copy ends
sub restore
{
	my ($from, $backup, $name, $point) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init_from_backup($from, $backup, $point ? (has_restoring => 1, standby => 0) : ());
	$node->enable_archiving;
	$node->append_conf('postgresql.conf', "pg_flo.enabled = off\n");
	$node->append_conf('postgresql.conf', "recovery_target_name = '$point'\nrecovery_target_action = 'promote'\n")
	  if $point;
	$node->start;
	wait_until($node, 'postgres', 'SELECT NOT pg_is_in_recovery()', 'the end of recovery') or die;
	$source = $node;
	# the same ids for other rows
	$last = $node->safe_psql('postgres', 'SELECT max(a) FROM keyless');
	insert("another life of $name");
	return;
}

sub fails_until_resync
{
	my ($name, $why, $stopped) = @_;
	my $before = $dest->safe_psql('postgres', 'SELECT count(*), max(a) FROM keyless');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$source->append_conf('postgresql.conf', "pg_flo.enabled = on\n");
	$source->reload;
	$source->safe_psql('postgres', q{SELECT flo.start_group('g')}) if $stopped;
	wait_state($source, 'g', 'replicator', 'failed');
	like(status_of($source, 'g', 'replicator', 'detail'), $why, "$name: failed");
	$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
	wait_state($source, 'g', 'replicator', 'failed');
	is($dest->safe_psql('postgres', 'SELECT count(*), max(a) FROM keyless'), $before, "$name: nothing is applied");
	$source->safe_psql('postgres', q{SELECT flo.resync('g')});
	insert("$name, copied or streamed");
	wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the copy') or die;
	wait_state($source, 'g', 'replicator', 'streaming');
	same("$name, flo.resync()");
	insert("$name, streamed");
	same("$name, goes on");
	is(status_of($source, 'g', 'replicator', 'restarts') . status_of($dest, 'g', 'postgres', 'restarts'), '00',
		"$name: without an error");
	return;
}

# Made of the server that lives now, which goes on for a while, and is gone
sub goes_back
{
	my ($name, $how, $why, %param) = @_;
	my $living = $source;

	$make{$how}->($name);
	insert("$name, may be kept");
	same("before $name");
	if ($param{stopped})
	{
		$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
		wait_state($source, 'g', 'replicator', 'stopped');
	}
	$source->safe_psql('postgres', "SELECT pg_create_restore_point('point of $name')");
	if (!$param{stopped})
	{
		insert("$name, undone") for 1 .. 3;
		same("before $name is undone");
	}
	$source->safe_psql('postgres', 'SELECT pg_switch_wal()');
	my $until = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn() + 16 * 1024 * 1024');
	$source->stop('fast');
	restore($living, $name, $name, $param{archive} ? "point of $name" : undef);
	while ($param{longer} && $source->safe_psql('postgres', "SELECT pg_current_wal_insert_lsn() <= '$until'") eq 't')
	{
		insert("more of $name");
		$source->safe_psql('postgres', 'SELECT pg_switch_wal()');
	}
	fails_until_resync($name, $why, $param{stopped});
	return $living;
}

# with all that was published, but no slots; without the last of it; with slots, too, and with
# as much WAL; in the same timeline; from before the session that published
goes_back('whole', 'base', qr/^lost slot/, archive => 1, stopped => 1);
my $before = goes_back('point', 'base', qr/^history diverged: published up to/, archive => 1);
goes_back('timeline', 'hot', qr/^history diverged: .* which this server left earlier/, archive => 1, longer => 1);
goes_back('files', 'hot', qr/^history diverged at \S+: the WAL there is not what was published/, longer => 1);
goes_back('cold', 'cold', qr/^another replicator publishes|^history diverged/);

# from before what flo.resync() began has been
$source->stop('fast');
restore($before, 'point', 'older');
fails_until_resync('older', qr/^the stream is owned by another generation of this group/);

$_->stop('fast') for $source, $dest;
done_testing();
