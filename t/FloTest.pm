
=head1 NAME

FloTest - NATS servers, clusters and groups for pg_flo's TAP tests

=head1 SYNOPSIS

  my $nats = FloTest::Nats->new('broker');
  my $source = flo_node('source', $nats);
  my $dest = flo_node('dest', $nats);
  ...create the same tables on both...
  create_group($source, $dest, 'g');
  wait_caught_up($source, $dest, 'g');
  is_same_table($source, $dest, 't');

=head1 DESCRIPTION

Built on PostgreSQL::Test::Cluster.  Nothing in here sleeps for a fixed time:
everything waits for a state, with the time-out of PostgreSQL's own tests
(PG_TEST_TIMEOUT_DEFAULT, 180 s).  Every server started is stopped, and every
file made is below tmp_check.

=cut

package FloTest;

use strict;
use warnings;
use Carp;
use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  flo_node create_group create_copy_group start_member wait_state wait_until wait_caught_up
  status_of pid_of wait_other_pid kill9_member is_same_table error_of pgbench_tables start_load stop_load
  halt_at await_halt transfer_tables transfer_load private_memory_ok helper_pid
);

our $timeout = $PostgreSQL::Test::Utils::timeout_default || 180;

# A server that restarts after a kill may turn psql away before it has read the
# query, and writing that then fails: no answer, to be asked for again.
{
	no warnings 'redefine';
	my $poll = \&PostgreSQL::Test::Cluster::poll_query_until;

	*PostgreSQL::Test::Cluster::poll_query_until = sub {
		my @arguments = @_;

		for (1 .. 50)
		{
			my $answer = eval { $poll->(@arguments) };
			return $answer if $@ eq '';
			die $@ if $@ !~ /Broken pipe/;
			sleep 0.2;
		}
		return 0;
	};
}

=pod

=head2 flo_node($name, $nats, %param)

A running cluster with pg_flo preloaded, wal_level logical and the broker's
URL set.  Parameters: C<conf>, lines added to postgresql.conf; C<extension>,
false to leave database postgres without the extension; C<start>, false to
only initialise.  Unlike PostgreSQL's tests, the server comes back by itself
when a process is killed: that is what happens to users.

=cut

sub flo_node
{
	my ($name, $nats, %param) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => 'logical', extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'pg_flo'
restart_after_crash = on
max_worker_processes = 24
max_replication_slots = 10
max_prepared_transactions = 5
log_statement = none
pg_flo.restart_interval = '1s'
pg_flo.broker_sync_interval = 0
CONF
	$node->append_conf('postgresql.conf', "pg_flo.nats_url = '" . $nats->url . "'\n") if $nats;
	$node->append_conf('postgresql.conf', $param{conf}) if $param{conf};
	return $node if defined $param{start} && !$param{start};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION pg_flo') if !defined $param{extension} || $param{extension};
	return $node;
}

=pod

=head2 create_group($source, $dest, $group, %param)

Replicator in C<$source>, worker with a postgres sink in C<$dest> (undef for
none), both started and waited for until they stream.  Parameters: C<tables>,
SQL text of a regclass array (default: every table); C<options> and
C<worker_options>, SQL text of jsonb; C<source_db> and C<dest_db>, default
postgres.

=cut

sub create_group
{
	my ($source, $dest, $group, %param) = @_;
	my $source_db = $param{source_db} || 'postgres';
	my $dest_db = $param{dest_db} || 'postgres';
	my $tables = $param{tables} || 'NULL';
	my $options = $param{options} || "'{}'";
	my $worker_options = $param{worker_options} || "'{}'";

	$source->safe_psql($source_db, "SELECT flo.create_replicator('$group', tables => $tables, options => $options)");
	start_member($source, $group, 'replicator', $source_db);
	return if !$dest;
	$dest->safe_psql($dest_db, "SELECT flo.create_worker('$group', options => $worker_options)");
	start_member($dest, $group, 'postgres', $dest_db);
}

=pod

=head2 create_copy_group($source, $dest, $group, %param)

