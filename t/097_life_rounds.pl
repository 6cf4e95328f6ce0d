
# Many lives of a group, one after the other, in one life of the servers: made,
# started, used, stopped, dropped.  No slot, origin, stream, consumer, process, row of
# pg_flo's tables, file or segment of memory is left, and no process that outlives them
# grows or keeps a file open.  FLO_LIFE_ROUNDS=100 for more of them.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $rounds = $ENV{FLO_LIFE_ROUNDS} || 35;
$FloTest::timeout = 20;
my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $directory = PostgreSQL::Test::Utils::tempdir();

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE keyless (a int)')
  for $source, $dest;
my %session = map { $_->name => FloTest::Session->new($_, 'postgres', timeout => 600) } $source, $dest;

# What is there between two lives
my $left = <<'SQL';
SELECT 'slot ' || slot_name FROM pg_replication_slots
UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin
UNION ALL SELECT 'publication ' || pubname FROM pg_publication
UNION ALL SELECT 'tracking' FROM pg_event_trigger WHERE evtname = 'pg_flo_track_ddl' AND evtenabled <> 'D'
UNION ALL SELECT 'identity of ' || relname FROM pg_class WHERE relreplident = 'f'
UNION ALL SELECT 'process ' || query FROM pg_stat_activity WHERE backend_type ~ '^pg_flo'
	AND backend_type <> 'pg_flo launcher'
UNION ALL SELECT 'member ' || member FROM flo.status
UNION ALL SELECT d || f FROM unnest('{pg_replslot/,pg_dynshmem/,pg_stat/}'::text[]) d, pg_ls_dir(d) f
UNION ALL SELECT 'temporary ' || f FROM pg_ls_dir('base/pgsql_tmp', true, false) f
ORDER BY 1
SQL

sub round
{
	my ($n) = @_;

	$session{source}->query(qq{INSERT INTO t VALUES ($n, 'before'); SELECT flo.create_replicator('g',
		mode => 'copy_and_stream', track_ddl => true, options => '{"keyless_tables": "full"}');
		SELECT flo.start_group('g')});
	$session{dest}->query(qq{TRUNCATE t, keyless; SELECT flo.create_worker('g');
		SELECT flo.create_worker('g', sink => 'file', options => '{"directory": "$directory"}');
		SELECT flo.start_group('g')});
	my $lsn = $session{source}->query("INSERT INTO t VALUES (-$n, 'after'); INSERT INTO keyless VALUES ($n);
		SELECT pg_current_wal_insert_lsn()");
	# a third of the groups are dropped while they copy, or run
	if ($n % 3 > 0)
	{
		await(sub { $session{dest}->query("SELECT flo.wait_for('g', '$lsn', '5 s')") eq 't' }, "round $n") or die;
	}
	if ($n % 3 == 1)
	{
		$session{$_}->query(q{SELECT flo.stop_group('g')}) for qw(source dest);
	}
	$session{dest}->query(q{SELECT flo.drop_group('g')});
	$session{source}->query(q{SELECT flo.drop_group('g', purge_stream => true)});
	for my $side (qw(source dest))
	{
		my $held;
		await(sub { ($held = $session{$side}->query($left)) eq '' }, "nothing to be left of round $n at the $side")
		  or die $held;
	}
	return;
}

# What the processes that outlive a group hold: private memory in kB, open files, and
# segments that are shared
sub held
{
	my %held;

	for my $node ($source, $dest)
	{
		my $pids = $node->safe_psql('postgres', q{SELECT pid || ' launcher' FROM pg_stat_activity
			WHERE backend_type = 'pg_flo launcher'});
		for (split(/\n/, $pids), $session{ $node->name }->query('SELECT pg_backend_pid()') . ' session',
			(split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0] . ' postmaster')
		{
			my ($pid, $who) = split / /;
			my $name = $node->name . " $who";
			my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;
			my $maps = slurp_file("/proc/$pid/maps");
			my @files = glob("/proc/$pid/fd/*");

			# nothing that cannot be seen is taken for none
			defined $kb && @files && $maps =~ /\[stack\]/ or die "/proc/$pid does not show what the $name holds";
			$held{"kB of the $name"} = $kb;
			$held{"files of the $name"} = scalar @files;
			$held{"segments of the $name"} = scalar(my @segments = $maps =~ m{/dev/shm/PostgreSQL}g);
		}
	}
	return \%held;
}

# Rows of pg_flo's own tables
sub rows
{
	my ($node) = @_;
	my $tables = $node->safe_psql('postgres', q{SELECT string_agg(format('SELECT %L, count(*) FROM %s', c.oid::regclass,
		c.oid::regclass), ' UNION ALL ' ORDER BY relname) FROM pg_class c WHERE relnamespace = 'flo'::regnamespace
		AND relkind = 'r'});
	return $node->safe_psql('postgres', "SELECT * FROM ($tables) r (t, n) WHERE n > 0");
}

# What a checkpoint leaves of decoding
sub files
{
	my ($node) = @_;
	$node->safe_psql('postgres', 'CHECKPOINT');
	return $node->safe_psql('postgres', q{SELECT d || f
		FROM unnest('{pg_logical/snapshots/,pg_logical/mappings/}'::text[]) d, pg_ls_dir(d) f});
}

my %rows = map { $_->name => rows($_) } $source, $dest;
my $start = time();
# what caches hold is there after some rounds
round($_) for 1 .. 10;
my $done = 10;
my $relations = $source->safe_psql('postgres', 'SELECT count(*) FROM pg_class');
# a session keeps files of tables open that it has come by; what is left of each round is more
my %may_grow = (kB => 512, files => 12, segments => 2);
my ($now, @grown) = held();
# memory also grows in steps, of which one may fall in here; what is left of rounds comes with all rounds
for my $stretch (1 .. 3)
{
	my $before = $now;

	round(++$done) for 1 .. $rounds - 10;
	$now = held();
	note "$_: $before->{$_}, then $now->{$_}" for sort keys %$now;
	@grown = grep { $now->{$_} - $before->{$_} > $may_grow{ s/ .*//r } } sort keys %$now;
	last if !@grown;
}
note sprintf '%d rounds in %.1f s', $done, time() - $start;

is($session{$_->name}->query($left), '', $_->name . ' holds nothing of them') for $source, $dest;
is_deeply([ $nats->streams ], [], 'nor does the broker');
is(files($_), '', 'no file is left: ' . $_->name) for $source, $dest;
is($source->safe_psql('postgres', 'SELECT count(*) FROM pg_class'), $relations, 'nor a relation');
is(rows($_), $rows{ $_->name }, 'nor rows of pg_flo: ' . $_->name) for $source, $dest;
is_deeply(\@grown, [], 'and nothing grows with them');
is($session{$_}{err} =~ s/^NOTICE.*\n|^HINT.*\n|^psql:.*NOTICE.*\n//mgr, '', "no error: $_") for qw(source dest);
$session{$_}->close for qw(source dest);

my @broken = grep { /FATAL|PANIC|exit code [^01]|terminated by signal/ && !/logical replication launcher/ }
  map { split /\n/, slurp_file($_->logfile) } $source, $dest;
is_deeply(\@broken, [], 'no process ends otherwise than it should');

$_->stop('fast') for $source, $dest;
done_testing();
