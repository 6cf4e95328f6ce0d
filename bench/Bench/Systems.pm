# What is compared: PostgreSQL's own logical replication, pg_flo, and pg_flo as it
# was at another revision (base), whose server runs the same two clusters.
#
# A system has a name, the build of pg_flo that has to run, its databases, and
#	set_up, start, stop			of what is replicated there, once the tables are made
#	sender, applier				the processes that do it
#	copy($name, $list), uncopy	an initial copy of tables; copy returns what starts it,
#	copied						a query says how many tables are there
#	clone($db, $name)			of all tables of a database with their definitions to one that
#	unclone						is empty; returns what starts it, and, if copied is to be
#								looked at, returns at once
package Bench::Systems;
use strict;
use warnings;
use Bench::Scenarios;
use Bench::Servers;
use Exporter 'import';

our @EXPORT = qw(steady_system again_system at native_options worker_options);

my $worker_options = $ENV{WORKER_OPTIONS} || '{}';
my $native_options = $ENV{NATIVE_OPTIONS};

sub worker_options { return $worker_options; }

# Of subscriptions: the best the version has
sub native_options
{
	$native_options ||= 'binary = true, streaming = '
	  . (psql('source', 'postgres', 'SHOW server_version_num') >= 160000 ? 'parallel' : 'off');
	return $native_options;
}

sub at
{
	my ($s, $side, $sql) = @_;
	return psql($side, $s->{db}{$side}, $sql);
}

# Each in a database of its own, whose tables nobody else publishes
sub steady_system
{
	my ($name) = @_;
	return make($name, "bench_$name", "bench_$name");
}

# All that one build runs read the same tables: then it is the same WAL
sub again_system
{
	my ($name) = @_;
	return make($name, $name eq 'base' ? 'again_base' : 'again', "again_$name");
}

sub make
{
	my ($name, $source, $dest) = @_;
	my $s = { name => $name, build => $name eq 'base' ? 'base' : 'head', db => { source => $source, dest => $dest },
		copy_db => $name eq 'base' ? 'bench_copy_base' : 'bench_copy' };

	return { %$s, $name eq 'native' ? native($s) : pg_flo($s) };
}

sub nobody_runs
{
	my ($side, $db) = @_;
	return psql($side, $db, 'SELECT count(*) FROM flo.status WHERE pid IS NOT NULL') eq '0';
}

sub native
{
	my ($s) = @_;
	my $slot = $s->{db}{dest};
	my $subscribe = sub {
		my ($name, $from, $options) = @_;
		return "CREATE SUBSCRIPTION $name CONNECTION '" . connection('source', $from) . "' PUBLICATION $name WITH ("
		  . join(', ', native_options(), @$options) . ')';
	};

	return (
		set_up => sub {
			at($s, 'source', 'CREATE PUBLICATION bench FOR TABLE ' . join(', ', @published));
			at($s, 'dest', $subscribe->('bench', $s->{db}{source},
					[ 'enabled = false', 'copy_data = true', 'create_slot = false', "slot_name = $slot" ]));
			at($s, 'source', "SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
		},
		start => sub { at($s, 'dest', 'ALTER SUBSCRIPTION bench ENABLE') },
		stop => sub {
			at($s, 'dest', 'ALTER SUBSCRIPTION bench DISABLE');
			wait_for('the subscription to stop',
				sub { at($s, 'source', 'SELECT count(*) FROM pg_stat_replication') eq '0' });
		},
		sender => sub {
			at($s, 'source', "SELECT active_pid FROM pg_replication_slots WHERE slot_name = '$slot'") },
		applier => sub {
			at($s, 'dest', 'SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL AND relid IS NULL LIMIT 1') },
		copy => sub {
			my ($name, @list) = @_;
			psql('source', $s->{copy_db}, "CREATE PUBLICATION $name FOR TABLE " . join(', ', @list));
			return sub { psql('dest', $s->{copy_db}, $subscribe->($name, $s->{copy_db}, [])) };
		},
		copied => "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate IN ('s', 'r')",
		uncopy => sub {
			my ($name) = @_;
			wait_for('the copy to be followed',
				sub {
					psql('dest', $s->{copy_db},
						"SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'") eq '0';
				});
			psql('dest', $s->{copy_db}, "DROP SUBSCRIPTION $name");
			psql('source', $s->{copy_db}, "DROP PUBLICATION $name");
		},
		clone => sub { my ($db) = @_; return sub { pgcopydb($db); return 0; }; },
		unclone => sub { });
}

sub pg_flo
{
	my ($s) = @_;
	my $group = $s->{db}{dest};
	my @sides = qw(source dest);
	my $create = sub {
		my ($db, $name, $options, @list) = @_;
		psql('source', $db->{source}, "SELECT flo.create_replicator('$name', tables => '{" . join(',', @list)
			  . "}'$options)");
		psql('dest', $db->{dest}, "SELECT flo.create_worker('$name', options => '$worker_options')");
	};

	return (
		set_up => sub {
			at($s, $_, 'CREATE EXTENSION pg_flo') for @sides;
			$create->($s->{db}, $group, '', @published);
		},
		start => sub { psql_all(map { [ $_, $s->{db}{$_}, "SELECT flo.start_group('$group')" ] } @sides) },
		stop => sub {
			psql_all(map { [ $_, $s->{db}{$_}, "SELECT flo.stop_group('$group')" ] } @sides);
			for my $side (@sides) { wait_for('the group to stop', sub { nobody_runs($side, $s->{db}{$side}) }); }
		},
		sender => sub {
			at($s, 'source', "SELECT pid FROM flo.status WHERE member = 'replicator' AND state = 'streaming'") },
		applier => sub { at($s, 'dest', "SELECT pid FROM flo.status WHERE member = 'postgres'") },
		copy => sub {
			my ($name, @list) = @_;
			$create->({ map { $_ => $s->{copy_db} } @sides }, $name, ", mode => 'copy'", @list);
			return sub { psql($_, $s->{copy_db}, "SELECT flo.start_group('$name')") for @sides };
		},
		copied => 'SELECT count(*) FROM flo.copied_tables WHERE finished_at IS NOT NULL',
		clone => sub {
			my ($db, $name) = @_;
			psql($_, $db, 'CREATE EXTENSION IF NOT EXISTS pg_flo') for @sides;
			$create->({ map { $_ => $db } @sides }, $name, ", mode => 'copy', sync_schema => true", 'cloned');
			return sub { psql($_, $db, "SELECT flo.start_group('$name')") for @sides; return 1; };
		},
		unclone => sub {
			my ($db, $name) = @_;
			for my $side (@sides) { wait_for('the copy to end', sub { nobody_runs($side, $db) }); }
			psql('dest', $db, "SELECT flo.drop_group('$name')");
			psql('source', $db, "SELECT flo.drop_group('$name', purge_stream => true)");
		},
		uncopy => sub {
			my ($name) = @_;
			for my $side (@sides) { wait_for('the copy to end', sub { nobody_runs($side, $s->{copy_db}) }); }
			psql('dest', $s->{copy_db}, "SELECT flo.drop_group('$name')");
			psql('source', $s->{copy_db}, "SELECT flo.drop_group('$name', purge_stream => true)");
		});
}

1;
