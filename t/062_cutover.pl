
# flo.cutover(): to the destination and back, with writers on both sides; what fails
# is undone.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my %node = map { $_ => flo_node($_, $nats) } qw(old new);
my ($old, $new) = @node{qw(old new)};
my @tables = qw(accounts orders parts plain);
for my $node ($old, $new)
{
	$node->safe_psql('postgres', q{
		CREATE TABLE accounts (id serial PRIMARY KEY, balance int NOT NULL DEFAULT 0);
		CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int, at timestamptz DEFAULT now());
		CREATE TABLE parts (id int, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
		CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
		CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
		CREATE TABLE plain (id int PRIMARY KEY, t text);
	});
}
$old->safe_psql('postgres', 'INSERT INTO accounts (balance) SELECT 0 FROM generate_series(1, 100)');
create_copy_group($old, $new, 'move');

# What a call says: state of the error and its message, or the steps
sub cutover
{
	my ($node, $arguments) = @_;
	my $error = error_of($node, "SELECT * FROM flo.cutover($arguments)");

	return $error;
}

like(cutover($old, "'move', dry_run => true"), qr/^55000: .*does not allow a cut-over\n/, 'the destination has to allow it');
$new->safe_psql('postgres', q{SELECT flo.alter_worker('move', 'postgres', '{"allow_cutover": true}')});
wait_state($new, 'move', 'postgres', 'streaming');

my ($out, $err);
is($old->psql('postgres', q{SELECT step, detail FROM flo.cutover('move', reverse => 'back', dry_run => true)},
		stdout => \$out, stderr => \$err), 0, 'a dry run') or diag($err);
diag("$out\n$err");
is($new->safe_psql('postgres', 'SELECT count(*) FROM flo.sources'), '0', 'it has made nothing there');

is($old->psql('postgres', q{SELECT step, at, detail FROM flo.cutover('move', reverse => 'back')},
		stdout => \$out, stderr => \$err), 0, 'the cut-over') or diag($err);
diag("$out\n$err");
diag($new->safe_psql('postgres', 'SELECT step, at, detail FROM flo.cutover_steps ORDER BY number'));
like(error_of($old, 'INSERT INTO plain VALUES (1)'), qr/^55000: /, 'the old server takes no writes');
$new->safe_psql('postgres', "INSERT INTO plain VALUES (1, 'new')");
wait_caught_up($new, $old, 'back');
is_same_table($old, $new, $_) for @tables;

is($new->psql('postgres', q{SELECT step, at, detail FROM flo.cutover('back', reverse => 'move')},
		stdout => \$out, stderr => \$err), 0, 'the way back') or diag($err);
diag("$out\n$err");
like(error_of($new, 'INSERT INTO plain VALUES (2)'), qr/^55000: /, 'the new server takes no writes');
$old->safe_psql('postgres', "INSERT INTO plain VALUES (2, 'old')");
wait_caught_up($old, $new, 'move');
is_same_table($old, $new, $_) for @tables;

$_->stop('fast') for $old, $new;
done_testing();
