
# flo.cutover() while the broker dies, at each step that says something: it goes on when the
# broker is back, or is undone; and nothing opens by itself meanwhile.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloCutover;
use FloTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($old, $new, $nats) = cutover_servers();

# While both sides wait for a writer
my $session = FloTest::Session->new($old);
cutover_case('broker killed, prepared',
	undef,
	sub {
		my ($group) = @_;
		my $table = $group =~ s/^g/t/r;

		await_cutover($new, $group, 'prepared|arrived|open') or return;
		$nats->kill9;
		$session->query("BEGIN; INSERT INTO $table DEFAULT VALUES; COMMIT") for 1 .. 3;
		$nats->start;
	},
	arguments => q{timeout => '1 min'}, ends => qr/^released/);

# With the process that is at it, before or after what it does
for my $case ([ $old, 'begin.after' ], [ $new, 'way.after' ], [ $new, 'prepared.after' ], [ $old, 'fence.after' ],
	[ $new, 'open.before' ], [ $new, 'open.after' ], [ $old, 'release.before' ])
{
	my ($node, $point) = @$case;

	cutover_case("broker killed, " . $node->name . " at $point",
		sub { halt_at($node, "cutover.$point") },
		sub {
			my ($group) = @_;

			ok(await_halt($node, $point), "$point: a process is there") or return;
			$nats->kill9;
			kill9_member($node, $group, $node == $old ? 'replicator' : 'postgres');
			$nats->start;
		},
		arguments => q{timeout => '1 min'}, ends => qr/^released/);
}

# For longer than all may take, the steps before it included: the source neither opens nor gives up without a word
cutover_case('broker gone, fenced',
	sub { halt_at($new, 'cutover.said.prepared') },
	sub {
		my ($group) = @_;

		ok(await_halt($new, 'said.prepared'), 'the destination sleeps') or return;
		await_cutover($old, $group, 'fenced') or return;
		$nats->kill9;
		kill9_member($new, $group, 'postgres');
		ok(wait_until($old, 'postgres', "SELECT clock_timestamp() - changed_at > '7 s' FROM flo.cutovers
			WHERE group_name = '$group'", 'the time to be over'), 'the time is over');
		like(error_of($old, 'INSERT INTO ' . $group =~ s/^g/t/r . ' DEFAULT VALUES'), qr/^55000/,
			'the source stays fenced');
		$nats->start;
	},
	arguments => q{timeout => '6 s'}, ends => qr/^(cancelled|released)/);

cutover_ends();
$_->stop('fast') for $old, $new;
done_testing();
