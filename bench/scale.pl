#!/usr/bin/perl
# How pg_flo grows: with groups in a cluster, tables in a group, workers of a group.
#
#	bench/run.sh scale.pl [groups=1,4,16,64] [tables=1,100,5000] [workers=1,2,4,8]
#						  [idle=60] [transactions=20000]
#
# For each size one line: the time of making and starting it, CPU and wake-ups while
# nothing happens, private memory of its processes, how long views and functions take
# that look at all of it, and what a one-row transaction costs.  The transactions go
# to all tables in turn (rate), or all to the first one (one table), so that a
# transaction that concerns one group of many can be seen to cost what it should.
# CPU is that of all processes of both clusters and of nats-server; a rate is the
# load's and the pipe's together, on the same machine.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Bench::Servers;
use Time::HiRes qw(sleep time);

$| = 1;
my %wanted = (groups => '1,4,16,64', tables => '1,100,5000', workers => '1,2,4,8', idle => 60,
	transactions => 20_000);
for (@ARGV)
{
	my ($name, $value) = /^(\w+)=([\d,]*)$/ or die "what is $_?\n";
	die "what is $name?\n" if !defined $wanted{$name};
	$wanted{$name} = $value;
}
my ($idle, $transactions) = @wanted{qw(idle transactions)};
my %sizes = map { $_ => [ split /,/, $wanted{$_} ] } qw(groups tables workers);
my @asked = (
	[ 'flo.status' => 'SELECT count(*) FROM flo.status' ],
	[ 'flo.overview' => 'SELECT count(*) FROM flo.overview' ],
	[ 'flo.tables' => 'SELECT count(*) FROM flo.tables' ],
	[ 'flo.metrics()' => 'SELECT flo.metrics()' ],
	[ 'flo.healthy()' => 'SELECT flo.healthy()' ],
	[ 'flo.stream_status()' => "SELECT count(*) FROM flo.stream_status('%s')" ],
	[ 'flo.check(one)' => "SELECT count(*) FROM flo.check('%s')" ],
	[ 'flo.check()' => 'SELECT count(*) FROM flo.check()' ]);
my $db;

sub at { my ($side, $sql) = @_; return scalar psql($side, $db, $sql); }

sub timed { my ($sub) = @_; my $start = time(); $sub->(); return time() - $start; }