The same for a group that copies first; both sides are started and waited for
until they stream.  Further parameters: C<mode>, default copy_and_stream;
C<sync_schema>, C<copy_workers>; C<wait>, false not to wait.

=cut

sub create_copy_group
{
	my ($source, $dest, $group, %param) = @_;
	my $source_db = $param{source_db} || 'postgres';
	my $dest_db = $param{dest_db} || 'postgres';
	my $tables = $param{tables} || 'NULL';
	my $mode = $param{mode} || 'copy_and_stream';
	my $options = $param{options} || "'{}'";
	my $worker_options = $param{worker_options} || "'{}'";
	my $sync_schema = $param{sync_schema} ? 'true' : 'false';
	my $copy_workers = $param{copy_workers} || 2;

	$source->safe_psql($source_db, "SELECT flo.create_replicator('$group', tables => $tables, mode => '$mode', "
		  . "sync_schema => $sync_schema, copy_workers => $copy_workers, options => $options)");
	$source->safe_psql($source_db, $param{before_start}) if $param{before_start};
	$source->safe_psql($source_db, "SELECT flo.start_group('$group')");
	return if !$dest;
	$dest->safe_psql($dest_db, "SELECT flo.create_worker('$group', options => $worker_options)");
	$dest->safe_psql($dest_db, "SELECT flo.start_group('$group')");
	return if defined $param{wait} && !$param{wait};
	wait_state($dest, $group, 'postgres', 'streaming', $dest_db);
	wait_state($source, $group, 'replicator', 'streaming', $source_db);
}

# The process id of a helper ("copier g", "copy leader g", "loader g"), '' when there is none
sub helper_pid
{
	my ($node, $name) = @_;
	return $node->safe_psql('postgres', "SELECT coalesce(min(pid)::text, '') FROM pg_stat_activity WHERE query LIKE 'pg_flo $name%' AND pid <> pg_backend_pid()");
}

# Start a member and wait until it streams
sub start_member
{
	my ($node, $group, $member, $db) = @_;
	$node->safe_psql($db || 'postgres', "SELECT flo.start_group('$group', '$member')");
	wait_state($node, $group, $member, 'streaming', $db);
}

=pod

=head2 wait_until($node, $db, $query, $what)

poll_query_until that survives the server's own restarts and says what it
waited for, with flo.status as it was in the end.

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
		sleep $pause;
		$pause *= 1.25 if $pause < 0.4;
	}
	my $status = '';
	$node->psql($db, 'SELECT group_name, member, state, detail, received_lsn, durable_lsn, restarts, last_error FROM flo.status',
		stdout => \$status);
	diag("timed out waiting for $what; the last answer was \"$out\" $err\nflo.status of " . $node->name . ":\n$status");
	return 0;
}

# Wait until a member is in a state (a pattern: 'backoff|failed')
sub wait_state
{
	my ($node, $group, $member, $state, $db) = @_;
	return wait_until($node, $db || 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = '$group' AND member = '$member' AND state ~ '^($state)\$')",
		"$group/$member to be $state")
	  || croak "$group/$member did not become $state";
}

=pod

=head2 wait_caught_up($source, $dest, $group, %param)

Wait until what is committed at the source now is durable at the destination,
by flo.wait_for there.  Croaks at the time-out.  Parameters: C<source_db>,
C<dest_db>, C<member>.

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

# A column of flo.status
sub status_of
{
	my ($node, $group, $member, $column, $db) = @_;
	return $node->safe_psql($db || 'postgres',
		"SELECT $column FROM flo.status WHERE group_name = '$group' AND member = '$member'");
}

# The process id of a member that has one
sub pid_of
{
	my ($node, $group, $member, $db) = @_;
	wait_until($node, $db || 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = '$group' AND member = '$member' AND pid IS NOT NULL)",
		"$group/$member to have a process")
	  || croak "$group/$member has no process";
	return status_of($node, $group, $member, 'pid', $db);
}

# Wait until a member that was killed runs as another process
sub wait_other_pid
{
	my ($node, $group, $member, $pid, $db) = @_;
	return wait_until($node, $db || 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = '$group' AND member = '$member' AND pid <> $pid)",
		"$group/$member to be started again");
}

