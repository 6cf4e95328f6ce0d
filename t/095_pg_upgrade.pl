
# pg_upgrade of a destination, then of its source, as doc/upgrade.md has it.  Needs the
# server that is tested and an older one with the same pg_flo: FLO_OLDER is
# the latter's folder, such as /usr/lib/postgresql/15 (.ci/versions.sh has one).

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $from = $ENV{FLO_OLDER};
plan skip_all => 'no older server with pg_flo (FLO_OLDER), as make test-versions has it' if !$from;

my $nats = FloTest::Nats->new('broker');
my %older = (install_path => $from, initdb => ['--data-checksums']);
my $source = flo_node('source', $nats, %older);
my $dest = flo_node('dest', $nats, %older);
my $written = 0;

transfer_tables($source, $dest);
$source->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i');
$dest->safe_psql('postgres', q{INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments)
	VALUES ('g', 'moves', 'note', 'regex', '{"pattern": "x", "replace": "y"}')});
create_copy_group($source, $dest, 'g', tables => q{'{accounts,moves}'});

sub write_and_compare
{
	my ($what) = @_;
	$source->safe_psql('postgres', q{UPDATE accounts SET balance = balance + CASE id % 2 WHEN 0 THEN 5 ELSE -5 END;
		INSERT INTO moves (a, b, note) SELECT i, i, 'x' FROM generate_series(1, 1000) i});
	$written += 1000;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 'accounts', "$what: rows");
	is($dest->safe_psql('postgres', q{SELECT count(*), count(DISTINCT id), min(note), max(note) FROM moves}),
		"$written|$written|y|y",
		"$what: each once, and the rule holds");
}

# A moment in which nothing is written, the group dropped on both sides
sub prepare
{
	wait_caught_up($source, $dest, 'g');
	$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
	$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
}

sub pg_upgraded
{
	my ($old) = @_;
	my $new = flo_node($old->name . '_new', $nats, start => 0, initdb => ['--data-checksums']);
	my $bin = $new->config_data('--bindir');

	$old->stop;
	chdir $PostgreSQL::Test::Utils::tmp_check;
	my $done = $new->run_log([ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', "$from/bin",
		'-B', $bin, '-s', $new->host, '-p', $old->port, '-P', $new->port ]);
	give_in_to_server($new) if !$done;
	ok($done, 'pg_upgrade of ' . $old->name);
	$new->start;
	return $new;
}

# What a minor release notes at every column, a server of an earlier batch refuses, with pg_flo or without
sub give_in_to_server
{
	my ($new) = @_;
	my $logs = $new->data_dir . '/pg_upgrade_output.d';
	my @refused = grep { slurp_file($_) =~ /unrecognized parameter "pg_attver"/ } glob("$logs/*/log/*.log");

	return if !@refused;
  SKIP:
	{
		skip 'these two releases cannot be upgraded between (doc/upgrade.md)', 1;
	}
	done_testing();
	exit 0;
}

sub make_again
{
	$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', tables => '{accounts,moves}')});
	start_member($source, 'g', 'replicator');
	$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')});
	start_member($dest, 'g', 'postgres');
}

write_and_compare('before');
my $version = $dest->safe_psql('postgres', 'SHOW server_version_num') / 10000;

$dest->safe_psql('postgres', q{SELECT flo.create_worker('left', 'stdout')});
prepare();
$dest = pg_upgraded($dest);
is($dest->safe_psql('postgres', 'SELECT extversion FROM pg_extension WHERE extname = $$pg_flo$$'),
	$source->safe_psql('postgres', 'SELECT extversion FROM pg_extension WHERE extname = $$pg_flo$$'),
		'the extension has come along');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.rules WHERE group_name = 'g'}), 1, 'rules, too');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity
	WHERE application_name LIKE 'pg_flo worker%'}), 0,
	'a group that was not dropped is left alone');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('left', force => true)});
make_again();
write_and_compare('a destination that was upgraded');

prepare();
$source = pg_upgraded($source);
make_again();
write_and_compare('a source that was upgraded');
cmp_ok($_->safe_psql('postgres', 'SHOW server_version_num') / 10000, '>', $version,
	$_->name . ' is newer') for $source, $dest;

done_testing();
