#!/usr/bin/perl
# pg_flo beside PostgreSQL's own logical replication: the same work, in one run,
# between the same two clusters, each in a database of its own.
#
# A rate is measured so: the sending process (walsender or replicator) is
# stopped by a signal while the work is done and committed at the source; it is
# let go, and the clock runs until the last of it can be seen at the
# destination.  So it is the rate of decoding, transport and applying together,
# without the load and without starting processes.  CPU seconds are those of all
# processes of both clusters and of nats-server meanwhile; memory is the highest
# private memory (RssAnon) of the sender and the applier.
#
# The initial copy is measured from the statement that starts it until the last
# table is in, of tables that lie in a database of their own; memory is that of the
# largest process at either side, CPU seconds are those of all processes of a side.
#
# Latency is measured under a load of 200 one-row transactions a second: from
# clock_timestamp() in the INSERT until a reader at the destination, which looks
# every half millisecond, sees the row.
#
# Scenarios that begin with "again_" are the same work done while both systems are
# stopped, in tables that both publish: each then catches up over the same WAL, and
# the clock runs from the call that starts it, processes, connections and what is
# read once more included.
#
# A live load is four sessions of pgbench that commit one row after the other, as fast
# as they can, while sender and applier are at work beside them.  Its rate is that of
# the load, which shares the machine with them; CPU seconds are those of sender,
# applier and nats-server until the last row is in.
#
# The two systems take turns, RUNS times, in changing order; medians are shown.
# While one is measured the other is stopped.
#
# Environment: RUNS (3), SCALE (1; sizes are multiplied by it), SCENARIOS (names
# below; all), SYSTEMS ("native pg_flo"), NATIVE_OPTIONS (of the subscription),
# WORKER_OPTIONS (json), PERF (1: perf record of each rate, for results.perf.*).  BINDIR and WORK come from run.sh.
use strict;
use warnings;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep time);

my $bin = $ENV{BINDIR} or die "run it by make bench\n";
my $dir = $ENV{WORK};
my $runs = $ENV{RUNS} || 3;
my $scale = $ENV{SCALE} || 1;
my @systems = split ' ', $ENV{SYSTEMS} || 'native pg_flo';
my $base = $ENV{BENCH_PORT} || 25432;
$ENV{PGOPTIONS} = '-c client_min_messages=warning';
our %db = (native => 'bench_native', pg_flo => 'bench_flo');
# of scenarios where both systems read the same tables: at the source it is one
my %again = (native => 'again_native', pg_flo => 'again_flo');

# --- scenarios -------------------------------------------------------------------------

my $four = '(id bigint PRIMARY KEY, a int, b text, c timestamptz)';
my $wide_columns = join ', ', map { "c$_ " . (qw(int bigint text timestamptz))[$_ % 4] } 1 .. 39;
my $wide_values = join ', ', map { (qw(i i i::text now()))[$_ % 4] } 1 .. 39;

sub size { return int($_[0] * $scale); }

my $bulk = size(1_000_000);
my $small = size(150_000);
my $tpcb = size(40_000);
my $hot = size(400_000);
my $wide = size(150_000);
my $large = size(15_000);
# rows of each table
my %copy = (copy_one => [ map { size($_) } 4_000_000 ], copy_twenty => [ map { size(10_000 * $_) } 1 .. 20 ]);