# kill -9 a member; returns the pid that was killed
sub kill9_member
{
	my ($node, $group, $member, $db) = @_;
	my $pid = pid_of($node, $group, $member, $db);

	kill('KILL', $pid) or croak "kill $pid: $!";
	return $pid;
}

=pod

=head2 is_same_table($source, $dest, $table, $name)

One test: both sides hold exactly the same rows, doubles counted.  Compares
the number of rows and the sum of two hashes of them; on a difference shows
the first rows that only one side has.  C<db> both, or a pair, as fifth
argument.

=cut

sub is_same_table
{
	my ($source, $dest, $table, $name, $db) = @_;
	my ($source_db, $dest_db) = ref $db ? @$db : ($db || 'postgres', $db || 'postgres');
	my $query = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 1)), 0), coalesce(sum(hashtextextended(t::text, 2)), 0) FROM ONLY $table t";
	my $want = $source->safe_psql($source_db, $query);
	my $got = $dest->safe_psql($dest_db, $query);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $ok = is($got, $want, $name || "$table is the same on both sides");
	if (!$ok)
	{
		my (%rows, $shown);
		my $all = "SELECT t::text FROM ONLY $table t ORDER BY 1 LIMIT 200000";
		$rows{$_}++ for split /\n/, $source->safe_psql($source_db, $all);
		$rows{$_}-- for split /\n/, $dest->safe_psql($dest_db, $all);
		for my $row (sort keys %rows)
		{
			next if $rows{$row} == 0;
			diag(($rows{$row} > 0 ? 'only at the source: ' : 'only at the destination: ') . substr($row, 0, 200)
				  . (abs($rows{$row}) > 1 ? " ($rows{$row} times)" : ''));
			last if ++$shown >= 10;
		}
	}
	return $ok;
}

=pod

=head2 error_of($node, $sql, $db)

Run something that must fail; returns "SQLSTATE: message" and, after a line
break each, detail and hint.  An empty string when it did not fail.

=cut

sub error_of
{
	my ($node, $sql, $db) = @_;
	my ($out, $err) = ('', '');

	my $rc = $node->psql($db || 'postgres', "\\set VERBOSITY verbose\n$sql;\n", stdout => \$out, stderr => \$err, on_error_stop => 1);
	return '' if $rc == 0;
	my ($first) = $err =~ /(?:ERROR|FATAL):\s+(.*)/ or return $err;
	my ($detail) = $err =~ /^DETAIL:\s+(.*)/m;
	my ($hint) = $err =~ /^HINT:\s+(.*)/m;
	return join("\n", $first, defined $detail ? "detail: $detail" : (), defined $hint ? "hint: $hint" : ());
}

=pod

=head2 pgbench_tables($node...), start_load($node, %param), stop_load($load)

pgbench's tables, empty, with a key for the history; and a load of pgbench's
standard transaction that begins again when the server throws it out, until it
is stopped.  C<clients>, C<rate> (transactions per second, 0 = as many as go).

=cut

sub pgbench_tables
{
	my @nodes = @_;
	for my $node (@nodes)
	{
		$node->command_ok([ 'pgbench', '-i', '-I', 'dtp', '-q', '-p', $node->port, '-h', $node->host, 'postgres' ],
			'pgbench tables in ' . $node->name);
		$node->safe_psql('postgres', 'ALTER TABLE pgbench_history ADD id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY');
	}
}

sub start_load
{
	my ($node, %param) = @_;
	my $clients = $param{clients} || 4;
	my $rate = $param{rate} ? "-R $param{rate}" : '';
	my $stop = $PostgreSQL::Test::Utils::tmp_check . '/' . $node->name . '.stop_load';
	my $log = $PostgreSQL::Test::Utils::log_path . '/' . $node->name . '_load.log';
	my ($host, $port) = ($node->host, $node->port);

	unlink $stop;
	# Each round is short: the load must be back soon after a crash
	my $script = "while [ ! -e '$stop' ]; do "
	  . "pgbench -n -M prepared -c $clients -T 2 $rate -h '$host' -p $port postgres || sleep 0.2; done";
	my $run = IPC::Run::start([ 'sh', '-c', $script ], '<', \undef, '>', $log, '2>&1');
	return { run => $run, stop => $stop };
}

