
# flo.cutover() with a crash at each of the destination's steps: it goes on, or is undone; one
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

for my $point (qw(check.before check.after raise.after way.after prepared.before prepared.after open.before open.after))
{
	cutover_case("destination, $point",
		sub { halt_at($new, "cutover.$point") },
		sub {
			my ($group) = @_;
			ok(await_halt($new, $point), "$point: a process is there") or return;
			kill9_member($new, $group, 'postgres');
		},
		ends => qr/^released/);
}
cutover_ends();
$_->stop('fast') for $old, $new;
done_testing();
