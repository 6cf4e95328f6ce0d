use strict; use warnings; use FindBin; use lib $FindBin::Bin; use FloTest;
use PostgreSQL::Test::Cluster; use PostgreSQL::Test::Utils; use Test::More; use Time::HiRes qw(time);
my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats); my $dest = flo_node('dest', $nats);
sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }
transfer_tables($source, $dest);
create_group($source, $dest, 'g'); src('INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i UNION ALL SELECT i, i FROM generate_series(1001, 40000) i'); wait_caught_up($source, $dest, 'g');
my $load = transfer_load($source, 4);
my $rounds = $ENV{ROUNDS} || 20;
for my $round (1 .. $rounds)
{
	my $inject = $round % 2;
	my $o = 1000 + 300 * $round;
	dst(qq{DELETE FROM accounts WHERE id > $o AND id <= $o + 10; UPDATE accounts SET balance = -1 WHERE id > $o + 20 AND id <= $o + 30; INSERT INTO accounts SELECT -i - $o, 0 FROM generate_series(1, 10) i}) if $inject;
	my $t = time;
	my $id = src(q{SELECT flo.compare('g')});
	wait_until($source, 'postgres', "SELECT count(*) > 0 AND count(*) = count(finished_at) FROM flo.comparisons WHERE id = $id AND NOT EXISTS (SELECT FROM flo.compare_requests)", 'over');
	my $r = src("SELECT string_agg(concat_ws(' ', table_name, state, rows_source, rows_destination, missing, extra, different, detail), '; ' ORDER BY table_name) FROM flo.comparisons WHERE id = $id");
	diag(sprintf('%.1f s: %s', time - $t, $r));
	my $n = 10 * $inject;
	like($r, qr/^public.accounts (equal|different)[ 0-9]* $n $n $n; public.moves equal \d+ \d+ 0 0 0$/, "round $round");
	dst(qq{DELETE FROM accounts WHERE id > $o AND id <= $o + 30 OR id < 0; INSERT INTO accounts SELECT i, i FROM generate_series($o + 1, $o + 30) i});
}
stop_load($load);
wait_caught_up($source, $dest, 'g');
done_testing();