sub stop_load
{
	my ($load) = @_;
	append_to_file($load->{stop}, "stop\n");
	$load->{run}->finish;
}

=pod

=head2 halt_at($node, $point), await_halt($node, $what)

Have the next process of C<$node> that comes to a named point halt there (see
src/core/stop.h; C<"name:n"> for the n-th time), and wait until one has.

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
	my $until = time() + $timeout;

	while (time() < $until)
	{
		return 1 if !-e $file;
		sleep 0.02;
	}
	unlink $file;
	diag("no process came to " . ($what || 'the point'));
	return 0;
}

=pod

=head2 transfer_tables($node...), transfer_load($node, %param)

A bank: 100 accounts of 1000 each, created with the same statement everywhere
and filled on the first node only; and a load that moves money between accounts
and notes each move, a transaction each.  The sum over all accounts never
changes, so it shows transactions that arrive in parts.  Stop the load with
stop_load.

=cut

sub transfer_tables
{
	my ($source, @others) = @_;
	for my $node ($source, @others)
	{
		$node->safe_psql('postgres',
			'CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);'
			  . 'CREATE TABLE moves (id bigserial PRIMARY KEY, a int, b int, amount int, note text)');
	}
}

sub transfer_load
{
	my ($node, %param) = @_;
	my $script = PostgreSQL::Test::Utils::tempdir() . '/transfer.sql';
	my $stop = $PostgreSQL::Test::Utils::tmp_check . '/' . $node->name . '.stop_transfer';
	my $log = $PostgreSQL::Test::Utils::log_path . '/' . $node->name . '_transfer.log';
	my ($host, $port, $clients) = ($node->host, $node->port, $param{clients} || 2);
	my $rate = $param{rate} ? "-R $param{rate}" : '';

	append_to_file($script, <<'SQL');
\set a random(1, 100)
\set b random(1, 100)
\set amount random(1, 50)
BEGIN;
UPDATE accounts SET balance = balance - :amount WHERE id = least(:a, :b);
UPDATE accounts SET balance = balance + :amount WHERE id = greatest(:a, :b);
INSERT INTO moves (a, b, amount, note) VALUES (:a, :b, :amount, repeat('x', 200));
END;
SQL
	unlink $stop;
	my $shell = "while [ ! -e '$stop' ]; do "
	  . "pgbench -n -c $clients -T 2 $rate --max-tries=10 -f '$script' -h '$host' -p $port postgres || sleep 0.2; done";
	my $run = IPC::Run::start([ 'sh', '-c', $shell ], '<', \undef, '>', $log, '2>&1');
	return { run => $run, stop => $stop };
}

=pod

=head2 private_memory_ok($node, $group, $member, $limit_mb, $name)

One test: what the member's process has in private memory (Anonymous of
/proc/PID/smaps_rollup, which leaves shared memory out) is at most C<$limit_mb>.

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

=head1 FloTest::Session

A psql that stays: C<new($node, $db)>, C<query($sql)> (its output; croaks when
psql ends), C<close>.

=cut

package FloTest::Session;

use strict;
use warnings;
use Carp;
use IPC::Run ();

sub new
{
	my ($class, $node, $db) = @_;
	my $self = bless { in => '', out => '', err => '', n => 0 }, $class;

	$self->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-p', $node->port, '-h', $node->host, '-d', $db || 'postgres' ],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err}, IPC::Run::timeout($FloTest::timeout));
	return $self;
}

# Begins a statement without waiting for its end
sub send
{
	my ($self, $sql) = @_;
	$self->{in} .= "$sql;\n\\echo end-" . ++$self->{n} . "\n";
	$self->{run}->pump_nb;
}

sub result
{
	my ($self) = @_;
	my $end = "end-$self->{n}\n";

	while ($self->{out} !~ /\Q$end\E/) { $self->{run}->pump or croak "psql ended: $self->{err}"; }
	my $out = $self->{out};
	$self->{out} = '';
	$out =~ s/\Q$end\E//;
	chomp $out;
	return $out;
}