# name, what it is, unit, how many, SQL before (not measured), SQL of the work, floor, goal
my @scenarios = (
	[ 'copy_one', 'initial copy, one table', 'rows', size(4_000_000), undef, undef, 0.8, 1.2 ],
	[ 'copy_twenty', 'initial copy, twenty tables', 'rows', size(2_100_000), undef, undef, 0.8, 1.2 ],
	[ 'bulk_insert', 'bulk insert, one transaction', 'rows', $bulk, 'TRUNCATE bulk',
		"INSERT INTO bulk SELECT i, i % 1000, md5(i::text) || 'abcdefgh', now() FROM generate_series(1, $bulk) i", 2,
		3 ],
	[ 'bulk_update', 'bulk update, one transaction', 'rows', $bulk, fill_bulk(),
		"UPDATE bulk SET a = a + 1, b = b || 'x'", 1.5, 2 ],
	[ 'bulk_delete', 'bulk delete, one transaction', 'rows', $bulk, fill_bulk(), 'DELETE FROM bulk', 2, 3 ],
	[ 'small', 'one-row insert transactions', 'tx', $small, 'TRUNCATE bulk',
		"DO \$\$ BEGIN FOR i IN 1 .. $small LOOP INSERT INTO bulk "
		  . "VALUES (i, 1, 'some text of an ordinary length', now()); COMMIT; END LOOP; END \$\$", 2, 4 ],
	[ 'tpcb', 'pgbench TPC-B transactions', 'tx', $tpcb, 'TRUNCATE history', "CALL tpcb($tpcb)", 2, 3 ],
	[ 'hot', 'hot rows: updates of 10 rows', 'rows', $hot, 'SELECT 1',
		"DO \$\$ BEGIN FOR i IN 1 .. $hot / 100 LOOP FOR j IN 1 .. 10 LOOP UPDATE hot SET v = v + 1; END LOOP; COMMIT;
			END LOOP; END \$\$", 5, 10 ],
	[ 'wide', 'wide rows (40 columns)', 'rows', $wide, 'TRUNCATE wide',
		"INSERT INTO wide SELECT i, $wide_values FROM generate_series(1, $wide) i", 1.5, 2 ],
	[ 'large', 'large values (8 KB text)', 'rows', $large, 'TRUNCATE large',
		"INSERT INTO large SELECT i, (SELECT string_agg(md5((i * 1000 + j)::text), '') FROM generate_series(1, 256) j)
			FROM generate_series(1, $large) i", undef, undef ],
	[ 'live', 'live load of one-row transactions', 'tx', size(40_000), undef, 'off', undef, undef ],
	[ 'live_sync', 'the same, synchronous_commit', 'tx', size(20_000), undef, 'on', undef, undef ],
	[ 'latency', 'latency at 200 tx/s', 'ms', 200 * 6, undef, undef, 2, 1.2 ],
);
for (grep { $_->[0] =~ /^(small|bulk_|tpcb|hot|wide)/ } @scenarios)
{
	push @scenarios, [ "again_$_->[0]", "$_->[1], catch-up after stop and start", @$_[ 2 .. 7 ] ];
}
if ($ENV{SCENARIOS})
{
	my %wanted = map { $_ => 1 } split ' ', $ENV{SCENARIOS};
	@scenarios = grep { delete $wanted{ $_->[0] } } @scenarios;
	die "no scenario is called " . join(', ', keys %wanted) . "\n" if %wanted;
}

sub fill_bulk
{
	return "TRUNCATE bulk; INSERT INTO bulk SELECT i, i % 1000, md5(i::text) || 'abcdefgh', now()
		FROM generate_series(1, $bulk) i";
}

my $schema = <<SQL;
CREATE TABLE bulk $four;
CREATE TABLE latency $four;
CREATE TABLE hot (id int PRIMARY KEY, v bigint, w text);
CREATE TABLE wide (id bigint PRIMARY KEY, $wide_columns);
CREATE TABLE large (id bigint PRIMARY KEY, t text);
CREATE TABLE ready (id int PRIMARY KEY);
CREATE TABLE accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
CREATE TABLE branches (bid int PRIMARY KEY, bbalance int, filler char(88));
CREATE TABLE tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
CREATE TABLE history (id bigint PRIMARY KEY, tid int, bid int, aid int, delta int, mtime timestamptz, filler char(22));
SQL
my $tables = 'bulk, latency, hot, wide, large, ready, accounts, branches, tellers, history';
my $source_schema = <<'SQL';
CREATE SEQUENCE history_ids CACHE 100;
INSERT INTO hot SELECT i, 0, 'some text' FROM generate_series(1, 10) i;
INSERT INTO accounts SELECT i, 1, 0, '' FROM generate_series(1, 100000) i;
INSERT INTO branches VALUES (1, 0, '');
INSERT INTO tellers SELECT i, 1, 0, '' FROM generate_series(1, 10) i;
CREATE PROCEDURE tpcb(n int) LANGUAGE plpgsql AS $$
DECLARE
	aid_ int; tid_ int; delta_ int;
BEGIN
	FOR i IN 1 .. n LOOP
		aid_ := 1 + floor(random() * 100000); tid_ := 1 + floor(random() * 10);
			delta_ := floor(random() * 10000) - 5000;
		UPDATE accounts SET abalance = abalance + delta_ WHERE aid = aid_;
		UPDATE tellers SET tbalance = tbalance + delta_ WHERE tid = tid_;
		UPDATE branches SET bbalance = bbalance + delta_ WHERE bid = 1;
		INSERT INTO history VALUES (nextval('history_ids'), tid_, 1, aid_, delta_, now(), '');
		COMMIT;
	END LOOP;
END $$;
SQL

# --- servers ---------------------------------------------------------------------------------

my %port;
my ($nats_port, $nats_pid);

sub free_port
{
	my ($port) = @_;
	$port++ while IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp', Timeout => 1);
	return $port;
}

sub run
{
	my @command = @_;
	system(@command) == 0 or die "failed: @command\n";
}

sub database { my ($side, $db) = @_; return $side eq 'source' ? $db =~ s/^again_.*/again/r : $db; }

sub begin_psql
{
	my ($side, $db, $sql) = @_;
	$db = database($side, $db);
	my $pid = open(my $out, '-|') // die "fork: $!";
	if ($pid == 0)
	{
		exec("$bin/psql", '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', $dir, '-p', $port{$side}, '-U',
			'postgres', '-d', $db, '-c', $sql) or POSIX::_exit(127);
	}
	return $out;
}

sub end_psql
{
	my ($out, $side, $sql) = @_;
	my @lines = <$out>;
	close $out or die "failed at the $side: $sql\n";
	chomp @lines;
	return @lines;
}

sub psql
{
	my ($side, $db, $sql) = @_;
	my @lines = end_psql(begin_psql($side, $db, $sql), $side, $sql);

	return wantarray ? @lines : ($lines[-1] // '');
}

# At the same time
sub psql_both
{
	my ($db, $sql) = @_;
	my @out = map { begin_psql($_, $db, $sql) } qw(source dest);

	end_psql($_, 'source or destination', $sql) for @out;
}

sub start_cluster
{
	my ($side) = @_;
	run("'$bin/initdb' -D '$dir/$side' -U postgres -A trust --no-sync >'$dir/initdb.log' 2>&1");
	open my $conf, '>>', "$dir/$side/postgresql.conf" or die $!;
	print $conf <<CONF;
port = $port{$side}
listen_addresses = ''
unix_socket_directories = '$dir'
shared_preload_libraries = 'pg_flo'
wal_level = logical
max_worker_processes = 24
shared_buffers = 512MB
max_wal_size = 16GB
checkpoint_timeout = 30min
synchronous_commit = off
autovacuum = off
wal_sender_timeout = 0
wal_receiver_timeout = 0
wal_retrieve_retry_interval = 100ms
max_logical_replication_workers = 8
max_sync_workers_per_subscription = 4
logical_decoding_work_mem = 64MB
pg_flo.nats_url = 'nats://127.0.0.1:$nats_port'
CONF
	close $conf;
	run("'$bin/pg_ctl' -D '$dir/$side' -l '$dir/$side.log' -w -s start </dev/null >/dev/null");
}

sub start_nats
{
	open my $conf, '>', "$dir/nats.conf" or die $!;
	print $conf qq{listen: "127.0.0.1:$nats_port"\nlog_file: "$dir/nats.log"\n},
	  qq{jetstream { store_dir: "$dir/jetstream", max_file_store: 20GB }\n};
	close $conf;
	$nats_pid = fork() // die "fork: $!";
	if ($nats_pid == 0)
	{
		open STDOUT, '>', '/dev/null';
		open STDERR, '>&', \*STDOUT;
		exec('nats-server', '-c', "$dir/nats.conf") or POSIX::_exit(127);
	}
	for (1 .. 100)
	{
		last if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $nats_port, Proto => 'tcp', Timeout => 1);
		sleep 0.1;
	}
}

sub finish
{
	for my $side (qw(source dest))
	{
		system("'$bin/pg_ctl' -D '$dir/$side' -m immediate -w -s stop >/dev/null 2>&1")
		  if -f "$dir/$side/postmaster.pid";
	}
	if ($nats_pid)
	{
		kill 'TERM', $nats_pid;
		waitpid $nats_pid, 0;
		undef $nats_pid;
	}
}
$SIG{INT} = $SIG{TERM} = sub { exit 130 };
my $parent = $$;
END { my $status = $?; finish() if defined $parent && $$ == $parent; $? = $status; }

# --- what processes use -------------------------------------------------------------------------

my $ticks = POSIX::sysconf(&POSIX::_SC_CLK_TCK);

sub stat_of
{
	my ($pid) = @_;
	open my $in, '<', "/proc/$pid/stat" or return;
	my $line = <$in>;
	close $in;
	return unless defined $line && $line =~ s/^.*\) //;
	my @f = split ' ', $line;
	return { ppid => $f[1], own => $f[11] + $f[12], children => $f[13] + $f[14] };
}

# CPU seconds of the source, the destination (processes that have ended included) and nats-server
sub cpu_of_each
{
	my %root;
	for my $side (qw(source dest))
	{
		open my $in, '<', "$dir/$side/postmaster.pid" or die $!;
		chomp(my $pid = <$in>);
		$root{$pid} = $side;
	}
	my %sum = (source => 0, dest => 0, nats => stat_of($nats_pid)->{own});
	opendir my $proc, '/proc' or die $!;
	for my $pid (grep { /^\d+$/ } readdir $proc)
	{
		my $stat = stat_of($pid) or next;
		my $side = $root{$pid} // $root{ $stat->{ppid} } // next;
		$sum{$side} += $stat->{own};
		$sum{$side} += $stat->{children} if $root{$pid};
	}
	return map { $sum{$_} / $ticks } qw(source dest nats);
}

sub cpu_seconds { my ($source, $dest, $nats) = cpu_of_each(); return $source + $dest + $nats; }

# The processes of a cluster at this moment
sub children_of
{
	my ($side) = @_;
	open my $in, '<', "$dir/$side/postmaster.pid" or return;
	chomp(my $postmaster = <$in>);
	opendir my $proc, '/proc' or return;
	return grep { /^\d+$/ && (stat_of($_) || { ppid => 0 })->{ppid} == $postmaster } readdir $proc;
}

sub private_mb
{
	my ($pid) = @_;
	open my $in, '<', "/proc/$pid/status" or return 0;
	while (<$in>) { return $1 / 1024 if /^RssAnon:\s+(\d+)/; }
	return 0;
}

# --- the two systems ------------------------------------------------------------------------------

my $native_options = $ENV{NATIVE_OPTIONS};
my $worker_options = $ENV{WORKER_OPTIONS} || '{}';

sub wait_for
{
	my ($what, $ok) = @_;
	for (1 .. 1200)
	{
		return if $ok->();
		sleep 0.05;
	}
	die "timed out waiting for $what\n";
}

my %system = (
	native => {
		setup => sub {
			psql('source', $db{native}, "CREATE PUBLICATION bench FOR TABLE $tables");
			psql('dest', $db{native},
				"CREATE SUBSCRIPTION bench CONNECTION 'host=$dir port=$port{source} user=postgres "
				  . 'dbname=' . database('source', $db{native}) . "' PUBLICATION bench WITH (enabled = false, "
				  . "copy_data = true, create_slot = false, slot_name = $db{native})");
			psql('source', $db{native}, "SELECT pg_create_logical_replication_slot('$db{native}', 'pgoutput')");
			psql('dest', $db{native}, "ALTER SUBSCRIPTION bench SET ($native_options)") if $native_options;
		},
		start => sub { psql('dest', $db{native}, 'ALTER SUBSCRIPTION bench ENABLE') },
		stop => sub {
			psql('dest', $db{native}, 'ALTER SUBSCRIPTION bench DISABLE');
			wait_for('the subscription to stop',
				sub { psql('source', $db{native}, 'SELECT count(*) FROM pg_stat_replication') eq '0' });
		},
		copy => sub {
			my ($name, $list) = @_;
			psql('source', 'bench_copy', "CREATE PUBLICATION $name FOR TABLE $list");
			return sub {
				psql('dest', 'bench_copy',
				"CREATE SUBSCRIPTION $name CONNECTION 'host=$dir port=$port{source} user=postgres dbname=bench_copy' "
				  . "PUBLICATION $name WITH ($native_options)") };
		},
		copied => "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate IN ('s', 'r')",
		uncopy => sub {
			my ($name) = @_;
			wait_for('the copy to be followed',
				sub {
				psql('dest', 'bench_copy', "SELECT count(*) FROM pg_subscription_rel
				WHERE srsubstate <> 'r'") eq '0' });
			psql('dest', 'bench_copy', "DROP SUBSCRIPTION $name");
			psql('source', 'bench_copy', "DROP PUBLICATION $name");
		},
		sender => sub {
			psql('source', $db{native},
				"SELECT active_pid FROM pg_replication_slots WHERE slot_name = '$db{native}'") },
		applier => sub {
			psql('dest', $db{native}, 'SELECT pid FROM pg_stat_subscription
			WHERE pid IS NOT NULL AND relid IS NULL LIMIT 1') },
	},
	pg_flo => {
		setup => sub {
			psql($_, $db{pg_flo}, 'CREATE EXTENSION pg_flo') for qw(source dest);
			psql('source', $db{pg_flo},
				"SELECT flo.create_replicator('$db{pg_flo}', tables => '{" . ($tables =~ s/ //gr) . "}')");
			psql('dest', $db{pg_flo}, "SELECT flo.create_worker('$db{pg_flo}', options => '$worker_options')");
		},
		start => sub {
			psql_both($db{pg_flo}, "SELECT flo.start_group('$db{pg_flo}')");
		},
		stop => sub {
			psql($_, $db{pg_flo}, "SELECT flo.stop_group('$db{pg_flo}')") for qw(source dest);
			for my $side (qw(source dest))
			{
				wait_for('the group to stop',
					sub { psql($side, $db{pg_flo}, 'SELECT count(*) FROM flo.status WHERE pid IS NOT NULL') eq '0' });
			}
		},
		copy => sub {
			my ($name, $list) = @_;
			psql('source', 'bench_copy', "SELECT flo.create_replicator('$name', tables => '{" . ($list =~ s/ //gr)
				  . "}', mode => 'copy')");
			psql('dest', 'bench_copy', "SELECT flo.create_worker('$name', options => '$worker_options')");
			return sub { psql($_, 'bench_copy', "SELECT flo.start_group('$name')") for qw(source dest) };
		},
		copied => 'SELECT count(*) FROM flo.copied_tables WHERE finished_at IS NOT NULL',
		uncopy => sub {
			my ($name) = @_;
			for my $side (qw(source dest))
			{
				wait_for('the copy to end',
					sub { psql($side, 'bench_copy', 'SELECT count(*) FROM flo.status WHERE pid IS NOT NULL') eq '0' });
			}
			psql("dest", "bench_copy", "SELECT flo.drop_group('$name')");
			psql("source", "bench_copy", "SELECT flo.drop_group('$name', purge_stream => true)");
		},
		sender => sub { psql('source', $db{pg_flo}, "SELECT pid FROM flo.status WHERE member = 'replicator'") },
		applier => sub { psql('dest', $db{pg_flo}, "SELECT pid FROM flo.status WHERE member = 'postgres'") },
	},
);

# --- measuring ------------------------------------------------------------------------------------

my $ready = 0;

# A row that has arrived says that everything before it has
sub mark { $ready++; psql('source', $_[0], "INSERT INTO ready VALUES ($ready)"); }

# A psql that ends when a condition holds at the destination (by default: the mark has arrived), and says when
sub watch
{
	my ($db, $condition) = @_;
	$condition //= "EXISTS (SELECT FROM ready WHERE id = $ready)";
	my $pid = open(my $out, '-|') // die "fork: $!";
	if ($pid == 0)
	{
		exec("$bin/psql", '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', $dir, '-p', $port{dest}, '-U',
			'postgres', '-d', $db,
			'-c', "SET statement_timeout = '10min'",
			'-c', "DO \$\$ BEGIN WHILE NOT ($condition) LOOP COMMIT; PERFORM pg_sleep(0.005); END LOOP; END \$\$",
			'-c', 'SELECT extract(epoch FROM clock_timestamp())') or POSIX::_exit(127);
	}
	return { pid => $pid, out => $out };
}

sub be_ready
{
	my ($db) = @_;
	mark($db);
	finish_watch(watch($db));
}

# When it saw what it waited for
sub finish_watch
{
	my ($watch) = @_;
	my $out = $watch->{out};
	my @lines = <$out>;
	close $out or die "the destination did not catch up\n";
	my ($end) = grep { /^\d+\.\d+$/ } @lines;
	return $end;
}

# Whose time goes where: perf report -i results.perf.NAME.SYSTEM --sort pid,symbol
sub record_profile
{
	my ($name, $system, @pids) = @_;
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open STDERR, '>', "$dir/perf.log";
		exec('perf', 'record', '-F', '999', '-g', '-o', "$dir/results.perf.$name.$system", '-p', join(',', @pids))
		  or POSIX::_exit(127);
	}
	sleep 1;
	return $pid;
}

# When the watch ended, and the highest private memory meanwhile of the source's and the destination's processes
sub sample_until
{
	my ($watch, $interval, $processes) = @_;
	my @top = (0, 0);
	my $out = $watch->{out};
	my $bits = '';
	vec($bits, fileno($out), 1) = 1;
	while (1)
	{
		my $r = $bits;
		last if select($r, undef, undef, $interval) > 0;
		my @pids = $processes->();
		for my $i (0, 1)
		{
			for my $mb (map { private_mb($_) } @{ $pids[$i] }) { $top[$i] = $mb if $mb > $top[$i]; }
		}
	}
	my @lines = <$out>;
	close $out or die "the destination never saw the end\n";
	my ($end) = grep { /^\d+\.\d+$/ } @lines;
	return ($end, @top);
}

sub measure_rate
{
	my ($system, $scenario) = @_;
	my ($name, undef, undef, $count, $before, $work) = @$scenario;
	my $s = $system{$system};
	my $db = $db{$system};
	my ($sender, $applier);

	psql('source', $db, $before);
	be_ready($db);
	psql($_, $db, 'CHECKPOINT') for qw(source dest);
	wait_for("$system to run", sub { ($sender = $s->{sender}->()) && ($applier = $s->{applier}->()) });

	kill 'STOP', $sender or die "cannot stop process $sender: $!\n";
	my $ok = eval { psql('source', $db, $work); mark($db); 1 };
	my $error = $@;
	my $watch = watch($db) if $ok;
	sleep 0.3;
	my $perf = record_profile($name, $system, $sender, $applier, $nats_pid) if $ENV{PERF};
	my $cpu = cpu_seconds();
	my @own = map { stat_of($_)->{own} } $sender, $applier, $nats_pid;
	my $start = time();
	kill 'CONT', $sender;
	die $error if !$ok;

	my ($end, $top_s, $top_a) = sample_until($watch, 0.02, sub { return ([$sender], [$applier]) });
	$cpu = cpu_seconds() - $cpu;
	if ($perf) { kill 'INT', $perf; waitpid $perf, 0; }
	@own = map { ((stat_of($_) || { own => 0 })->{own} - shift @own) / $ticks / $count * 1e6 } $sender, $applier,
		$nats_pid;
	my $seconds = $end - $start;
	return { rate => $count / $seconds, seconds => $seconds, cpu => $cpu / $count * 1e6, sender_mb => $top_s,
		applier_mb => $top_a,
		sender_cpu => $own[0], applier_cpu => $own[1], nats_cpu => $own[2] };
}

# Of both systems, as they catch up with the same work
sub measure_again
{
	my ($scenario, @order) = @_;
	my (undef, undef, undef, $count, $before, $work) = @$scenario;
	my %m;
	local %db = %again;

	my $db = $db{ $order[0] };
	psql('source', $db, $before);
	mark($db);
	for my $system (@order)
	{
		$system{$system}{start}->();
		finish_watch(watch($db{$system}));
	}
	$system{$_}{stop}->() for @order;
	psql('source', $db, $work);
	mark($db);
	psql($_, $db, 'CHECKPOINT') for qw(source dest);
	for my $system (@order)
	{
		my $watch = watch($db{$system});
		sleep 0.3;
		my @cpu = cpu_of_each();
		my $start = time();
		$system{$system}{start}->();
		my $seconds = finish_watch($watch) - $start;
		@cpu = map { ($_ - shift @cpu) / $count * 1e6 } cpu_of_each();
		$m{$system} = { rate => $count / $seconds, seconds => $seconds, cpu => $cpu[0] + $cpu[1] + $cpu[2],
			sender_cpu => $cpu[0], applier_cpu => $cpu[1], nats_cpu => $cpu[2], sender_mb => 0, applier_mb => 0 };
		$system{$system}{stop}->();
	}
	return %m;
}

my $copies = 0;

sub measure_copy
{
	my ($system, $scenario) = @_;
	my ($name, undef, undef, $count) = @$scenario;
	my $s = $system{$system};
	my @tables = map { "public.${name}_$_" } 1 .. @{ $copy{$name} };
	my $group = 'copy' . ++$copies;

	psql('dest', 'bench_copy', 'TRUNCATE ' . join(', ', @tables));
	my $start_copy = $s->{copy}->($group, join(', ', @tables));
	psql($_, 'bench_copy', 'CHECKPOINT') for qw(source dest);
	my $watch = watch('bench_copy', "($s->{copied}) = " . @tables);
	sleep 0.3;
	my @cpu = cpu_of_each();
	my $start = time();
	eval { $start_copy->(); 1 } or do { kill 'TERM', $watch->{pid}; die $@ };
	my ($end, @top) = sample_until($watch, 0.2, sub { return map { [ children_of($_) ] } qw(source dest) });
	sleep 0.2;	# processes that end just now would be missed
	@cpu = map { ($_ - shift @cpu) / $count * 1e6 } cpu_of_each();
	my $rows = psql('dest', 'bench_copy', 'SELECT ' . join(' + ', map { "(SELECT count(*) FROM $_)" } @tables));
	die "$name by $system: $rows rows instead of $count\n" if $rows != $count;
	my $bytes = psql('source', 'bench_copy', 'SELECT ' . join(' + ', map { "pg_table_size('$_')" } @tables));
	$s->{uncopy}->($group);
	return { rate => $count / ($end - $start), seconds => $end - $start, mb_rate => $bytes / 1e6 / ($end - $start),
		cpu => $cpu[0] + $cpu[1] + $cpu[2],
		sender_cpu => $cpu[0], applier_cpu => $cpu[1], nats_cpu => $cpu[2], sender_mb => $top[0],
		applier_mb => $top[1] };
}

# A database that both systems copy from and to
sub set_up_copy
{
	my @wanted = grep { $copy{ $_->[0] } } @scenarios or return;
	for my $side (qw(source dest))
	{
		psql($side, 'postgres', 'CREATE DATABASE bench_copy');
		psql($side, 'bench_copy', 'CREATE EXTENSION pg_flo') if grep { $_ eq 'pg_flo' } @systems;
		for my $name (map { $_->[0] } @wanted)
		{
			my $i = 0;
			for my $rows (@{ $copy{$name} })
			{
				my $table = "${name}_" . ++$i;
				psql($side, 'bench_copy', "CREATE TABLE $table $four");
				psql($side, 'bench_copy', "INSERT INTO $table SELECT i, i % 1000, md5(i::text) || 'abcdefgh', now()
					FROM generate_series(1, $rows) i") if $side eq 'source';
			}
		}
		psql($side, 'bench_copy', 'VACUUM ANALYZE');
	}
}

# Sessions that are measured beside the pipe, and a script of pgbench for them
sub run_pgbench
{
	my ($db, $statement, $synchronous_commit, @options) = @_;

	open my $script, '>', "$dir/load.pgbench" or die $!;
	print $script "$statement\n";
	close $script;
	local $ENV{PGOPTIONS} = "-c synchronous_commit=$synchronous_commit";
	run(join ' ', "'$bin/pgbench' -n -M prepared", @options,
		"-f '$dir/load.pgbench' -h '$dir' -p $port{source} -U postgres $db >'$dir/pgbench.log' 2>&1");
}

sub measure_live
{
	my ($system, $scenario) = @_;
	my (undef, undef, undef, $count, undef, $synchronous_commit) = @$scenario;
	my ($s, $db) = ($system{$system}, $db{$system});

	psql('source', $db, 'TRUNCATE bulk; DROP SEQUENCE IF EXISTS live_ids; CREATE SEQUENCE live_ids CACHE 100');
	be_ready($db);
	my @pids = ($s->{sender}->(), $s->{applier}->(), $nats_pid);
	my @own = map { stat_of($_)->{own} } @pids;
	my $start = time();
	run_pgbench($db, q{INSERT INTO bulk VALUES (nextval('live_ids'), 1, 'some text of an ordinary length', now());},
		$synchronous_commit, '-c 4 -j 2 -t ' . $count / 4);
	my $seconds = time() - $start;
	be_ready($db);
	@own = map { (stat_of($_)->{own} - shift @own) / $ticks / $count * 1e6 } @pids;
	return { rate => $count / $seconds, seconds => $seconds, cpu => $own[0] + $own[1] + $own[2],
		sender_cpu => $own[0], applier_cpu => $own[1], nats_cpu => $own[2],
		sender_mb => private_mb($pids[0]), applier_mb => private_mb($pids[1]) };
}

sub measure_latency
{
	my ($system, $scenario) = @_;
	my $n = $scenario->[3];
	my $db = $db{$system};

	psql('source', $db, 'TRUNCATE latency');
	be_ready($db);
	psql('dest', $db, 'DROP TABLE IF EXISTS seen; CREATE UNLOGGED TABLE seen (id bigint, at timestamptz)');
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		undef $parent;
		psql('dest', $db, "DO \$\$ DECLARE last bigint := 0; cur bigint; BEGIN
			LOOP
				SELECT max(id) INTO cur FROM latency;
				IF cur > last THEN INSERT INTO seen VALUES (cur, clock_timestamp()); last := cur; END IF;
				COMMIT;
				EXIT WHEN last >= $n;
				PERFORM pg_sleep(0.0005);
			END LOOP; END \$\$");
		POSIX::_exit(0);
	}
	psql('source', $db, 'DROP SEQUENCE IF EXISTS latency_ids; CREATE SEQUENCE latency_ids');
	my $cpu = cpu_seconds();
	# a commit that is not flushed is not sent, either: that would measure the WAL writer's sleep
	run_pgbench($db, q{INSERT INTO latency VALUES (nextval('latency_ids'), 1, 'x', clock_timestamp());}, 'on',
		"-c 1 -R 200 -t $n");
	waitpid $pid, 0;
	$cpu = cpu_seconds() - $cpu;
	my $row = psql('dest', $db,
		"SELECT round((1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY l))::numeric, 3) || ' ' ||
			round((1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY l))::numeric, 3)
		FROM (SELECT extract(epoch FROM (SELECT min(at) FROM seen s WHERE s.id >= t.id) - t.c) AS l FROM latency t
			WHERE t.id > $n / 10) x");
	my ($p50, $p99) = split ' ', $row;
	return { p50 => $p50, p99 => $p99, cpu => $cpu / $n * 1e6 };
}

# --- reporting ------------------------------------------------------------------------------------

my %result;	# scenario, system => list of measurements

sub median
{
	my @v = sort { $a <=> $b } grep { defined } @_;
	return undef if !@v;
	return @v % 2 ? $v[$#v / 2] : ($v[$#v / 2] + $v[@v / 2]) / 2;
}

sub m_of { my ($name, $system, $what) = @_; return median(map { $_->{$what} } @{ $result{$name}{$system} || [] }); }
sub show { my ($format, $v) = @_; return defined $v ? sprintf($format, $v) : '-'; }

sub print_table
{
	my @lines = ('| scenario | unit | native | pg_flo | ratio | floor | goal | CPU s/M native | CPU s/M pg_flo | MB '
		  . 'native (sender/applier) | MB pg_flo |',
		'| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |');
	for my $scenario (@scenarios)
	{
		my ($name, $title, $unit, undef, undef, undef, $floor, $goal) = @$scenario;
		if ($name eq 'latency')
		{
			for my $p (qw(p50 p99))
			{
				my ($n, $f) = map { m_of($name, $_, $p) } qw(native pg_flo);
				push @lines, sprintf('| %s %s | ms | %s | %s | %s | %s | %s | %s | %s | | |', $title, $p,
					show('%.2f', $n), show('%.2f', $f),
					($n && $f ? sprintf('%.2f', $f / $n) : '-'), $p eq 'p50' ? '2' : '3', $p eq 'p50' ? '1.2' : '1.5',
					map { show('%.0f', m_of($name, $_, 'cpu')) } qw(native pg_flo));
			}
			next;
		}
		my ($n, $f) = map { m_of($name, $_, 'rate') } qw(native pg_flo);
		push @lines, sprintf('| %s | %s/s | %s | %s | %s | %s | %s | %s | %s | %s | %s |', $title, $unit,
			show('%.0f', $n), show('%.0f', $f),
			($n && $f ? sprintf('%.2f', $f / $n) : '-'), $floor // '-', $goal // '-',
			(map { show('%.2f', m_of($name, $_, 'cpu')) } qw(native pg_flo)),
			map { show('%.0f', m_of($name, $_, 'sender_mb')) . ' / '
				  . show('%.0f', m_of($name, $_, 'applier_mb')) } qw(native pg_flo));
	}
	return join("\n", @lines) . "\n";
}

sub write_csv
{
	open my $csv, '>', "$dir/results.csv" or die $!;
	print $csv "scenario,system,run,rate,seconds,cpu_seconds_per_million,"
	  . "sender_cpu,applier_cpu,nats_cpu,sender_mb,applier_mb,mb_per_second,p50_ms,p99_ms\n";
	for my $scenario (@scenarios)
	{
		for my $system (@systems)
		{
			my $run = 0;
			for my $m (@{ $result{ $scenario->[0] }{$system} || [] })
			{
				print $csv join(',', $scenario->[0], $system, ++$run,
					map { defined $m->{$_} ? sprintf('%.3f', $m->{$_}) : '' } qw(rate seconds cpu sender_cpu applier_cpu
					nats_cpu sender_mb applier_mb mb_rate p50 p99)), "\n";
			}
		}
	}
	close $csv;
}

# One bar per scenario: how many times as fast as PostgreSQL's own; marks for floor and goal
sub write_svg
{
	my ($versions) = @_;
	my @rows = grep { $_->[0] ne 'latency' } @scenarios;
	my ($left, $width, $step, $top) = (230, 520, 30, 60);
	my $most = 4;
	my %ratio;
	for (@rows)
	{
		my ($n, $f) = map { m_of($_->[0], $_, 'rate') } ();
		my ($native, $flo) = (m_of($_->[0], 'native', 'rate'), m_of($_->[0], 'pg_flo', 'rate'));
		next unless $native && $flo;
		$ratio{ $_->[0] } = $flo / $native;
		$most = $ratio{ $_->[0] } if $ratio{ $_->[0] } > $most;
		$most = $_->[7] if $_->[7] && $_->[7] > $most;
	}
	my $x = sub { return $left + $width * $_[0] / $most; };
	my $height = $top + $step * @rows + 40;
	open my $svg, '>', "$dir/results.svg" or die $!;
	printf $svg qq{<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" }
		  . qq{font-size="13">\n}, $left + $width + 70, $height;
	print $svg qq{<rect width="100%" height="100%" fill="white"/>\n<text x="10" y="22" font-size="16">pg_flo / }
		  . qq{PostgreSQL's own logical replication</text>\n<text x="10" y="42" fill="#666">$versions</text>\n};
	my $y = $top;
	for (@rows)
	{
		my $ratio = $ratio{ $_->[0] };
		printf $svg qq{<text x="%d" y="%d" text-anchor="end">%s</text>\n}, $left - 8, $y + 18, $_->[1];
		if (defined $ratio)
		{
			printf $svg qq{<rect x="%d" y="%d" width="%.1f" height="18" fill="#336791"/>\n<text x="%.1f" }
				  . qq{y="%d">%.1f</text>\n},
				$left, $y + 4, $x->($ratio) - $left, $x->($ratio) + 5, $y + 18, $ratio;
		}
		for my $mark ([ $_->[6], '#c33' ], [ $_->[7], '#393' ])
		{
			printf $svg qq{<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-width="2"/>\n},
				$x->($mark->[0]), $x->($mark->[0]), $y + 2, $y + 24, $mark->[1] if $mark->[0];
		}
		$y += $step;
	}
	printf $svg qq{<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#000" stroke-dasharray="3,3"/>\n}, $x->(1),
		$x->(1), $top, $y;
	print $svg qq{<text x="$left" y="@{[ $y + 22 ]}" fill="#666">times as fast; dashed: the same, red: floor, }
		  . qq{green: goal</text>\n</svg>\n};
	close $svg;
}

# --- run ------------------------------------------------------------------------------------------

my $began = time();
$nats_port = free_port($base + 2);
$port{source} = $base;
$port{dest} = $base + 1;
start_nats();
start_cluster($_) for qw(source dest);
my $version = psql('source', 'postgres', 'SHOW server_version');
my $number = psql('source', 'postgres', 'SHOW server_version_num');
$native_options = $number >= 160000 ? 'binary = true, streaming = parallel' : 'binary = true, streaming = off'
  if !defined $native_options || $native_options eq '';
chomp(my $nats_version = `nats-server --version`);
chomp(my $cpus = `nproc`);
my $versions = "PostgreSQL $version, $nats_version, $cpus cpus";
print "# $versions; native: $native_options; pg_flo worker: $worker_options; $runs runs\n";

sub set_up
{
	my ($system, @sides) = @_;

	for my $side (@sides)
	{
		psql($side, 'postgres', 'CREATE DATABASE ' . database($side, $db{$system}));
		psql($side, $db{$system}, $schema);
	}
	$system{$system}{setup}->();
	$system{$system}{start}->();
	if ($system eq 'pg_flo')
	{
		wait_for('the replicator to stream',
			sub {
			psql('source', $db{$system}, "SELECT state FROM flo.status WHERE member = 'replicator'") eq 'streaming' });
	}
}

# What the tables hold from the start comes through the pipe
sub fill
{
	psql('source', $db{ $_[0] }, $source_schema);
	for my $system (@_)
	{
		be_ready($db{$system});
		psql($_, $db{$system}, 'VACUUM ANALYZE') for qw(source dest);
		$system{$system}{stop}->();
	}
}

sub note
{
	my ($run, $system, $scenario, $m) = @_;

	push @{ $result{ $scenario->[0] }{$system} }, $m;
	printf "# run %d, %-6s %-12s %s\n", $run, $system, $scenario->[0],
		defined $m->{rate}
		  ? sprintf('%9.0f %s/s, %6.2f s, %5.2f CPU s/M (sender %.2f, applier %.2f, nats %.2f), %.0f/%.0f MB',
			$m->{rate}, $scenario->[2], $m->{seconds}, $m->{cpu}, $m->{sender_cpu}, $m->{applier_cpu},
			$m->{nats_cpu}, $m->{sender_mb}, $m->{applier_mb})
		  . (defined $m->{mb_rate} ? sprintf(', %.0f MB/s', $m->{mb_rate}) : '')
		  : "p50 $m->{p50} ms, p99 $m->{p99} ms";
}

my @again = grep { $_->[0] =~ /^again_/ } @scenarios;
my @steady = grep { $_->[0] !~ /^again_/ } @scenarios;

for my $system (@steady ? @systems : ())
{
	set_up($system, qw(source dest));
	fill($system);
}
if (@again)
{
	local %db = %again;
	set_up($systems[$_], $_ == 0 ? qw(source dest) : 'dest') for 0 .. $#systems;
	fill(@systems);
}
set_up_copy();
for my $run (1 .. $runs)
{
	my @order = $run % 2 ? @systems : reverse @systems;

	for my $system (@steady ? @order : ())
	{
		$system{$system}{start}->();
		be_ready($db{$system});
		for my $scenario (@steady)
		{
			my $measure = $scenario->[0] eq 'latency' ? \&measure_latency : $copy{ $scenario->[0] } ? \&measure_copy
			  : $scenario->[0] =~ /^live/ ? \&measure_live : \&measure_rate;
			note($run, $system, $scenario, $measure->($system, $scenario));
		}
		$system{$system}{stop}->();
	}
	for my $scenario (@again)
	{
		my %m = measure_again($scenario, @order);
		note($run, $_, $scenario, $m{$_}) for @order;
	}
}
write_csv();
write_svg($versions);
open my $table, '>', "$dir/results.md" or die $!;
my $text = "$versions; native: $native_options; pg_flo worker: $worker_options; medians of $runs\n\n" . print_table();
print $table $text;
close $table;
print "\n$text";
printf "# %.0f s\n", time() - $began;
