
# flo.cutover() to a destination that falls asleep at each of its steps: the source gives up,
# and both sides undo what was done; or hears that the destination is open.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloCutover;
use FloTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($old, $new) = cutover_servers();
# as long as both sides may take to come to each step on a busy machine
my $short = q{timeout => '6 s', max_lag => '6 s'};

# The destination does not answer: dead from here on, until the source has given up
for my $point (qw(check.before raise.after way.after prepared.after))
{
	cutover_case("destination asleep at $point",
		sub { halt_at($new, "cutover.$point") },
		sub {
			my ($group) = @_;
			ok(await_halt($new, $point), "$point: a process is there") or return;
			ok(wait_until($old, 'postgres', "SELECT state = 'cancelled' FROM flo.cutovers
				WHERE group_name = '$group'",
					'the source to give up'), 'the source gives up') if $point ne 'prepared.after';
			kill9_member($new, $group, 'postgres');
		},
		arguments => $short, ends => $point eq 'prepared.after' ? qr/^(cancelled|released)/ : qr/^cancelled/);
}

# It has everything, and sleeps before it opens: the source asks, and hears that it is open
cutover_case('destination asleep at open.before',
	sub { halt_at($new, 'cutover.open.before') },
	sub {
		my ($group) = @_;
		ok(await_halt($new, 'open.before'), 'a process is there') or return;
		await_cutover($old, $group, 'cancelling');
		kill9_member($new, $group, 'postgres');
	},
	arguments => $short, ends => qr/^released/);

# The source itself sleeps for longer than the whole may last: nobody expects it any more
cutover_case('source asleep at begin.after',
	sub { halt_at($old, 'cutover.begin.after') },
	sub {
		my ($group) = @_;
		ok(await_halt($old, 'begin.after'), 'a process is there') or return;
		ok(wait_until($old, 'postgres', "SELECT clock_timestamp() - changed_at > '3 s' FROM flo.cutovers
			WHERE group_name = '$group'",
				'the time to be over'), 'the time is over');
		kill9_member($old, $group, 'replicator');
	},
	arguments => q{timeout => '2 s', max_lag => '1 min'}, ends => qr/^cancelled/);
cutover_case('source asleep at begin.before',
	sub { halt_at($old, 'cutover.begin.before') },
	sub {
		my ($group) = @_;
		ok(await_halt($old, 'begin.before'), 'a process is there') or return;
		$old->safe_psql('postgres', "UPDATE flo.cutovers SET changed_at = changed_at - interval '1 hour'
			WHERE group_name = '$group'");
		kill9_member($old, $group, 'replicator');
	},
	ends => qr/^cancelled/);

cutover_ends();
$_->stop('fast') for $old, $new;
done_testing();
