
# Strict masking: whatever way a column comes, no value of it arrives before
# somebody has decided about it; and what is said of values shows none.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloTest;
use File::Find ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $dir = PostgreSQL::Test::Utils::tempdir() . '/events';
mkdir $dir;

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }
sub synced { return wait_caught_up($source, $dest, 'g', member => 'postgres'); }

sub rule
{
	my ($table, $column, $action, $arguments) = @_;
	$arguments ||= '{}';
	return dst("INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments)
		VALUES ('g', '$table', '$column', '$action', '$arguments') RETURNING id");
}

# No byte of what is never to be seen is anywhere in the destination's directory, its log, or the events
sub hidden
{
	my ($what) = @_;
	my @found;

	dst('CHECKPOINT');
	File::Find::find({
			no_chdir => 1,
			wanted => sub {
				return if !-f $_;
				open my $file, '<:raw', $_ or return;
				local $/;
				push @found, $_ if (<$file> // '') =~ /XYZZY/;
			}
		},
		$dest->data_dir, $dest->logfile, $dir);
	return is("@found", '', "no value is anywhere: $what");
}

# It stops with that error, having written nothing; then it is decided about, and goes on
sub stops
{
	my ($pattern, $what) = @_;
	ok(wait_until($dest, 'postgres', "SELECT coalesce(last_error, '') ~ \$p\$$pattern\$p\$ AND state = 'backoff'
		FROM flo.status WHERE group_name = 'g' AND member = 'postgres'", $what), "$what: it stops")
	  || diag(dst("SELECT last_error FROM flo.status WHERE group_name = 'g' AND member = 'postgres'"));
	return hidden($what);
}

src(q{
	CREATE TABLE users (id int PRIMARY KEY, email text, phone text, note text);
	INSERT INTO users SELECT i, 'XYZZY' || i || '@example.com', 'XYZZY', 'n' FROM generate_series(1, 100) i;
	CREATE SCHEMA app;
});
dst('CREATE SCHEMA app');
create_copy_group($source, $dest, 'g',
	tables => 'NULL, schemas => \'{public,app}\', track_ddl => true',
	sync_schema => 1,
	wait => 0,
	worker_options => q{'{"masking": "strict"}'});

# --- the copy ------------------------------------------------------------------------

ok(wait_until($dest, 'postgres', q{SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g'
	AND last_error ~ 'column "id" of table "public.users" has no rule, and masking is strict')}, 'the copy to stop'),
	'a copied table without rules stops before its first row');
is(dst('SELECT count(*) FROM users'), 0, 'none of its rows is here');
like(dst(q{SELECT detail FROM flo.event_log WHERE group_name = 'g' AND error IS NOT NULL LIMIT 1}) . dst(
		q{SELECT last_error FROM flo.status WHERE group_name = 'g'}), qr/users/, 'it names the table');
hidden('a copy');
rule('users', 'id', 'keep');
rule('users', 'email', 'mask', '{"keep_first": 0, "keep_last": 4}');
rule('users', 'note', 'keep');
hidden('a copy of which one column is left');
rule('users', 'phone', 'null');
wait_state($dest, 'g', 'postgres', 'streaming');
synced();
is(dst("SELECT count(*), min(email), count(phone) FROM users WHERE email LIKE '%.com'"), '100|****************.com|0',
	'then it is copied, masked') || diag(dst('SELECT min(email) FROM users'));

done_testing();
