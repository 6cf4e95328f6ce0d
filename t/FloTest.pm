
=head1 NAME

FloTest - groups in pg_flo's tests: making them, waiting for them, judging them

=head1 SYNOPSIS

  my $nats = FloTest::Nats->new('broker');
  my $source = flo_node('source', $nats);
  my $dest = flo_node('dest', $nats);
  ...create the same tables on both...
  create_group($source, $dest, 'g');
  wait_caught_up($source, $dest, 'g');
  is_same_table($source, $dest, 't');

=head1 DESCRIPTION

What a test looks at and waits for.  The servers themselves are in
FloTest::Cluster (flo_node, sessions, loads), whose functions are exported from
here, too, and in FloTest::Nats (the broker).

Nothing in here waits for a fixed time: everything waits for a state, for at most
C<$FloTest::timeout> seconds, which are those of PostgreSQL's own tests
(PG_TEST_TIMEOUT_DEFAULT, 180) unless a test sets it.

Arguments are alike everywhere: C<$node> is a cluster; C<$group> a group's name;
C<$member> C<replicator> or a worker's name; C<$db> a database's name, default
C<postgres>.

=cut

package FloTest;

use strict;
use warnings;
use Carp;
use Exporter 'import';
use FloTest::Cluster;
use FloTest::Nats;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = (
	qw(create_group create_copy_group start_member kill9_member),
	qw(await wait_until wait_state wait_busy wait_caught_up wait_other_pid halt_at await_halt halted_pid),
	qw(status_of pid_of pause_process helper_pid peak_memory error_of is_same_table moves_arrive private_memory_ok),
	@FloTest::Cluster::EXPORT);

our $timeout = $PostgreSQL::Test::Utils::timeout_default;

# No file waits for ever: it says where it is, and its servers are stopped as after any error
$SIG{ALRM} = sub {
	my $where = Carp::longmess("this file has run for $ENV{FLO_FILE_SECONDS} s");
	diag $where;
	die $where;
};
alarm($ENV{FLO_FILE_SECONDS} || 0);

=pod

=head1 GROUPS

=head2 create_group($source, $dest, $group, %param)

Replicator in C<$source>, worker with a postgres sink in C<$dest> (undef for
none), both started and waited for until they stream.  Parameters: C<tables>,
SQL text of a regclass array (default: every table); C<options> and
C<worker_options>, SQL text of jsonb; C<source_db> and C<dest_db>.

=cut

sub create_group
{
	my ($source, $dest, $group, %param) = @_;
	my ($source_db, $dest_db) = ($param{source_db} || 'postgres', $param{dest_db} || 'postgres');
	my $tables = $param{tables} || 'NULL';
	my $options = $param{options} || "'{}'";

	$source->safe_psql($source_db, "SELECT flo.create_replicator('$group', tables => $tables, options => $options)");
	start_member($source, $group, 'replicator', $source_db);
	return if !$dest;
	_create_worker($dest, $dest_db, $group, %param);
	start_member($dest, $group, 'postgres', $dest_db);
}

=pod

=head2 create_copy_group($source, $dest, $group, %param)

The same for a group that copies first; both sides are started, and then waited
for until they stream.  Further parameters: C<mode>, default copy_and_stream;
C<sync_schema>, C<track_ddl>, C<copy_workers> (default 2); C<before_start>, SQL for the source
before its group is started; C<wait>, false not to wait.

=cut

sub create_copy_group
{
	my ($source, $dest, $group, %param) = @_;
	my ($source_db, $dest_db) = ($param{source_db} || 'postgres', $param{dest_db} || 'postgres');
	my @arguments = (
		"'$group'",
		'tables => ' . ($param{tables} || 'NULL'),
		"mode => '" . ($param{mode} || 'copy_and_stream') . "'",
		'sync_schema => ' . ($param{sync_schema} ? 'true' : 'false'),
		$param{track_ddl} ? 'track_ddl => true' : (),
		'copy_workers => ' . ($param{copy_workers} || 2),
		'options => ' . ($param{options} || "'{}'"));

	$source->safe_psql($source_db, 'SELECT flo.create_replicator(' . join(', ', @arguments) . ')');
	$source->safe_psql($source_db, $param{before_start}) if $param{before_start};
	$source->safe_psql($source_db, "SELECT flo.start_group('$group')");
	return if !$dest;
	_create_worker($dest, $dest_db, $group, %param);
	$dest->safe_psql($dest_db, "SELECT flo.start_group('$group')");
	return if defined $param{wait} && !$param{wait};
	wait_state($dest, $group, 'postgres', 'streaming', $dest_db);
	wait_state($source, $group, 'replicator', 'streaming', $source_db);
}