# Has the statement that was sent ended?
sub ended
{
	my ($self) = @_;
	$self->{run}->pump_nb;
	return $self->{out} =~ /\Qend-$self->{n}\E\n/;
}

sub query { my ($self, $sql) = @_; $self->send($sql); return $self->result; }
sub close { my ($self) = @_; $self->{in} .= "\\q\n"; $self->{run}->finish; }

=pod

=head1 FloTest::Nats

A nats-server with its store below tmp_check.  C<new($name, %param)> starts
it: C<jetstream>, false for a server without; C<room>, its max_file_store; C<conf>,
lines for its configuration file.  C<stop>, C<kill9>, C<start> (same port, same store),
C<forget> (empties the store of a stopped server), C<url>, C<port>,
C<api($subject, \%request)> (a JetStream API call, decoded), C<streams> (names
of all streams, sorted), C<publish($subject, $data)>, C<message($stream, $seq)>
(the stored bytes), C<configure($lines)>, C<set_room($size)>, C<save_store>, C<restore_store>.

=cut

package FloTest::Nats;

use strict;
use warnings;
use Carp;
use File::Path ();
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

my @running;

sub new
{
	my ($class, $name, %param) = @_;
	my ($test) = $0 =~ m{([^/]+?)(\.pl)?$};
	my $dir = "$PostgreSQL::Test::Utils::tmp_check/t_${test}_nats_$name";
	my $self = bless {
		name => $name,
		dir => $dir,
		port => $param{port} || PostgreSQL::Test::Cluster::get_free_port(),
		log => "$PostgreSQL::Test::Utils::log_path/${test}_nats_$name.log",
	}, $class;
	my $jetstream = !defined $param{jetstream} || $param{jetstream};

	File::Path::remove_tree($dir);
	File::Path::make_path($dir);
	$self->{jetstream} = $jetstream;
	$self->{room} = $param{room} || '20GB';
	$self->configure($param{conf});
	push @running, $self;
	$self->start if !defined $param{start} || $param{start};
	return $self;
}

# Lines of its configuration file beside the usual ones, in force at the next start
sub configure
{
	my ($self, $lines) = @_;
	my $room = $self->{room};

	open my $conf, '>', "$self->{dir}/nats.conf" or croak "$self->{dir}/nats.conf: $!";
	print $conf qq{listen: "127.0.0.1:$self->{port}"\nlog_file: "$self->{log}"\n};
	print $conf qq{jetstream { store_dir: "$self->{dir}/store", max_file_store: $room }\n} if $self->{jetstream};
	print $conf "$lines\n" if $lines;
	close $conf;
}

# Another max_file_store; the server is restarted
sub set_room
{
	my ($self, $room, $lines) = @_;
	$self->{room} = $room;
	$self->configure($lines);
	$self->restart;
}

# Keep a copy of the store, or go back to it; the server is stopped meanwhile
sub save_store
{
	my ($self) = @_;

	$self->stop;
	File::Path::remove_tree("$self->{dir}/saved");
	system('cp', '-R', "$self->{dir}/store", "$self->{dir}/saved") == 0 or croak 'cp';
	$self->start;
}

sub restore_store
{
	my ($self) = @_;

	$self->kill9;
	File::Path::remove_tree("$self->{dir}/store");
	system('cp', '-R', "$self->{dir}/saved", "$self->{dir}/store") == 0 or croak 'cp';
	$self->start;
}

sub port { return $_[0]->{port}; }
sub url { return "nats://127.0.0.1:$_[0]->{port}"; }

