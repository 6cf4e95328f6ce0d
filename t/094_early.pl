
# Large transactions that travel before their commit, with workers that die: of a table,
# of events, masked and routed; DDL within; brokers and replicators that go away while
# they are open.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $files = PostgreSQL::Test::Utils::tempdir() . '/events';
mkdir $files;
my $filler = "repeat(md5(g::text), 4)";
my @tables = qw(a b grows small);

$_->safe_psql('postgres', q{
	CREATE TABLE a (id int PRIMARY KEY, v text, w int);
	CREATE TABLE b (id int, v text);
	ALTER TABLE b REPLICA IDENTITY FULL;
	CREATE TABLE grows (id int PRIMARY KEY, v text);
	CREATE TABLE small (id int PRIMARY KEY, v text);
	CREATE TABLE person (id int PRIMARY KEY, name text, filler text);
	CREATE SCHEMA elsewhere;
	CREATE TABLE elsewhere.person (id int PRIMARY KEY, name text, filler text);
}) for $source, $dest;
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g',
	tables => '{a,b,grows,small,person}', track_ddl => true,
	options => '{"large_transactions": "early", "large_transaction_size": "0"}')});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g', options => '{"ddl": "apply"}');
	INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('g', 'person', 'name', 'null');
	INSERT INTO flo.routes (group_name, source_table, destination_schema) VALUES ('g', 'person', 'elsewhere')});
start_member($dest, 'g', 'postgres');
create_event_worker($dest, 'g', 'file', 'events', { directory => $files, tables => [ 'b', 'small' ] });

my $step = 0;

sub small
{
	$step++;
	$source->safe_psql('postgres', "INSERT INTO small VALUES ($step, 'step')");
	wait_caught_up($source, $dest, 'g');
}

# All that the session has written so far has travelled, and is kept
sub travelled
{
	my ($min) = @_;
	small();
	ok(wait_until($dest, 'postgres', "SELECT bool_and(open_bytes >= $min) FROM flo.status", 'what travels'),
		"at least $min bytes of what is open are at the workers");
}
sub all_same
{
	my ($what) = @_;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$what: $_") for @tables;
}
sub session { my $s = $source->background_psql('postgres', on_error_stop => 1); $s->query_safe('BEGIN'); return $s; }

# Two at a time, with savepoints, one of a table without key
my $x = session();
$x->query_safe("INSERT INTO a SELECT g, $filler, 1 FROM generate_series(1, 30000) g");
my $y = session();
$y->query_safe("INSERT INTO b SELECT g, $filler FROM generate_series(1, 30000) g");
travelled(4_000_000);
$x->query_safe($_)
  for 'SAVEPOINT s', "UPDATE a SET v = 'undone ' || v", 'ROLLBACK TO s', 'SAVEPOINT k',
  'UPDATE a SET w = 2 WHERE id % 3 = 0', 'RELEASE k';
small();
$y->query_safe('COMMIT');
$x->query_safe('COMMIT');
$_->quit for $x, $y;
all_same('two at a time');
ok(wait_until($dest, 'postgres', 'SELECT bool_and(open_bytes = 0) FROM flo.status', 'the end'), 'nothing is kept');

# Undone as a whole
$x = session();
$x->query_safe("UPDATE a SET v = v || 'undone'; UPDATE a SET v = v || 'again'");
travelled(1_000_000);
$x->query_safe('ROLLBACK');
small();
ok(wait_until($dest, 'postgres', 'SELECT bool_and(open_bytes = 0) FROM flo.status', 'the end'),
	'what is rolled back is not kept');

# Statements within, a table masked and routed
$x = session();
$x->query_safe($_) for "INSERT INTO grows SELECT g, $filler FROM generate_series(1, 30000) g",
	'ALTER TABLE grows ADD COLUMN n int DEFAULT 7',
	"INSERT INTO grows SELECT g, $filler, g FROM generate_series(30001, 45000) g",
	"INSERT INTO person SELECT g, 'name', $filler FROM generate_series(1, 30000) g";
travelled(1_000_000);
is($dest->safe_psql('postgres', 'SELECT count(*) FROM grows'), 0, 'nothing is there before the commit');
$x->query_safe('UPDATE grows SET n = n + 1 WHERE id > 40000');
$x->query_safe('COMMIT');
$x->quit;
all_same('statements within');
is($dest->safe_psql('postgres', 'SELECT count(*), count(name), (SELECT count(*) FROM person) FROM elsewhere.person'),
	'30000|0|0',
	'rules and routes hold');

# Workers, broker and replicator that die while it is open, and at its end
my $id = 100000;
my %death = (
	'a worker, while it is open' => sub { kill9_member($dest, 'g', 'postgres') },
	'the broker, while it is open' => sub { $nats->kill9; $nats->start },
	'the replicator, while it is open' => sub { kill9_member($source, 'g', 'replicator') });
for my $what (sort keys %death)
{
	$x = session();
	$y = session();
	$id += 100000;
	$x->query_safe("INSERT INTO a SELECT g, $filler, 3 FROM generate_series($id, $id + 19999) g;
		UPDATE a SET w = w + 1 WHERE id BETWEEN $id AND $id + 9999");
	$y->query_safe("INSERT INTO b SELECT g, $filler FROM generate_series($id, $id + 29999) g");
	travelled(1_000_000);
	$death{$what}->();
	# a source that crashed has undone them
	if ($what =~ /replicator/)
	{
		$_->{run}->kill_kill for $x, $y;
		wait_state($source, 'g', 'replicator', 'streaming');
		$source->safe_psql('postgres', "INSERT INTO a SELECT g, $filler, 3 FROM generate_series($id, $id + 29999) g");
		all_same($what);
		next;
	}
	$y->query_safe("DELETE FROM b WHERE id % 2 = 0 AND id > $id");
	$y->query_safe('COMMIT');
	$x->query_safe("DELETE FROM a WHERE id BETWEEN $id AND $id + 999");
	$x->query_safe('COMMIT');
	$_->quit for $x, $y;
	all_same($what);
}

# A replicator that begins again while the transaction goes on: a session of its own
$x = session();
$id += 100000;
$x->query_safe("INSERT INTO a SELECT g, $filler, 3 FROM generate_series($id, $id + 69999) g");
travelled(1_000_000);
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
travelled(1_000_000);
$x->query_safe('COMMIT');
$x->quit;
all_same('a new session');

# Of each table, events in the order of commits; looked at without a parser, as there are many
my ($last, $torn, %seen, %there, %ids) = ('', 0);
for my $line (file_lines($files))
{
	$line =~ /^\{"Id":"([^"]+)","Type":"([A-Z]+)","Schema":"public","Table":"([a-z]+)",.*?"CommitLSN":"([^"]+)"/
	  or die "no event: $line";
	my ($id, $type, $table, $lsn) = ($1, $2, $3, $4);
	$there{$table} += $type eq 'INSERT' ? 1 : $type eq 'DELETE' ? -1 : 0;
	$ids{$id}++;
	$torn++ if $lsn ne $last && $seen{$lsn}++;
	$last = $lsn;
}
is(scalar(grep { $_ > 1 } values %ids), 0, 'no event is there twice');
is($there{$_}, $source->safe_psql('postgres', "SELECT count(*) FROM $_"), "events make as many rows: $_")
  for qw(b small);
is($torn, 0, 'events of a transaction stand together');

$_->stop for $source, $dest;
$nats->stop;
done_testing();