sub _create_worker
{
	my ($dest, $db, $group, %param) = @_;
	my $options = $param{worker_options} || "'{}'";

	$dest->safe_psql($db, "SELECT flo.create_worker('$group', options => $options)");
}

=pod

=head2 start_member($node, $group, $member, $db)

Starts a member and waits until it streams; croaks when it does not.

=cut

sub start_member
{
	my ($node, $group, $member, $db) = @_;
	$node->safe_psql($db || 'postgres', "SELECT flo.start_group('$group', '$member')");
	wait_state($node, $group, $member, 'streaming', $db);
}

=pod

=head2 kill9_member($node, $group, $member, $db)

Waits for the member's process and kills it with SIGKILL, which restarts the
server.  Returns the process id that was.

=cut

sub kill9_member
{
	my ($node, $group, $member, $db) = @_;
	my $pid = pid_of($node, $group, $member, $db);

	kill('KILL', $pid) or croak "kill $pid: $!";
	return $pid;
}

=pod

=head1 WAITING

=head2 await($look, $what)

Waits until the code C<$look> returns something true, and returns that.  At the
time-out: false, after a line that says what was waited for.

=cut

sub await
{
	my ($look, $what) = @_;
	my $until = time() + $timeout;

	while (time() < $until)
	{
		my $seen = $look->();
		return $seen if $seen;
		sleep 0.02;		# sleeps: between two looks
	}
	diag("timed out waiting for $what");
	return 0;
}

=pod

=head2 wait_until($node, $db, $query, $what)

Waits until a query answers C<t>; true when it did.  Survives the server's own
restarts.  At the time-out: false, after lines that say what was waited for,
the last answer, and flo.status as it is then.

=cut

sub wait_until
{
	my ($node, $db, $query, $what) = @_;
	my $until = time() + $timeout;
	my $pause = 0.03;
	my ($out, $err) = ('', '');

	while (time() < $until)
	{
		eval { $node->psql($db, $query, stdout => \$out, stderr => \$err); 1 }
		  or $@ =~ /Broken pipe/
		  or die $@;
		return 1 if defined $out && $out eq 't';

		# each look starts two processes: of what takes long, look less often
		sleep $pause;	# sleeps: between two looks
		$pause *= 1.25 if $pause < 0.4;
	}
	my $status = '';
	my $columns = 'group_name, member, state, detail, received_lsn, durable_lsn, restarts, last_error';
	$node->psql($db, "SELECT $columns FROM flo.status", stdout => \$status);
	diag("timed out waiting for $what; the last answer was \"$out\" $err\nflo.status of " . $node->name . ":\n$status");
	return 0;
}

# The same for a row of flo.status
sub _wait_member
{
	my ($node, $group, $member, $condition, $db, $what) = @_;
	return wait_until($node, $db || 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = '$group' AND member = '$member' AND $condition)",
		"$group/$member $what");
}

=pod

=head2 wait_state($node, $group, $member, $state, $db)

Waits until a member is in a state, or in one of several: C<backoff|failed>.
Croaks at the time-out.

=cut

sub wait_state
{
	my ($node, $group, $member, $state, $db) = @_;
	return _wait_member($node, $group, $member, "state ~ '^($state)\$'", $db, "to be $state")
	  || croak "$group/$member did not become $state";
}

=pod

=head2 wait_busy($node, $group, $member, $db)

Waits until a member has been at one transaction for 0.3 s, as one that waits for
an endpoint is; croaks at the time-out.

=cut

sub wait_busy
{
	my ($node, $group, $member, $db) = @_;
	return _wait_member($node, $group, $member, "pid IS NOT NULL AND lag > interval '0.3 s'", $db, 'to be busy')
	  || croak "$group/$member is not busy";
}

=pod

=head2 wait_caught_up($source, $dest, $group, %param)

Waits until what is committed at the source now is durable at the destination,
by flo.wait_for() there.  Croaks at the time-out.  Parameters: C<source_db>,
C<dest_db>, C<member> (default: all workers there).

