
# A destination that is rewound to follow its promoted standby, and is promoted again,
# there and back.  Each time the new primary lacks the last of what the old one had.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloLife;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $first = flo_node('first', $nats, conf => "wal_log_hints = on\nhot_standby = on\nwal_keep_size = 256MB\n");
my $directory = PostgreSQL::Test::Utils::tempdir();
my $last = 0;

sub insert { $last = live_on($source, $last, @_); return; }

make_life($source, $first);
insert('copied', 5);
create_copy_group($source, $first, 'g', options => q{'{"keyless_tables": "insert_only"}'});
$first->safe_psql('postgres', qq{SELECT flo.create_worker('g', sink => 'file',
	options => '{"directory": "$directory", "start": "latest"}')});
start_member($first, 'g', 'file');

# a worker that is late holds the stream
$source->safe_psql('postgres', 'CREATE DATABASE late');
$source->safe_psql('late', q{CREATE EXTENSION pg_flo;
	SELECT flo.create_worker('g', options => '{"start": "latest"}')});
start_member($source, 'g', 'postgres', 'late');
$source->safe_psql('late', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'postgres', 'stopped', 'late');
my $copied = $last;

sub same
{
	my ($dest, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', "$name: every change once");
	is_same_table($source, $dest, 'keyless', "$name: every row once");
	my @events = map { /"Type":"INSERT".*"Table":"t",.*"NewTuple":\{"id":(\d+)/ ? $1 : () }
	  map { split /\n/, slurp_file($_) } glob("$directory/*.jsonl");
	is_deeply(\@events, [ $copied + 1 .. $last ], "$name: every event once, in order");
	return;
}

# It follows from now on
sub follow
{
	my ($standby, $primary) = @_;

	$standby->append_conf('postgresql.conf', 'port = ' . $standby->port
		  . "\nprimary_conninfo = '" . $primary->connstr . ' application_name=' . $standby->name . "'\n");
	$standby->set_standby_mode;
	$standby->start;
	$primary->wait_for_catchup($standby);
	is($standby->safe_psql('postgres', q{SELECT string_agg(DISTINCT state, ' '), count(pid) FROM flo.status}),
		'stopped|0', $standby->name . ' rests as a standby');
	return;
}

# The standby is cut off, its primary goes on and is gone
sub replace
{
	my ($primary, $standby) = @_;
	my $name = $standby->name . ' promoted';

	insert($name);
	wait_caught_up($source, $primary, 'g');
	$primary->wait_for_catchup($standby);
	$standby->append_conf('postgresql.conf', "primary_conninfo = ''\n");
	$standby->reload;
	wait_until($standby, 'postgres', 'SELECT count(*) = 0 FROM pg_stat_wal_receiver', 'it to be cut off') or die;
	insert("$name lacks this", 10);
	wait_caught_up($source, $primary, 'g');
	my $ahead = $primary->safe_psql('postgres', 'SELECT count(*) FROM keyless');
	cmp_ok($standby->safe_psql('postgres', 'SELECT count(*) FROM keyless'), '<', $ahead, "$name: it is behind");
	$primary->stop('immediate');
	insert("$name has this to take", 5);
	$standby->promote;
	wait_state($standby, 'g', $_, 'streaming') for qw(postgres file);
	same($standby, $name);

	$standby->safe_psql('postgres', 'CHECKPOINT');
	command_ok([ 'pg_rewind', '--target-pgdata', $primary->data_dir, '--source-server', $standby->connstr('postgres'),
		'--no-sync' ], $primary->name . ' is rewound');
	follow($primary, $standby);
	insert('beside a rewound ' . $primary->name, 2);
	same($standby, $primary->name . ' follows');
	is(status_of($standby, 'g', 'postgres', 'restarts'), '0', 'which disturbs nobody');
	return;
}

my $second = PostgreSQL::Test::Cluster->new('second');
$first->backup('for_second');
$second->init_from_backup($first, 'for_second');
follow($second, $first);
replace($first, $second);
replace($second, $first);
replace($first, $second);
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.stream_status('g')}), '3', 'no registration was added');

$_->stop('fast') for $source, $first, $second;
done_testing();
