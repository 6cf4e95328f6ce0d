
# Cut-overs of servers that have standbys: the fence is at each standby before the destination
# opens; whichever server is replaced by its standby, at whatever moment, one side at most takes
# writes, and has all of them.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloCutover qw(await_cutover);
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my ($old, $new) = map { flo_node($_, $nats) } qw(old new);
my $allow = q{'{"allow_cutover": true}'};
my $number = 0;

sub standby_of
{
	my ($primary) = @_;
	my $name = $primary->name . ++$number;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$primary->backup("for_$name");
	$standby->init_from_backup($primary, "for_$name", has_streaming => 1);
	$standby->start;
	$primary->wait_for_catchup($standby);
	return $standby;
}

# Sends a signal to the process that receives WAL: one that is stopped has nothing of what comes
sub receiver
{
	my ($standby, $signal) = @_;
	my $pid = $standby->safe_psql('postgres', 'SELECT pid FROM pg_stat_wal_receiver');

	kill($signal, $pid) == 1 or die "no process receives WAL";
}

sub takes_writes
{
	my ($node, $table) = @_;
	my $error = error_of($node, "BEGIN; INSERT INTO $table (id) VALUES (-1); ROLLBACK");

	return $error eq '' ? 'yes' : substr($error, 0, 5);
}

# A group with a table of its name, and some rows
sub group
{
	my ($group) = @_;

	$_->safe_psql('postgres', "CREATE TABLE $group (id int PRIMARY KEY)") for $old, $new;
	create_group($old, $new, $group, tables => "'{$group}'", worker_options => $allow);
	$old->safe_psql('postgres', "INSERT INTO $group SELECT generate_series(1, 100)");
	wait_caught_up($old, $new, $group);
}

sub cutover
{
	my ($group, $arguments) = @_;
	my $session = FloTest::Session->new($old);

	$session->send("SELECT * FROM flo.cutover('$group', reverse => '${group}_back', $arguments)");
	return $session;
}

# --- of the source ----------------------------------------------------------------------

group($_) for qw(late fenced released);
my $standby = standby_of($old);

# a standby that does not get the fence
receiver($standby, 'STOP');
my $call = cutover('late', q{timeout => '10 s'});
await_cutover($new, 'late', 'arrived');
is(takes_writes($new, 'late'), '55000', 'but it is not open while the standby does not have the fence');
await_cutover($old, 'late', 'cancelled');
await_cutover($new, 'late', 'cancelled');
like($old->safe_psql('postgres', q{SELECT problem FROM flo.cutovers WHERE group_name = 'late'}),
	qr/standbys do not have the fence/, 'and it says why');
is(takes_writes($old, 'late'), 'yes', 'the source takes writes');
receiver($standby, 'CONT');
$old->wait_for_catchup($standby);

# one that is done
$call = cutover('released', q{timeout => '30 s'});
await_cutover($old, 'released', 'released');
$new->safe_psql('postgres', 'INSERT INTO released VALUES (1000)');
wait_caught_up($new, $old, 'released_back');

# the source is fenced, and dies before it has told the destination to open
halt_at($old, 'cutover.tell.before');
$call = cutover('fenced', q{timeout => '60 s'});
ok(await_halt($old, 'tell.before'), 'the source sleeps before it says so');
await_cutover($new, 'fenced', 'arrived');
$old->wait_for_catchup($standby);
$old->stop('immediate');
$standby->promote;
wait_until($standby, 'postgres', 'SELECT NOT pg_is_in_recovery()', 'the promotion') or die;

is(takes_writes($standby, 'released'), '55000', 'the promoted standby of a source that was left takes no writes');
is(takes_writes($standby, 'fenced'), '55000', 'nor does that of one that was fenced');
is(takes_writes($new, 'fenced'), '55000', 'the destination waits for a word');
is(takes_writes($standby, 'late'), 'yes', 'what was undone is open there, too');
$new->safe_psql('postgres', 'INSERT INTO released VALUES (1001)');
wait_caught_up($new, $standby, 'released_back');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM released'), '102', 'and it follows the new server');

# a person decides
my (undef, undef, $said) = $new->psql('postgres', q{SELECT flo.unfence('fenced', force => true)});
unlike($said, qr/ERROR/, 'a person opens the destination') or diag($said);
is(takes_writes($new, 'fenced'), 'yes', 'it takes writes');
is($new->safe_psql('postgres', 'SELECT count(*) FROM fenced'), '100', 'and has everything');
is(takes_writes($standby, 'fenced'), '55000', 'the other one does not');
$standby->stop('immediate');

# --- of the destination -------------------------------------------------------------------

# The primary sleeps at each of its steps, is gone, and its standby goes on; one that has all of it
# and one that has nothing since the cut-over began
$old = flo_node('old_again', $nats);
for my $case (
	[ 'prepared', 'said.prepared', '' ],
	[ 'arrived', 'said.arrived', '' ],
	[ 'behind', 'said.arrived', 'STOP' ],
	[ 'opened', 'said.open', '' ])
{
	my ($group, $point, $signal) = @$case;

	group($group);
	$standby = standby_of($new);
	receiver($standby, $signal) if $signal;
	halt_at($new, "cutover.$point");
	$call = cutover($group, q{timeout => '60 s'});
	ok(await_halt($new, $point), "$group: the destination sleeps");
	await_cutover($old, $group, 'fenced|released');
	$new->wait_for_catchup($standby) if !$signal;
	$new->stop('immediate');
	receiver($standby, 'CONT') if $signal;
	$standby->promote;
	$new = $standby;
	await_cutover($old, $group, 'released|cancelled');
	my $state = $old->safe_psql('postgres', "SELECT state FROM flo.cutovers WHERE group_name = '$group'");
	note("$group: $state");
	await_cutover($new, $group, $state eq 'released' ? 'open' : 'cancelled');
	is(takes_writes($old, $group), $state eq 'released' ? '55000' : 'yes', "$group: the source is closed, or open");
	is(takes_writes($new, $group), 'yes', "$group: the standby takes writes");
	is_same_table($old, $new, $group, "$group: both have everything");
	$new->psql('postgres', "SELECT flo.drop_group('${group}_back', purge_stream => true, force => true)");
}
$_->stop('fast') for $old, $new;
done_testing();