# In milliseconds, the session's start not counted: the second of two, as a monitor asks
sub time_of
{
	my ($side, $sql) = @_;
	my $quoted = "'" . ($sql =~ s/'/''/gr) . "'";
	return at($side, "CREATE TEMP TABLE t (at timestamptz); DO \$\$ BEGIN
		EXECUTE $quoted; INSERT INTO t VALUES (clock_timestamp()); EXECUTE $quoted; END \$\$;
		SELECT round(extract(epoch FROM clock_timestamp() - at) * 1000, 1) FROM t");
}

# Members of this database at work
sub streaming
{
	my ($side) = @_;
	return at($side, "SELECT count(*) FROM flo.member_stats() WHERE state = 'streaming' AND pid IS NOT NULL");
}

sub await { my ($what, $side, $count) = @_; wait_for($what, sub { streaming($side) == $count }); }

# Wake-ups of a process: how often it has gone to sleep
sub sleeps_of
{
	my $sum = 0;
	for my $pid (@_)
	{
		for my $task (glob "/proc/$pid/task/*/status")
		{
			open my $in, '<', $task or next;
			while (my $line = <$in>) { $sum += $1 if $line =~ /^voluntary_ctxt_switches:\s+(\d+)/; }
		}
	}
	return $sum;
}

sub pids
{
	my ($side) = @_;
	return split ' ', at($side, "SELECT string_agg(pid::text, ' ') FROM flo.member_stats() WHERE pid IS NOT NULL");
}

# Of both sides while nothing happens, in CPU milliseconds and wake-ups a second
sub idleness
{
	my @pids = map { [ pids($_) ] } qw(source dest);
	my @sleeps = map { sleeps_of(@$_) } @pids;
	my @cpu = cpu_of_each();
	sleep $idle;
	my @then = cpu_of_each();
	my @figures;
	push @figures, sprintf('%.1f', ($then[$_] - $cpu[$_]) * 1000 / $idle) for 0 .. 2;
	push @figures, sprintf('%.1f', (sleeps_of(@{ $pids[$_] }) - $sleeps[$_]) / $idle / @{ $pids[$_] }) for 0, 1;
	return @figures;
}

sub memory
{
	my ($side) = @_;
	my @mb = sort { $a <=> $b } map { private_mb($_) } pids($side);
	return sprintf('%.1f', $mb[-1]);
}

# One-row transactions into tables in turn, until the last has arrived: of each group the last
my $last = 0;

sub load
{
	my ($tables, $watched, @databases) = @_;
	my @cpu = cpu_of_each();
	my $start = time();
	$last--;
	at('source', "DO \$\$ BEGIN FOR i IN 1 .. $transactions LOOP
		EXECUTE format('INSERT INTO t%s VALUES (\$1, \$2)', 1 + i % $tables) USING nextval('ids'), 'some text';
		COMMIT; END LOOP; END \$\$");
	at('source', join ';', map { "INSERT INTO t$_ VALUES ($last)" } @$watched);
	my $all = join ' AND ', map { "EXISTS (SELECT FROM t$_ WHERE id = $last)" } @$watched;
	for my $database (@databases) { wait_for('the rows', sub { psql('dest', $database, "SELECT $all") eq 't' }); }
	my $seconds = time() - $start;
	my @then = cpu_of_each();
	return (sprintf('%.0f', $transactions / $seconds),
		map { sprintf '%.0f', ($then[$_] - $cpu[$_]) / $transactions * 1e6 } 0 .. 2);
}

sub make_tables
{
	my ($count, @databases) = @_;
	my $sql = "DO \$\$ BEGIN FOR i IN 1 .. $count LOOP
		EXECUTE format('CREATE TABLE t%s (id bigint PRIMARY KEY, v text)', i);
		IF i % 100 = 0 THEN COMMIT; END IF; END LOOP; END \$\$";
	for my $place ([ 'source', $db ], map { [ 'dest', $_ ] } @databases)
	{
		psql($place->[0], 'postgres', "CREATE DATABASE $place->[1]");
		psql(@$place, 'CREATE EXTENSION pg_flo');
		psql(@$place, $sql);
	}
	at('source', 'CREATE SEQUENCE ids CACHE 100');
}

# Figures are rows of a table, sizes its columns
my @tables;

sub table { my ($title, @rows) = @_; push @tables, [ map { [$_] } $title, @rows ]; }

sub column
{
	my @cells = @_;
	print "# $tables[-1][0][0]: ", join(' | ', @cells), "\n";
	for my $row (@{ $tables[-1] }) { push @$row, shift @cells; }
}

my @rates = ('tx/s', 'CPU us/tx, source', '... destination', '... nats-server');
my @idle = ('idle, CPU ms/s, source', '... destination', '... nats-server', 'idle, wake-ups/s of a replicator',
	'... of a worker');
my @memory = ('private MB, a replicator', '... a worker');

sub seconds { return sprintf '%.2f', timed(@_); }

# What looks at all members, and how long it takes
sub ask
{
	my ($group) = @_;
	return map { time_of('source', $_->[1] =~ s/%s/$group/r) } @asked;
}

sub drop_all
{
	my ($groups, @databases) = @_;
	my $i = 0;
	for my $group (@$groups)
	{
		psql('dest', $_, "SELECT flo.drop_group('$group')") for @databases;
		at('source', "SELECT flo.drop_group('$group', purge_stream => true)");
	}
	psql('dest', 'postgres', "DROP DATABASE $_ WITH (FORCE)") for @databases;
	psql('source', 'postgres', "DROP DATABASE $db WITH (FORCE)");
}

sub groups
{
	my ($count) = @_;
	my @groups = map { "g$_" } 1 .. $count;
	$db = "groups_$count";
	make_tables($count, $db);
	my $create = seconds(
		sub {
			at('source', join ';', map { "SELECT flo.create_replicator('g$_', tables => '{t$_}')" } 1 .. $count);
			at('dest', join ';', map { "SELECT flo.create_worker('$_')" } @groups);
		});
	my $start = seconds(
		sub {
			psql_all(map { my $side = $_; [ $side, $db, join ';', map { "SELECT flo.start_group('$_')" } @groups ] }
				  qw(source dest));
			await('the groups', $_, $count) for qw(source dest);
		});
	my @all = load($count, [ 1 .. $count ], $db);
	my @one = load(1, [1], $db);
	sleep 5;
	column($count, $create, $start, idleness(), map({ memory($_) } qw(source dest)), @all, @one, ask('g1'));
	drop_all(\@groups, $db);
}

sub tables
{
	my ($count) = @_;
	$db = "tables_$count";
	make_tables($count + 1, $db);
	at('source', "CREATE TABLE others AS SELECT oid FROM pg_class WHERE relname = 't' || ($count + 1)");
	my $create = seconds(
		sub {
			at('source', "SELECT flo.create_replicator('g', tables => (SELECT array_agg(oid::regclass) FROM pg_class
				WHERE relname ~ '^t\\d+\$' AND oid NOT IN (SELECT oid FROM others)))");
			at('dest', "SELECT flo.create_worker('g')");
		});
	my $start = seconds(
		sub {
			psql_all(map { [ $_, $db, "SELECT flo.start_group('g')" ] } qw(source dest));
			await('the group', $_, 1) for qw(source dest);
		});
	my @all = load($count, [$count], $db);
	my @again = load($count, [$count], $db);
	my $add = seconds(sub { at('source', "SELECT flo.add_table('g', 't" . ($count + 1) . "')") });
	my $remove = seconds(sub { at('source', "SELECT flo.remove_table('g', 't" . ($count + 1) . "')") });
	sleep 5;
	column($count, $create, $start, $add, $remove, idleness(), map({ memory($_) } qw(source dest)), @all, @again,
		ask('g'));
	drop_all(['g'], $db);
}

sub workers
{
	my ($count) = @_;
	$db = "workers_$count";
	my @databases = map { "${db}_$_" } 1 .. $count;
	make_tables(1, @databases);
	at('source', "SELECT flo.create_replicator('g', tables => '{t1}'); SELECT flo.start_group('g')");
	my $start = seconds(
		sub {
			psql_all(map { [ 'dest', $_, "SELECT flo.create_worker('g', worker_name => '$_');
				SELECT flo.start_group('g')" ] } @databases);
			await('the replicator', 'source', 1);
			for my $database (@databases)
			{
				wait_for('a worker', sub { psql('dest', $database, "SELECT state FROM flo.status") eq 'streaming' });
			}
		});
	my @all = load(1, [1], @databases);
	column($count, $start, @all);
	drop_all(['g'], @databases);
}

start_servers(<<CONF);
fsync = off
max_worker_processes = 220
max_replication_slots = 100
max_wal_senders = 10
max_connections = 100
shared_buffers = 256MB
pg_flo.max_workers = 100
CONF
my ($load) = split ' ', do { local (@ARGV, $/) = '/proc/loadavg'; <> };
my $head = sprintf 'PostgreSQL %s, %d CPUs, load %s at the start; %d transactions, %d s idle',
  scalar psql('source', 'postgres', 'SHOW server_version'), `nproc`, $load, $transactions, $idle;
if (@{ $sizes{groups} })
{
	table('groups', 'create all, s', 'start all, s', @idle, @memory, @rates, (map { "one group: $_" } @rates),
		map { "$_->[0], ms" } @asked);
	groups($_) for @{ $sizes{groups} };
}
if (@{ $sizes{tables} })
{
	table('tables', 'create, s', 'start, s', 'add_table(), s', 'remove_table(), s', @idle, @memory, @rates,
		(map { "again: $_" } @rates), map { "$_->[0], ms" } @asked);
	tables($_) for @{ $sizes{tables} };
}
if (@{ $sizes{workers} })
{
	table('workers', 'start, s', @rates);
	workers($_) for @{ $sizes{workers} };
}

my $text = "$head\n";
for my $table (@tables)
{
	my ($titles, @rows) = map { '| ' . join(' | ', @$_) . " |\n" } @$table;
	$text .= "\n$titles| ---" . ' | ---:' x (@{ $table->[0] } - 1) . " |\n" . join('', @rows);
}
print "\n$text";
open my $out, '>', "$ENV{WORK}/results.scale.md" or die $!;
print $out $text;
close $out;
