
# flo.cutover() with a crash at each of the source's steps: it goes on, or is undone; one
# side takes writes, and has all of them.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloCutover;
use FloTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($old, $new) = cutover_servers();

for my $point (qw(begin.before begin.after triggers.after follower.after
	fence.before fence.after release.before release.after))
{
	cutover_case("source, $point",
		sub { halt_at($old, "cutover.$point") },
		sub {
			my ($group) = @_;
			ok(await_halt($old, $point), "$point: a process is there") or return;
			kill9_member($old, $group, 'replicator');
		},
		ends => qr/^released/);
}
cutover_ends();
$_->stop('fast') for $old, $new;
done_testing();
