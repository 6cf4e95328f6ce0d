
# The origin that stands for the source at a destination: moved by the commit that
# applies and by nothing else, however the process ends; and on every row from the
# first on, so that nobody takes it for one that was written here.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
# large transactions leave the decoder early
my $dest = flo_node('dest', $nats, conf => "logical_decoding_work_mem = 64kB\n");

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
$source->safe_psql('postgres', 'INSERT INTO t SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 3000) g');
$dest->safe_psql('postgres', q{SELECT pg_create_logical_replication_slot('back', 'test_decoding')});

# What a group in the other direction would be given, rows of open transactions included
sub streamed
{
	my ($what) = @_;
	my @changes = grep { !/streamed transaction|^(BEGIN|COMMIT)|pg_flo|"?flo"?\./ } split /\n/,
		$dest->safe_psql('postgres',
		q{SELECT data FROM pg_logical_slot_get_changes('back', NULL, NULL, 'only-local', '1', 'stream-changes', '1',
			'include-xids', '0') WHERE data ~ 'stream|public\.t'});
	is(scalar @changes, 0, $what) or diag("$changes[0]\n$changes[-1]");
}

create_copy_group($source, $dest, 'g', tables => q{'{t}'});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'the copy');
streamed('nothing of a copy is taken for local, not even while it runs');
$source->safe_psql('postgres', q{UPDATE t SET v = v || 'x'});
$source->safe_psql('postgres', 'INSERT INTO t SELECT g, repeat(md5(g::text), 10) FROM generate_series(10001, 13000) g');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'large transactions');
streamed('nothing that a worker writes is taken for local, not even while it is written');
$dest->safe_psql('postgres', q{INSERT INTO t VALUES (-1, 'local'); DELETE FROM t WHERE id = -1});
my $local = $dest->safe_psql('postgres',
	q{SELECT count(*) FROM pg_logical_slot_get_changes('back', NULL, NULL, 'only-local', '1')
	WHERE data ~ 'public\.t'});
is($local, 2, 'while what is written here is local');

# --- ended in the midst of a commit ----------------------------------------------------------

# A deferred trigger runs when the commit has begun and the origin is to move with it
$dest->safe_psql('postgres', q{
	-- sleeps: until it is ended, or the next process of the worker has no reason to
	CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN WHILE EXISTS (SELECT FROM pg_class
		WHERE relname = 'slowly') LOOP PERFORM pg_sleep(1); END LOOP; RETURN NULL; END$$;
	CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow();
	ALTER TABLE t ENABLE ALWAYS TRIGGER slow});
my $id = 20000;
for my $end ('pg_terminate_backend(pid)', 'pg_cancel_backend(pid)', q{flo.stop_group('g')}, 'kill -9')
{
	my $name = $end =~ s/\(.*//r;

	$dest->safe_psql('postgres', 'CREATE TABLE slowly ()');
	$id++;
	$source->safe_psql('postgres', "INSERT INTO t VALUES ($id, '$name')");
	ok(wait_until($dest, 'postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'},
		'the commit'), "$name: the worker is at the commit");
	my $pid = pid_of($dest, 'g', 'postgres');
	if ($end eq 'kill -9') { kill9_member($dest, 'g', 'postgres'); }
	else { $dest->safe_psql('postgres', "SELECT $end FROM pg_stat_activity WHERE wait_event = 'PgSleep'"); }
	wait_until($dest, 'postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)",
		'the process to end');
	$dest->safe_psql('postgres', 'DROP TABLE slowly');
	$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
	wait_caught_up($source, $dest, 'g');
	is($dest->safe_psql('postgres', "SELECT v FROM t WHERE id = $id"), $name, "$name: the row is there in the end");
}
is_same_table($source, $dest, 't', 'in the end');

$_->stop('fast') for $source, $dest;
done_testing();