=cut

sub wait_caught_up
{
	my ($source, $dest, $group, %param) = @_;
	my $lsn = $source->safe_psql($param{source_db} || 'postgres', 'SELECT pg_current_wal_insert_lsn()');
	my $member = $param{member} ? "'$param{member}'" : 'NULL';

	return wait_until($dest, $param{dest_db} || 'postgres',
		"SELECT flo.wait_for('$group', '$lsn', '10 s', $member)", "$group to reach $lsn")
	  || croak "$group did not reach $lsn";
}

=pod

=head2 wait_other_pid($node, $group, $member, $pid, $db)

Waits until a member that had process C<$pid> has another one; true when it has.

=cut

sub wait_other_pid
{
	my ($node, $group, $member, $pid, $db) = @_;
	return _wait_member($node, $group, $member, "pid <> $pid", $db, 'to be started again');
}

=pod

=head2 halt_at($node, $point), await_halt($node, $what)

Has the next process of C<$node> that comes to a named point halt there, which is
how tests stop the world between two steps (C<"name:n"> for the n-th time); and
waits until one has, true when so.  It goes on when it is ended only.

=cut

sub halt_at
{
	my ($node, $point) = @_;
	my $file = $node->data_dir . '/pg_flo.stop';

	$node->append_conf('postgresql.conf', "pg_flo.stop_at = '$point'\n");
	$node->reload;
	append_to_file($file, "stop\n");
	return $file;
}

sub await_halt
{
	my ($node, $what) = @_;
	my $file = $node->data_dir . '/pg_flo.stop';

	return 1 if await(sub { !-e $file }, 'a process to come to ' . ($what || 'the point'));
	unlink $file;
	return 0;
}

=pod

=head2 halted_pid($node, $point, $from)

Who has halted there: the file that says so is gone a moment before the line is in
the log, which is read from the byte C<$from> on.

=cut

sub halted_pid
{
	my ($node, $point, $from) = @_;
	return await(sub { slurp_file($node->logfile, $from) =~ /\[(\d+)\] LOG:  halted at "\Q$point\E"/ && $1 },
		"the log of $point");
}

=pod

=head1 LOOKING

=head2 status_of($node, $group, $member, $column, $db)

A column of flo.status, or an expression over its columns, as text.

=cut

sub status_of
{
	my ($node, $group, $member, $column, $db) = @_;
	return $node->safe_psql($db || 'postgres',
		"SELECT $column FROM flo.status WHERE group_name = '$group' AND member = '$member'");
}

=pod

=head2 pid_of($node, $group, $member, $db)

The process id of a member, which is waited for; croaks when it gets none.

=cut

sub pid_of
{
	my ($node, $group, $member, $db) = @_;
	_wait_member($node, $group, $member, 'pid IS NOT NULL', $db, 'to have a process')
	  || croak "$group/$member has no process";
	return status_of($node, $group, $member, 'pid', $db);
}

=pod

=head2 pause_process(@pids)

Stops processes of servers (SIGSTOP) while they wait for news: one that holds a lock of its
server's shared memory would keep all others.

=cut

sub pause_process
{
	for my $pid (@_)
	{
		await(sub { ! -r "/proc/$pid/wchan" || slurp_file("/proc/$pid/wchan") =~ /poll/ }, "process $pid to wait")
		  || croak "process $pid never waits";
		kill('STOP', $pid) or croak "kill $pid: $!";
	}
	return;
}

=pod

=head2 helper_pid($node, $title)

The process id of a helper by the begin of its title (C<copier g>,
C<copy leader g>, C<loader g>), '' when there is none.

=cut

sub helper_pid
{
	my ($node, $title) = @_;
	return $node->safe_psql('postgres', <<"SQL");
SELECT coalesce(min(pid)::text, '') FROM pg_stat_activity
WHERE query LIKE 'pg_flo $title%' AND pid <> pg_backend_pid()
SQL
}

=pod

=head2 peak_memory($until, $node...)

Looks at the processes of pg_flo in the nodes until the code C<$until> returns
something true; returns the most private memory that one of them had, in kB
(RssAnon: shared memory apart).

=cut

