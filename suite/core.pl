# PostgreSQL's own regression suite in a database whose every table is in a
# tracked group, with a destination that follows; see README.md.

use strict;
use warnings;
use FindBin;
use FloTest;
use FloSuite;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

$SIG{TERM} = $SIG{INT} = sub { exit 1 };		# the servers end, too
my $work = $ENV{TESTDIR};
my $db = 'regression';

# --- two clusters and a broker ---------------------------------------------------------

# The suite's 20 sessions, and a server as pg_regress would have made it
my $conf = <<'CONF';
max_connections = 60
shared_buffers = 128MB
max_wal_size = 4GB
max_prepared_transactions = 5
autovacuum = on
log_min_messages = warning
log_min_error_statement = log
max_worker_processes = 24
CONF
my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => $conf, extension => 0);
my $dest = flo_node('dest', $nats, conf => $conf, extension => 0);


sub make_database
{
	my ($node) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	$node->safe_psql('postgres', "ALTER DATABASE $db SET $_")
	  for "lc_messages = 'C'", "lc_monetary = 'C'", "lc_numeric = 'C'", "lc_time = 'C'", "bytea_output = 'hex'",
	  "timezone_abbreviations = 'Default'";
}

# The server's own schedule, or what is not left out of it
my @left_out = $ENV{FLO_SCHEDULE} eq 'short' ? map { $_->[0] } FloSuite::entries("$work/suite/left_out") : ();
my $schedule = slurp_file("$work/input/parallel_schedule");
$schedule =~ s/ \Q$_\E(?!\S)//g for @left_out;
$schedule =~ s/^test:\s*$//mg;
append_to_file("$work/schedule", $schedule);

# Begins pg_regress, whose outputs go to a folder below the work's
sub begin_suite
{
	my ($name) = @_;
	mkdir "$work/$name";
	return IPC::Run::start(
		[ $ENV{PG_REGRESS}, "--bindir=", "--inputdir=$work/input", "--outputdir=$work/$name", "--dlpath=$work/lib",
			'--use-existing',
			"--dbname=$db", "--schedule=$work/schedule", '--max-concurrent-tests=20', '--host=' . $source->host,
			'--port=' . $source->port ],
		'<', \undef, '>', "$work/$name/log", '2>&1');
}

# --- the suite alone, if it is another minor version's, or only part of it ------------------------

if ($ENV{FLO_ALONE_FIRST})
{
	make_database($source);
	begin_suite('alone')->finish;
	my @differ = FloSuite::failed("$work/alone/log");
	FloSuite::expect($work, 'alone', $_) for @differ;
	$source->safe_psql('postgres', "DROP DATABASE $db");
	note('what they give without a group is expected of ' . join(' ', @differ)) if @differ;
}

# --- one group over everything --------------------------------------------------------------------

for my $node ($source, $dest)
{
	make_database($node);
	$node->safe_psql($db, 'CREATE EXTENSION pg_flo');
}
my $trust = $ENV{FLO_TRUST} || 'object';
$source->safe_psql($db,
	q{SELECT flo.create_replicator('g', track_ddl => true, options
	=> '{"keyless_tables": "full", "schema_owner": true, "schema_privileges": true}')});
start_member($source, 'g', 'replicator', $db);
$dest->safe_psql($db, qq{SELECT flo.create_worker('g', options => '{"ddl_trust": "$trust"}')});
start_member($dest, 'g', 'postgres', $db);

# --- the suite runs, the destination follows ------------------------------------------------------

my $ways = FloSuite::Ways->new($source, $dest, $db, "$work/input/sql");
my $began = time();
my $suite = begin_suite('output');
while ($suite->pumpable)
{
	$suite->pump_nb;
	$ways->look;
	sleep 0.05;		# sleeps: between two looks
}
$suite->finish;
my $ran = time() - $began;
note(sprintf 'the suite ran %.0f s', $ran);

my $lsn = $source->safe_psql($db, 'SELECT pg_current_wal_insert_lsn()');
my $came = $ways->until($lsn, 3600);
note(sprintf 'the destination had all of it %.0f s later', time() - $began - $ran);
ok($came, 'the destination has everything, by documented ways')
  or diag(status_of($dest, 'g', 'postgres', 'last_error', $db));

# --- what came of it ------------------------------------------------------------------------------

my @passed = FloSuite::passed("$work/output/log");
my @failed = FloSuite::failed("$work/output/log");
my $tests = @passed + @failed;
cmp_ok($tests, '>', 0, "$tests tests of the suite ran");

# One test: there is nothing that no list names
sub nothing_else
{
	my ($found, $name) = @_;
	is(scalar @$found, 0, $name) or diag(join "\n", map { substr($_, 0, 400) } @$found);
}
nothing_else(FloSuite::unexpected_differences("$work/output/regression.diffs", "$work/suite/differences"),
	'their outputs differ only in what differences lists');
nothing_else($ways->unexpected("$work/suite/stops"), 'the destination stopped only for what stops lists');
nothing_else(FloSuite::amcheck($source, $db), 'indexes and tables of the source pass amcheck');
nothing_else(FloSuite::unexpected_objects($source, $dest, $db, "$work/suite/not_carried", $work),
	'definitions are the same but for what not_carried lists');
nothing_else(FloSuite::unexpected_rows($source, $dest, $db, "$work/suite/not_carried"), 'and so are the rows');
my $counts = $ways->counts($tests, scalar @failed);
append_to_file("$work/counts.md", $counts);
note($counts);
done_testing();
