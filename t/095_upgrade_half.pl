
# An upgrade from 0.1 that is done by halves: files that are new under a server that
# was not restarted, one database of two, an extension that somebody builds on, a
# transaction that is taken back.  What is not upgraded waits and says so, everything
# else goes on, and nothing is lost.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use FloUpgrade;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

skip_without_former();
my $nats = FloTest::Nats->new('broker');
my $files = former_copy();
my $source = former_node('source', $nats);
my $dest = flo_node('dest', $nats, install_path => $files);
my $n = 0;

sub dst { my ($sql, $db) = @_; return $dest->safe_psql($db || 'postgres', $sql); }
sub is_refused
{
	my ($sql, $pattern, $name, $db) = @_;
	my ($code, $out, $err) = $dest->psql($db || 'postgres', $sql);
	like($err, $pattern, $name);
}
sub insert { $n++; $source->safe_psql('postgres', "INSERT INTO t VALUES ($n)"); }
sub has
{
	my ($db, $name) = @_;
	insert();
	ok(wait_until($dest, $db, "SELECT EXISTS (SELECT FROM t WHERE id = $n)", 'the row'), $name)
	  or diag(eval { dst('SELECT * FROM flo.status', $db) });
}

$source->safe_psql('postgres', q{CREATE TABLE t (id int PRIMARY KEY);
	SELECT flo.create_replicator('g', track_ddl => true); CREATE VIEW mine AS SELECT group_name FROM flo.groups;
	SELECT flo.start_group('g')});
wait_state($source, 'g', 'replicator', 'streaming');
dst('CREATE DATABASE two');
dst('CREATE DATABASE three');
for my $db (qw(postgres two))
{
	dst('CREATE EXTENSION IF NOT EXISTS pg_flo', $db);
	dst(q{CREATE TABLE t (id int PRIMARY KEY); SELECT flo.create_worker('g'); SELECT flo.start_group('g')}, $db);
	wait_state($dest, 'g', 'postgres', 'streaming', $db);
	has($db, "0.1 in $db");
}

dst('CREATE VIEW mine AS SELECT group_name FROM flo.groups');

# --- files that are new, and a server that was not restarted -------------------------------

install_over($files);
has($_, "files alone: $_ goes on") for qw(postgres two);
my $earlier = qr/this server still runs the library of an earlier version of pg_flo\nHINT:  Restart the server/;
is_refused('ALTER EXTENSION pg_flo UPDATE', $earlier, 'files alone: the update is refused');
is_refused('CREATE EXTENSION pg_flo', $earlier, 'and so is a new installation', 'three');
dst(q{SELECT pg_terminate_backend(pid) FROM flo.status WHERE pid IS NOT NULL});
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'are of different versions' FROM flo.status}, 'the error'),
	'a process that ends is not started again: says why');
like(slurp_file($dest->logfile), qr/are of different versions\n.*HINT: .*[Rr]estart/, 'and the log what to do');
has('two', 'the other goes on');

# --- restarted; one database of two, by somebody in a hurry ----------------------------------

$dest->restart;
my $behind = qr/extension pg_flo of database "\w+" has version 0\.1, and this server runs pg_flo 0\.2/;
is_refused('TABLE flo.status', $behind, "restarted: $_ says what it lacks", $_) for qw(postgres two);
is_refused('ALTER EXTENSION pg_flo UPDATE', qr/mine depends on/,
	'what somebody has built on pg_flo is in the way, and named');
dst('DROP VIEW mine');
dst('BEGIN; ALTER EXTENSION pg_flo UPDATE; ROLLBACK');
is_refused('TABLE flo.status', $behind, 'taken back: as before');
dst('ALTER EXTENSION pg_flo UPDATE');
has('postgres', 'one of two is upgraded, and goes on');
is(dst('ALTER EXTENSION pg_flo UPDATE; SELECT count(*) FROM flo.workers'), 1, 'once more does nothing');
is(dst('SELECT max(id) < ' . $n . ' FROM t', 'two'), 't', 'the other waits');
is_refused('SELECT flo.drop_group(\'g\')', $behind, 'and takes nothing away', 'two');
dst('CREATE EXTENSION pg_flo', 'three');
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.stream_status('g')}), 2, 'the source keeps its place');

# --- the source, while one worker is not upgraded yet -------------------------------------------

$source->run_with(undef);
like(error_of($source, 'DROP VIEW mine'), qr/55000.*has version 0\.1/s,
	'a source that tracks DDL sends none unknown to it, of a view neither');
$source->safe_psql('postgres', 'ALTER EVENT TRIGGER pg_flo_track_ddl DISABLE');
$source->safe_psql('postgres', 'DROP VIEW mine');
$source->safe_psql('postgres', 'ALTER EXTENSION pg_flo UPDATE');
is($source->safe_psql('postgres', q{SELECT evtenabled FROM pg_event_trigger WHERE evtname = 'pg_flo_track_ddl'}), 'A',
	'the update lets it track DDL again');
has('postgres', 'a source with 0.2');
dst('ALTER EXTENSION pg_flo UPDATE', 'two');
has('two', 'the last database');
is(dst('SELECT count(*) FROM t', $_), $n, "nothing is missing in $_") for qw(postgres two);

$_->stop('fast') for $source, $dest;
done_testing();
