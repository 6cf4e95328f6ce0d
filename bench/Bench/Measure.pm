# How each kind of scenario is measured.  measure_KIND($scenario, @systems) returns for
# each system, by its name, what it found: CPU microseconds per row or transaction
# (cpu; sender_cpu, applier_cpu, nats_cpu), MB of private memory (sender_mb,
# applier_mb), and the figures that the scenario shows.
#
#	rate		The sending process (walsender or replicator) is stopped by a signal
#				while the work is done and committed at the source; it is let go, and
#				the clock runs until the last of it can be seen at the destination.  So
#				it is the rate of decoding, transport and applying together, without the
#				load and without starting processes.  CPU is that of all processes of
#				both clusters and of nats-server meanwhile.
#	again		The same work is done while the systems are stopped, in tables that all
#				of them publish: each then catches up over the same WAL, and the clock
#				runs from the call that starts it, processes, connections and what is
#				read once more included.
#	arrival		Both are at work, and the clock runs from the beginning of the statement.
#	commit		The same with a transaction that is large; the clock runs from its COMMIT.
#				PostgreSQL's own streams it meanwhile, if it can.
#	copy		From the statement that starts it until the last table is in, of tables in
#				a database of their own; memory is that of the largest process at either
#				side, CPU that of all processes of a side.
#	schema		As a copy, with definitions into a database without any.  In place of native
#				stands pgcopydb, from its start to its end, its own CPU included.
#	live		Four sessions of pgbench commit one row after the other, as fast as they
#				can, while sender and applier are at work beside them.  Its rate is that of
#				the load, which shares the machine with them; CPU is that of sender, applier
#				and nats-server until the last row is in.
#	latency		Under a load of 200 one-row transactions a second: from clock_timestamp() in
#				the INSERT until a reader at the destination, which looks every half
#				millisecond, sees the row.
package Bench::Measure;
use strict;
use warnings;
use Bench::Servers;
use Bench::Systems;
use Exporter 'import';
use POSIX ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(measure be_ready);

my $ready = 0;
my $copies = 0;
# what a measurement that fails would wait for, for ever: processes that are stopped, and psqls
my (%stopped, %watching);

sub let_go { kill 'CONT', keys %stopped; kill 'TERM', keys %watching; }

sub measure
{
	my ($scenario, @systems) = @_;
	my $function = __PACKAGE__->can("measure_$scenario->{kind}") or die "no kind $scenario->{kind}\n";

	# before anything is left: to leave a psql is to wait for its end
	local $SIG{__DIE__} = \&let_go;
	return $function->($scenario, @systems);
}

# --- what they have in common ----------------------------------------------------------

# A row that has arrived says that everything before it has
sub mark { my ($s) = @_; $ready++; at($s, 'source', "INSERT INTO ready VALUES ($ready)"); }

# A psql that ends when a condition holds at the destination, and says when
sub watch
{
	my ($db, $condition) = @_;
	my $pid = open(my $out, '-|', psql_command('dest', $db, "SET statement_timeout = '10min'",
			"DO \$\$ BEGIN WHILE NOT ($condition) LOOP COMMIT; PERFORM pg_sleep(0.005); END LOOP; END \$\$",
			'SELECT extract(epoch FROM clock_timestamp())')) or die "psql: $!\n";
	$watching{$pid} = 1;
	return { pid => $pid, out => $out };
}

