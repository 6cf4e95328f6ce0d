
# flo.cutover() that comes to nothing: what was done is undone by both sides, also when
# one of them dies meanwhile.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloCutover;
use FloTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($old, $new) = cutover_servers();
# as long as both sides may take to come to the fence on a busy machine
my $short = q{timeout => '6 s', max_lag => '6 s'};

# The source is fenced, and asks for the end of it while the destination sleeps; it dies
# while it asks, and while it takes back
for my $point (qw(cancel.before cancel.after back.before back.after clean.before clean.after))
{
	cutover_case("source, $point",
		sub {
			halt_at($new, 'cutover.said.prepared');
			halt_at($old, "cutover.$point");
		},
		sub {
			my ($group) = @_;
			ok(await_halt($new, 'said.prepared'), 'the destination sleeps') or return;
			if ($point !~ /^cancel/)
			{
				await_cutover($old, $group, 'cancelling');
				kill9_member($new, $group, 'postgres');
			}
			ok(await_halt($old, $point), "$point: a process is there") or return;
			kill9_member($old, $group, 'replicator');
			kill9_member($new, $group, 'postgres') if $point =~ /^cancel/;
		},
		arguments => "$short, compare => true", ends => qr/^cancelled/);
}

cutover_ends();
$_->stop('fast') for $old, $new;
done_testing();