sub start
{
	my ($self) = @_;
	my $pid = fork();

	croak "fork: $!" if !defined $pid;
	if ($pid == 0)
	{
		local $ENV{PATH} = "$ENV{PATH}:/usr/sbin:/usr/local/sbin";
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{dir}/output";
		open STDERR, '>&', \*STDOUT;
		exec 'nats-server', '-c', "$self->{dir}/nats.conf" or POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	my $until = time() + $FloTest::timeout;
	while (time() < $until)
	{
		croak "nats-server $self->{name} ended: see $self->{dir}/output and $self->{log}"
		  if waitpid($pid, POSIX::WNOHANG()) == $pid;
		my $info = eval { $self->_connect->{info} };
		return if $info;
		sleep 0.02;
	}
	croak "nats-server $self->{name} does not answer";
}

sub _end
{
	my ($self, $signal) = @_;
	my $pid = delete $self->{pid} or return;

	kill $signal, $pid;
	waitpid($pid, 0);
}

sub stop { $_[0]->_end('TERM'); }
sub kill9 { $_[0]->_end('KILL'); }
sub restart { my ($self) = @_; $self->stop; $self->start; }
sub forget { File::Path::remove_tree("$_[0]->{dir}/store"); }

# Keep a connection from being read or written, as a stuck network does
sub pause { kill 'STOP', $_[0]->{pid}; }
sub resume { kill 'CONT', $_[0]->{pid}; }

# The NATS protocol is lines of text; that much of it is enough for tests
sub _connect
{
	my ($self) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Proto => 'tcp', Timeout => 5)
	  or croak "connect: $@";
	my $c = { socket => $socket, buffer => '' };

	$c->{info} = _line($c);
	# a server with users has one called test, with this password
	print $socket qq{CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"user":"test","pass":"test"}\r\nPING\r\n};
	while ((my $line = _line($c)) ne 'PONG') { croak $line if $line =~ /^-ERR/; }
	return $c;
}

sub _fill
{
	my ($c) = @_;
	IO::Select->new($c->{socket})->can_read(10) or croak 'no answer from nats-server';
	sysread($c->{socket}, $c->{buffer}, 65536, length $c->{buffer}) or croak 'nats-server hung up';
}

sub _line
{
	my ($c) = @_;
	_fill($c) until $c->{buffer} =~ s/^(.*?)\r\n//;
	return $1;
}

sub _bytes
{
	my ($c, $n) = @_;
	_fill($c) while length $c->{buffer} < $n + 2;
	my $bytes = substr($c->{buffer}, 0, $n);
	substr($c->{buffer}, 0, $n + 2) = '';
	return $bytes;
}

sub request
{
	my ($self, $subject, $data) = @_;
	my $c = $self->_connect;

	print { $c->{socket} } "SUB _INBOX.t 1\r\nPUB $subject _INBOX.t " . length($data) . "\r\n$data\r\n";
	while (1)
	{
		my $line = _line($c);
		if ($line =~ /^MSG \S+ \S+\s+(\d+)$/) { return _bytes($c, $1); }
		if ($line =~ /^HMSG \S+ \S+\s+(\d+) (\d+)$/) { my ($h, $n) = ($1, $2); my $all = _bytes($c, $n); return substr($all, $h); }
		croak $line if $line =~ /^-ERR/;
		print { $c->{socket} } "PONG\r\n" if $line eq 'PING';
	}
}

sub api
{
	my ($self, $subject, $request) = @_;
	my $answer = $self->request("\$JS.API.$subject", $request ? JSON::PP::encode_json($request) : '');
	return $answer eq '' ? { error => { description => 'no answer' } } : JSON::PP::decode_json($answer);
}

# The bytes stored under a sequence; undef when there are none
sub message
{
	my ($self, $stream, $seq) = @_;
	my $answer = $self->api("STREAM.MSG.GET.$stream", { seq => $seq + 0 });

	return if !$answer->{message};
	return MIME::Base64::decode_base64($answer->{message}{data} // '');
}

sub last_seq { return $_[0]->api("STREAM.INFO.$_[1]")->{state}{last_seq}; }

sub streams
{
	my ($self) = @_;
	my $answer = $self->api('STREAM.NAMES', {});
	return sort @{ $answer->{streams} || [] };
}

sub publish
{
	my ($self, $subject, $data) = @_;
	my $answer = $self->request($subject, $data);
	return JSON::PP::decode_json($answer);
}

END
{
	# keep the test's own exit status
	my $status = $?;
	$_->kill9 for @running;
	$? = $status;
}

1;
