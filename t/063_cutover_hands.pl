
# What hands do while flo.cutover() is under way: cancel the call, stop members, hold statements;
# and workers that send events beside the destination.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloCutover;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($old, $new) = cutover_servers();

# A writer that has not ended, for the source to wait for
my $session = FloTest::Session->new($old);
sub write_on
{
	my ($group) = @_;
	$session->query('BEGIN; INSERT INTO ' . $group =~ s/^g/t/r . ' DEFAULT VALUES');
}

my $writes;
cutover_case('the call is cancelled',
	\&write_on,
	sub {
		my ($group) = @_;

		await_cutover($new, $group, 'prepared');
		is($old->safe_psql('postgres', "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
			WHERE query LIKE '%flo.cutover(%' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"), '1',
			'the call is cancelled');
		ok(wait_until($old, 'postgres', "SELECT count(*) = 0 FROM pg_stat_activity
			WHERE query LIKE '%flo.cutover(%' AND pid <> pg_backend_pid() AND state = 'active'",
			'it to end'), 'it ends');
		$session->query('COMMIT');
	},
	arguments => q{timeout => '30 s'}, ends => qr/^released/);

cutover_case('the session is ended',
	\&write_on,
	sub {
		my ($group) = @_;

		await_cutover($new, $group, 'prepared');
		$old->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE query LIKE '%flo.cutover(%' AND pid <> pg_backend_pid() AND backend_type = 'client backend'");
		$old->safe_psql('postgres', "SELECT flo.unfence('$group')");
		await_cutover($old, $group, 'cancelled');
		$session->query('COMMIT');
	},
	arguments => q{timeout => '30 s'}, ends => qr/^cancelled/);

cutover_case('the source is stopped',
	\&write_on,
	sub {
		my ($group) = @_;

		await_cutover($new, $group, 'prepared');
		$old->safe_psql('postgres', "SELECT flo.stop_group('$group')");
		wait_state($old, $group, 'replicator', 'stopped');
		$session->query('COMMIT');
		start_member($old, $group, 'replicator');
	},
	arguments => q{timeout => '30 s'}, ends => qr/^released/);

# It says nothing any more: the source keeps its fence until it does
cutover_case('the destination is stopped',
	\&write_on,
	sub {
		my ($group) = @_;

		await_cutover($new, $group, 'prepared');
		$new->safe_psql('postgres', "SELECT flo.stop_group('$group')");
		wait_state($new, $group, 'postgres', 'stopped');
		$session->query('COMMIT');
		await_cutover($old, $group, 'cancelling');
		like(error_of($old, 'INSERT INTO ' . $group =~ s/^g/t/r . ' DEFAULT VALUES'), qr/^55000/,
			'the source stays fenced until the destination has a word');
		start_member($new, $group, 'postgres');
	},
	# the source is fenced within that: the destination stops first, and the writer ends
	arguments => q{timeout => '10 s'}, ends => qr/^(cancelled|released)/);

# --- held statements, events --------------------------------------------------------------

$_->safe_psql('postgres', 'CREATE TABLE s (id int PRIMARY KEY)') for $old, $new;
$old->safe_psql('postgres', q{SELECT flo.create_replicator('s', tables => '{s}', track_ddl => true)});
$new->safe_psql('postgres', q{SELECT flo.create_worker('s', options => '{"allow_cutover": true}')});
my $events = PostgreSQL::Test::Utils::tempdir() . '/events';
mkdir($events) or die;
$new->safe_psql('postgres', qq{SELECT flo.create_worker('s', worker_name => 'events', sink => 'file',
	options => '{"directory": "$events"}')});
start_member($old, 's', 'replicator');
start_member($new, 's', $_) for qw(postgres events);
$old->safe_psql('postgres', q{CREATE FUNCTION one() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
	ALTER TABLE s ADD n int DEFAULT one()});
ok(wait_until($new, 'postgres', 'SELECT count(*) = 1 FROM flo.pending_ddl', 'a statement to be held'),
	'a statement is held');
like(error_of($old, q{SELECT * FROM flo.cutover('s', max_lag => '1 s')}),
	qr/^55000: .*worker "postgres" is behind by more than max_lag/, 'who waits for a decision cannot take over');
is($old->safe_psql('postgres', q{INSERT INTO s VALUES (1); SELECT state FROM flo.cutovers WHERE group_name = 's'}),
	'cancelled', 'the source takes writes');
$new->safe_psql('postgres', q{ALTER TABLE s ADD n int;
	SELECT flo.skip_ddl(id) FROM flo.pending_ddl});
wait_caught_up($old, $new, 's');
like($old->safe_psql('postgres', q{SELECT string_agg(detail, ' ') FROM flo.cutover('s', reverse => 's_back')}),
	qr/workers that send events are left as they are: "events".* has opened/,
	'a worker that sends events stays behind');
$new->safe_psql('postgres', 'INSERT INTO s VALUES (2, 2)');
wait_caught_up($new, $old, 's_back');
is_same_table($old, $new, 's', 'and the group is cut over');
is(status_of($new, 's', 'events', 'state'), 'streaming', 'the worker of events goes on');

cutover_ends();
$_->stop('fast') for $old, $new;
done_testing();
