# Two clusters, a source and a destination, and a nats-server beside them: started,
# asked, and what their processes use.  They can be run by more than one build of
# pg_flo, each in a copy of the server of its own, one after the other.
package Bench::Servers;
use strict;
use warnings;
use Exporter 'import';
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep);

our @EXPORT = qw(start_servers stop_servers use_build psql psql_all wait_for psql_command run_pgbench
  cpu_of_each cpu_seconds cpu_microseconds children_of postmaster nats_pid private_mb connection fork_off
  pgcopydb);

my $dir = $ENV{WORK};
# where the programs of a build are
my %bin = (head => $ENV{BINDIR}, base => $ENV{BASE_BINDIR});
my @sides = qw(source dest);
my $build = 'head';
my (%port, $nats_port, $nats_pid, $settings);
my $parent = $$;
$ENV{PGOPTIONS} = '-c client_min_messages=warning';
$SIG{INT} = $SIG{TERM} = sub { exit 130 };
END { my $status = $?; stop_servers() if $$ == $parent; $? = $status; }

# --- sessions --------------------------------------------------------------------------

sub fork_off
{
	my ($sub) = @_;
	my $pid = fork() // die "fork: $!";
	return $pid if $pid;
	$sub->();
	POSIX::_exit(0);
}

sub connection { my ($side, $db) = @_; return "host=$dir port=$port{$side} user=postgres dbname=$db"; }

sub psql_command
{
	my ($side, $db, @statements) = @_;
	return ("$bin{head}/psql", qw(-X -q -A -t -v ON_ERROR_STOP=1 -d), connection($side, $db),
		map { ('-c', $_) } @statements);
}

# As many processes as pg_flo has; it does not analyze what it has copied, either
sub pgcopydb
{
	my ($db) = @_;
	local $ENV{PATH} = "$bin{head}:$ENV{PATH}";
	run('pgcopydb clone --table-jobs 4 --index-jobs 4 --skip-vacuum --restart '
		  . "--dir '$dir/pgcopydb' --source '" . connection('source', $db) . "' --target '" . connection('dest', $db)
		  . "' >'$dir/pgcopydb.log' 2>&1");
}