sub watch_mark
{
	my ($s, $id) = @_;
	return watch($s->{db}{dest}, "EXISTS (SELECT FROM ready WHERE id = " . ($id // $ready) . ')');
}

# When it saw what it waited for
sub finish_watch
{
	my ($watch) = @_;
	my $out = $watch->{out};
	my @lines = <$out>;
	delete $watching{ $watch->{pid} };
	close $out or die "the destination did not catch up\n";
	my ($end) = grep { /^\d+\.\d+$/ } @lines;
	return $end;
}

sub be_ready { my ($s) = @_; mark($s); finish_watch(watch_mark($s)); }

# The highest private memory of the source's and the destination's processes until the watch ends
sub sample_until
{
	my ($watch, $interval, $processes) = @_;
	my @top = (0, 0);
	my $bits = '';
	vec($bits, fileno($watch->{out}), 1) = 1;
	while (select(my $r = $bits, undef, undef, $interval) <= 0)
	{
		my @pids = $processes->();
		for my $i (0, 1)
		{
			for my $mb (map { private_mb($_) } @{ $pids[$i] }) { $top[$i] = $mb if $mb > $top[$i]; }
		}
	}
	return (finish_watch($watch), @top);
}

sub checkpoint { my ($s) = @_; at($s, $_, 'CHECKPOINT') for qw(source dest); }

sub pids_of { my ($s) = @_; return (scalar $s->{sender}->(), scalar $s->{applier}->(), nats_pid()); }

# The CPU of processes since it was remembered, as three figures of a measurement
sub remember { return map { [ $_, cpu_microseconds($_) ] } @_; }

sub used_since
{
	my ($count, @then) = @_;
	my %m;
	@m{qw(sender_cpu applier_cpu nats_cpu)} = map { (cpu_microseconds($_->[0]) - $_->[1]) / $count } @then;
	return %m;
}

# Of all processes of each side and of the broker
sub all_used_since
{
	my ($count, @then) = @_;
	my %m;
	@m{qw(sender_cpu applier_cpu nats_cpu)} = map { ($_ - shift @then) / $count * 1e6 } cpu_of_each();
	$m{cpu} = $m{sender_cpu} + $m{applier_cpu} + $m{nats_cpu};
	return %m;
}

sub rate { my ($count, $seconds) = @_; return (rate => $count / $seconds, seconds => $seconds); }

# Whose time goes where, that of processes started meanwhile, too:
# perf report -i results.perf.NAME.SYSTEM --sort pid,symbol
sub record_profile
{
	my ($file, @pids) = @_;
	return if !$ENV{PERF};
	my $pid = fork_off(
		sub {
			open STDERR, '>', "$ENV{WORK}/perf.log";
			exec('perf', qw(record -F 999 -g -o), "$ENV{WORK}/results.perf.$file", '-p',
				join(',', @pids, map { postmaster($_) } qw(source dest)))
			  or POSIX::_exit(127);
		});
	sleep 1;
	return $pid;
}

sub end_profile { my ($pid) = @_; if ($pid) { kill 'INT', $pid; waitpid $pid, 0; } }

# --- the kinds -------------------------------------------------------------------------

sub measure_rate
{
	my ($scenario, $s) = @_;
	my $count = $scenario->{count};

	at($s, 'source', $scenario->{before});
	be_ready($s);
	checkpoint($s);
	wait_for("$s->{name} to run", sub { $s->{sender}->() && $s->{applier}->() });
	my @pids = pids_of($s);

	kill 'STOP', $pids[0] or die "cannot stop process $pids[0]: $!\n";
	$stopped{ $pids[0] } = 1;
	my $ok = eval { at($s, 'source', $scenario->{work}); mark($s); 1 };
	my $error = $@;
	my $watch = watch_mark($s) if $ok;
	sleep 0.3;
	my $profile = record_profile("$scenario->{name}.$s->{name}", @pids);
	my $cpu = cpu_seconds();
	my @own = remember(@pids);
	my $start = time();
	kill 'CONT', $pids[0];
	delete $stopped{ $pids[0] };
	die $error if !$ok;

	my ($end, @top) = sample_until($watch, 0.02, sub { return ([ $pids[0] ], [ $pids[1] ]) });
	$cpu = cpu_seconds() - $cpu;
	end_profile($profile);
	return ($s->{name} => { rate($count, $end - $start), cpu => $cpu / $count * 1e6, sender_mb => $top[0],
			applier_mb => $top[1], used_since($count, @own) });
}

# Systems that publish the same tables
sub measure_again
{
	my ($scenario, @systems) = @_;
	my ($first, %m) = $systems[0];

	at($first, 'source', $scenario->{before});
	mark($first);
	for my $s (@systems)
	{
		$s->{start}->();
		finish_watch(watch_mark($s));
		$s->{stop}->();
	}
	at($first, 'source', $scenario->{work});
	mark($first);
	for my $s (@systems)
	{
		checkpoint($s);
		my $watch = watch_mark($s);
		sleep 0.3;
		my @cpu = cpu_of_each();
		my $start = time();
		$s->{start}->();
		my $end = finish_watch($watch);
		$m{ $s->{name} } = { rate($scenario->{count}, $end - $start), all_used_since($scenario->{count}, @cpu) };
		$s->{stop}->();
	}
	return %m;
}

sub measure_arrival
{
	my ($scenario, $s) = @_;

	at($s, 'source', $scenario->{before});
	be_ready($s);
	checkpoint($s);
	my @pids = pids_of($s);
	my $watch = watch_mark($s, $ready + 1);
	sleep 0.3;
	my @cpu = cpu_of_each();
	my $start = time();
	at($s, 'source', $scenario->{work});
	mark($s);
	my ($end, @top) = sample_until($watch, 0.02, sub { return ([ $pids[0] ], [ $pids[1] ]) });
	return ($s->{name} => { rate($scenario->{count}, $end - $start), all_used_since($scenario->{count}, @cpu),
			sender_mb => $top[0], applier_mb => $top[1] });
}

sub measure_commit
{
	my ($scenario, $s) = @_;
	my $native = $s->{name} eq 'native';

	if ($native)
	{
		(my $streaming = native_options()) =~ s/streaming = off/streaming = on/;
		$s->{stop}->();
		at($s, 'dest', "ALTER SUBSCRIPTION bench SET ($streaming)");
		$s->{start}->();
	}
	at($s, 'source', $scenario->{before});
	be_ready($s);
	checkpoint($s);
	my @pids = pids_of($s);
	$ready++;
	my $watch = watch_mark($s);
	my @cpu = cpu_of_each();
	# said by the server just before it commits: the work goes on for a second in which nothing is written
	my $start = at($s, 'source', "BEGIN; $scenario->{work}; INSERT INTO ready VALUES ($ready); SELECT pg_sleep(1);
		SELECT extract(epoch FROM clock_timestamp()); COMMIT");
	my ($end, @top) = sample_until($watch, 0.02, sub { return ([ $pids[0] ], [ $pids[1] ]) });
	my %m = (lag => ($end - $start) * 1000, all_used_since($scenario->{count}, @cpu), sender_mb => $top[0],
		applier_mb => $top[1]);
	if ($native)
	{
		$s->{stop}->();
		at($s, 'dest', 'ALTER SUBSCRIPTION bench SET (' . native_options() . ')');
		$s->{start}->();
	}
	return ($s->{name} => \%m);
}

sub measure_copy
{
	my ($scenario, $s) = @_;
	my ($name, $count) = @$scenario{qw(name count)};
	my @tables = map { "public.${name}_$_" } 1 .. @{ $scenario->{rows} };
	my $group = 'copy' . ++$copies;
	my $db = $s->{copy_db};

	psql('dest', $db, 'TRUNCATE ' . join(', ', @tables));
	my $start_copy = $s->{copy}->($group, @tables);
	psql($_, $db, 'CHECKPOINT') for qw(source dest);
	my $watch = watch($db, "($s->{copied}) = " . @tables);
	sleep 0.3;
	my @cpu = cpu_of_each();
	my $start = time();
	$start_copy->();
	my ($end, @top) = sample_until($watch, 0.2, sub { return map { [ children_of($_) ] } qw(source dest) });
	sleep 0.2;    # processes that end just now would be missed
	my %used = all_used_since($count, @cpu);
	my $rows = psql('dest', $db, 'SELECT ' . join(' + ', map { "(SELECT count(*) FROM $_)" } @tables));
	die "$name by $s->{name}: $rows rows instead of $count\n" if $rows != $count;
	my $bytes = psql('source', $db, 'SELECT ' . join(' + ', map { "pg_table_size('$_')" } @tables));
	$s->{uncopy}->($group);
	return ($s->{name} => { rate($count, $end - $start), %used, mb_rate => $bytes / 1e6 / ($end - $start),
			sender_mb => $top[0], applier_mb => $top[1] });
}

# What there is at the source is made once for each system
sub measure_schema
{
	my ($scenario, $s) = @_;
	my $count = $scenario->{count};
	my $db = "bench_schema_$s->{name}";
	my $name = 'schema' . ++$copies;

	if (!psql('source', 'postgres', "SELECT count(*) FROM pg_database WHERE datname = '$db'"))
	{
		psql('source', 'postgres', "CREATE DATABASE $db");
		psql('source', $db, $scenario->{work});
		psql('source', $db, 'VACUUM ANALYZE');
	}
	psql('dest', 'postgres', "CREATE DATABASE $db");
	my $start_clone = $s->{clone}->($db, $name);
	psql($_, $db, 'CHECKPOINT') for qw(source dest);
	my @cpu = cpu_of_each();
	my @before = POSIX::times();
	my $start = time();
	my $end = $start_clone->() ? finish_watch(watch($db, "($s->{copied}) = 1")) : time();
	my @after = POSIX::times();
	my %used = all_used_since($count, @cpu);
	my $own = 1e6 * ($after[3] + $after[4] - $before[3] - $before[4]) / POSIX::sysconf(&POSIX::_SC_CLK_TCK) / $count;
	die "$scenario->{name} by $s->{name}: rows or key are missing\n"
	  if psql('dest', $db, "SELECT count(*) + (SELECT count(*) FROM pg_index WHERE indrelid = 'cloned'::regclass)
		FROM cloned") != $count + 1;
	$s->{unclone}->($db, $name);
	psql('dest', 'postgres', "DROP DATABASE $db");
	return ($s->{name} => { rate($count, $end - $start), %used, cpu => $used{cpu} + $own });
}

sub measure_live
{
	my ($scenario, $s) = @_;
	my $count = $scenario->{count};

	at($s, 'source', 'TRUNCATE bulk; ALTER SEQUENCE live_ids RESTART');
	be_ready($s);
	my @own = remember(pids_of($s));
	my $start = time();
	run_pgbench($s->{db}{source},
		q{INSERT INTO bulk VALUES (nextval('live_ids'), 1, 'some text of an ordinary length', now());},
		$scenario->{synchronous_commit}, '-c 4 -j 2 -t ' . int($count / 4));
	my $seconds = time() - $start;
	be_ready($s);
	my %used = used_since($count, @own);
	return ($s->{name} => { rate($count, $seconds), %used,
			cpu => $used{sender_cpu} + $used{applier_cpu} + $used{nats_cpu},
			sender_mb => private_mb($own[0][0]), applier_mb => private_mb($own[1][0]) });
}

sub measure_latency
{
	my ($scenario, $s) = @_;
	my $n = $scenario->{count};

	at($s, 'source', 'TRUNCATE latency');
	be_ready($s);
	at($s, 'dest', 'DROP TABLE IF EXISTS seen; CREATE UNLOGGED TABLE seen (id bigint, at timestamptz)');
	my $reader = fork_off(
		sub {
			at($s, 'dest', "DO \$\$ DECLARE last bigint := 0; cur bigint; BEGIN
				LOOP
					SELECT max(id) INTO cur FROM latency;
					IF cur > last THEN INSERT INTO seen VALUES (cur, clock_timestamp()); last := cur; END IF;
					COMMIT;
					EXIT WHEN last >= $n;
					PERFORM pg_sleep(0.0005);
				END LOOP; END \$\$");
		});
	at($s, 'source', 'DROP SEQUENCE IF EXISTS latency_ids; CREATE SEQUENCE latency_ids');
	my @cpu = cpu_of_each();
	# a commit that is not flushed is not sent, either: that would measure the WAL writer's sleep
	run_pgbench($s->{db}{source}, q{INSERT INTO latency VALUES (nextval('latency_ids'), 1, 'x', clock_timestamp());},
		'on', "-c 1 -R 200 -t $n");
	waitpid $reader, 0;
	my %used = all_used_since($n, @cpu);
	my ($p50, $p99) = split ' ', at($s, 'dest',
		"SELECT round((1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY l))::numeric, 3) || ' ' ||
			round((1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY l))::numeric, 3)
		FROM (SELECT extract(epoch FROM (SELECT min(at) FROM seen s WHERE s.id >= t.id) - t.c) AS l FROM latency t
			WHERE t.id > $n / 10) x");
	return ($s->{name} => { p50 => $p50, p99 => $p99, %used });
}

1;