sub peak_memory
{
	my ($until, @nodes) = @_;
	my $processes = q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'pg_flo %' AND pid <> pg_backend_pid()};
	my $peak = 0;

	await(sub {
			for my $pid (map { split /\n/, $_->safe_psql('postgres', $processes) } @nodes)
			{
				my $status = eval { slurp_file("/proc/$pid/status") } or next;
				$peak = $1 if $status =~ /RssAnon:\s+(\d+) kB/ && $1 > $peak;
			}
			$until->();
		}, 'the end of what takes memory');
	return $peak;
}

=pod

=head2 error_of($node, $sql, $db)

Runs something that must fail; returns "SQLSTATE: message" and, after a line
break each, detail and hint.  An empty string when it did not fail.

=cut

sub error_of
{
	my ($node, $sql, $db) = @_;
	my ($out, $err) = ('', '');

	my $rc = $node->psql($db || 'postgres', "\\set VERBOSITY verbose\n$sql;\n",
		stdout => \$out, stderr => \$err, on_error_stop => 1);
	return '' if $rc == 0;
	my ($first) = $err =~ /(?:ERROR|FATAL):\s+(.*)/ or return $err;
	my ($detail) = $err =~ /^DETAIL:\s+(.*)/m;
	my ($hint) = $err =~ /^HINT:\s+(.*)/m;
	return join("\n", $first, defined $detail ? "detail: $detail" : (), defined $hint ? "hint: $hint" : ());
}

=pod

=head1 JUDGING

=head2 is_same_table($source, $dest, $table, $name, $db)

One test: both sides hold exactly the same rows, doubles counted.  Compares
the number of rows and the sum of two hashes of them; on a difference shows
the first rows that only one side has.  C<$db> is the name of both databases,
or a reference to both names.

=cut

sub is_same_table
{
	my ($source, $dest, $table, $name, $db) = @_;
	my ($source_db, $dest_db) = ref $db ? @$db : ($db || 'postgres', $db || 'postgres');
	my $hashes = join ', ', map { "coalesce(sum(hashtextextended(t::text, $_)), 0)" } 1, 2;
	my $query = "SELECT count(*), $hashes FROM ONLY $table t";
	my $want = $source->safe_psql($source_db, $query);
	my $got = $dest->safe_psql($dest_db, $query);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return 1 if is($got, $want, $name || "$table is the same on both sides");

	my $all = "SELECT t::text FROM ONLY $table t ORDER BY 1 LIMIT 200000";
	_show_difference($source->safe_psql($source_db, $all), $dest->safe_psql($dest_db, $all));
	return 0;
}

# Rows as lines: the first ten that one side has more often
sub _show_difference
{
	my ($source, $dest) = @_;
	my (%more, $shown);

	$more{$_}++ for split /\n/, $source;
	$more{$_}-- for split /\n/, $dest;
	for my $row (grep { $more{$_} } sort keys %more)
	{
		my $times = abs $more{$row};
		diag('only at the ' . ($more{$row} > 0 ? 'source: ' : 'destination: ') . substr($row, 0, 200)
			  . ($times > 1 ? " ($times times)" : ''));
		last if ++$shown >= 10;
	}
}

=pod

=head2 moves_arrive($source, $dest, $name)

A test: what a transfer load (transfer_load) does from now on comes to $dest.

=cut

sub moves_arrive
{
	my ($source, $dest, $name) = @_;
	my $moves = $source->safe_psql('postgres', 'SELECT coalesce(max(id), 0) + 20 FROM moves');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_until($dest, 'postgres', "SELECT EXISTS (SELECT FROM moves WHERE id >= $moves)", "rows after $name"),
		"$name: rows arrive");
}

=pod

=head2 private_memory_ok($node, $group, $member, $limit_mb, $name)

One test: what the member's process has in private memory (Anonymous of
/proc/PID/smaps_rollup, which leaves shared memory out) is at most C<$limit_mb>
megabytes.  Skipped where there is no such file.

=cut

sub private_memory_ok
{
	my ($node, $group, $member, $limit, $name) = @_;
	my $pid = pid_of($node, $group, $member);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	SKIP:
	{
		skip 'no /proc/PID/smaps_rollup', 1 if !-r "/proc/$pid/smaps_rollup";
		my ($kb) = slurp_file("/proc/$pid/smaps_rollup") =~ /^Anonymous:\s+(\d+) kB/m;
		return cmp_ok($kb / 1024, '<=', $limit, $name || "private memory of $group/$member is at most $limit MB");
	}
}

1;