sub begin_psql
{
	my ($side, $db, $sql) = @_;
	open(my $out, '-|', psql_command($side, $db, $sql)) or die "psql: $!\n";
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

# Lines; in scalar context the last one
sub psql
{
	my ($side, $db, $sql) = @_;
	my @lines = end_psql(begin_psql($side, $db, $sql), $side, $sql);

	return wantarray ? @lines : ($lines[-1] // '');
}

# At the same time; of [ side, database, statement ]
sub psql_all
{
	my @out = map { begin_psql(@$_) } @_;

	end_psql($out[$_], @{ $_[$_] }[ 0, 2 ]) for 0 .. $#out;
}

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

# pgbench -f, at the source
sub run_pgbench
{
	my ($db, $statement, $synchronous_commit, @options) = @_;

	open my $script, '>', "$dir/load.pgbench" or die $!;
	print $script "$statement\n";
	close $script;
	local $ENV{PGOPTIONS} = "-c synchronous_commit=$synchronous_commit";
	run(join ' ', "'$bin{head}/pgbench' -n -M prepared", @options,
		"-f '$dir/load.pgbench' -h '$dir' -p $port{source} -U postgres $db >'$dir/pgbench.log' 2>&1");
}

# --- servers ---------------------------------------------------------------------------

sub run { my @command = @_; system(@command) == 0 or die "failed: @command\n"; }

sub answers
{
	my ($port) = @_;
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp', Timeout => 1);
}

sub start_nats
{
	open my $conf, '>', "$dir/nats.conf" or die $!;
	print $conf qq{listen: "127.0.0.1:$nats_port"\nlog_file: "$dir/nats.log"\n},
	  qq{jetstream { store_dir: "$dir/jetstream", max_file_store: 40GB }\n};
	close $conf;
	$nats_pid = fork_off(
		sub {
			open STDOUT, '>', '/dev/null';
			open STDERR, '>&', \*STDOUT;
			exec('nats-server', '-c', "$dir/nats.conf") or POSIX::_exit(127);
		});
	wait_for('nats-server', sub { answers($nats_port) });
}

sub make_cluster
{
	my ($side) = @_;
	run("'$bin{head}/initdb' -D '$dir/$side' -U postgres -A trust --no-sync >'$dir/initdb.log' 2>&1");
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
$settings
CONF
	close $conf;
}

sub pg_ctl
{
	my ($side, @command) = @_;
	return "'$bin{$build}/pg_ctl' -D '$dir/$side' -l '$dir/$side.log' -w -s @command </dev/null >/dev/null";
}

# Both clusters and the broker; settings are lines of postgresql.conf
sub start_servers
{
	($settings) = (@_, '');
	die "run it by make bench\n" if !$dir;
	$port{source} = $ENV{BENCH_PORT} || 25432;
	$port{dest} = $port{source} + 1;
	$nats_port = $port{source} + 2;
	$nats_port++ while answers($nats_port);
	start_nats();
	for my $side (@sides)
	{
		make_cluster($side);
		run(pg_ctl($side, 'start'));
	}
}

# From here on the clusters are run by this build
sub use_build
{
	my ($wanted) = @_;

	return if $wanted eq $build;
	run(pg_ctl($_, '-m fast stop')) for @sides;
	# what one build's shared memory held is nothing to the other
	unlink map { "$dir/$_/pg_stat/pg_flo.stat" } @sides;
	$build = $wanted;
	run(pg_ctl($_, 'start')) for @sides;
}

sub stop_servers
{
	for my $side (@sides)
	{
		system(pg_ctl($side, '-m immediate stop') . ' 2>&1') if -f "$dir/$side/postmaster.pid";
	}
	return if !$nats_pid;
	kill 'TERM', $nats_pid;
	waitpid $nats_pid, 0;
	undef $nats_pid;
}

# --- what processes use ----------------------------------------------------------------

my $ticks = POSIX::sysconf(&POSIX::_SC_CLK_TCK);

sub nats_pid { return $nats_pid; }

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

# What a process has used until now
sub cpu_microseconds
{
	my ($pid) = @_;
	return (stat_of($pid) || { own => 0 })->{own} / $ticks * 1e6;
}

sub postmaster
{
	my ($side) = @_;
	open my $in, '<', "$dir/$side/postmaster.pid" or die "$dir/$side/postmaster.pid: $!\n";
	chomp(my $pid = <$in>);
	return $pid;
}

sub processes { opendir my $proc, '/proc' or die $!; return grep { /^\d+$/ } readdir $proc; }

# CPU seconds of the source, the destination (processes that have ended included) and nats-server
sub cpu_of_each
{
	my %root = map { postmaster($_) => $_ } @sides;
	my %sum = (source => 0, dest => 0, nats => stat_of($nats_pid)->{own});
	for my $pid (processes())
	{
		my $stat = stat_of($pid) or next;
		my $side = $root{$pid} // $root{ $stat->{ppid} } // next;
		$sum{$side} += $stat->{own};
		$sum{$side} += $stat->{children} if $root{$pid};
	}
	return map { $sum{$_} / $ticks } @sides, 'nats';
}

sub cpu_seconds { my ($source, $dest, $nats) = cpu_of_each(); return $source + $dest + $nats; }

# The processes of a cluster at this moment
sub children_of
{
	my ($side) = @_;
	my $postmaster = postmaster($side);
	return grep { (stat_of($_) || { ppid => 0 })->{ppid} == $postmaster } processes();
}

sub private_mb
{
	my ($pid) = @_;
	open my $in, '<', "/proc/$pid/status" or return 0;
	while (my $line = <$in>) { return $1 / 1024 if $line =~ /^RssAnon:\s+(\d+)/; }
	return 0;
}

1;
