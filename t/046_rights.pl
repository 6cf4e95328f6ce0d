# Rights and secrets on real servers: what others may not do, and not see.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloHook;
use FloTest;
use POSIX qw(mkfifo);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

sub insert
{
	my ($from, $to) = @_;
	$source->safe_psql('postgres', "INSERT INTO t SELECT i, 'v' FROM generate_series($from, $to) i");
}
sub last_error { my ($member) = @_; return status_of($dest, 'g', $member, 'last_error'); }

$source->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)');
create_group($source, undef, 'g');

# --- files: nothing is opened through a link ---------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir() . '/events';
my $victim = PostgreSQL::Test::Utils::tempdir() . '/victim';
my $precious = "precious, without a line's end " x 100;
mkdir $dir;
chmod 0700, $dir;

sub fill_victim { unlink $victim; append_to_file($victim, $precious); }
sub is_untouched { my ($name) = @_; is(slurp_file($victim), $precious, $name); }

fill_victim();
symlink $victim, "$dir/.pg_flo_owner" or die;
$dest->safe_psql('postgres', qq{SELECT flo.create_worker('g', 'file', 'file', '{"directory": "$dir"}');
	SELECT flo.start_group('g', 'file')});
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'pg_flo_owner.*symbolic link' FROM flo.status
	WHERE member = 'file'}, 'an error'),
	'an owner file that is a symbolic link is refused');
is_untouched('and where it leads to is untouched');

unlink "$dir/.pg_flo_owner";
link $victim, "$dir/.pg_flo_owner" or die;
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'pg_flo_owner.*another name' FROM flo.status
	WHERE member = 'file'}, 'an error'),
	'one that is a hard link, too');
unlink "$dir/.pg_flo_owner";
mkfifo("$dir/.pg_flo_owner", 0600) or die;
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'pg_flo_owner.*not a regular file' FROM flo.status
	WHERE member = 'file'}, 'an error'),
	'a FIFO is refused and does not hold the worker up');
unlink "$dir/.pg_flo_owner";
append_to_file("$dir/.pg_flo_owner", 'The notes of somebody else!');
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'belongs to another worker' FROM flo.status
	WHERE member = 'file'}, 'an error'),
	'a file that is no owner file is not overwritten');
is(slurp_file("$dir/.pg_flo_owner"), 'The notes of somebody else!', 'it is as it was');
unlink "$dir/.pg_flo_owner";
is_untouched('still untouched');

start_member($dest, 'g', 'file');
insert(1, 10);
wait_caught_up($source, $dest, 'g', member => 'file');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'file', 'stopped');
my ($log) = event_files($dir);
rename "$dir/$log", "$dir/aside" or die;
symlink $victim, "$dir/$log" or die;
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'pg_flo_log.*symbolic link' FROM flo.status
	WHERE member = 'file'}, 'an error'),
	'a symbolic link in the place of the newest file is refused');
is_untouched('and where it leads to is neither cut nor written to');
unlink "$dir/$log";
link $victim, "$dir/$log" or die;
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'pg_flo_log.*another name' FROM flo.status
	WHERE member = 'file'}, 'an error'),
	'a hard link, too');
is_untouched('untouched');
unlink "$dir/$log";
rename "$dir/aside", "$dir/$log" or die;
insert(11, 20);
ok(wait_caught_up($source, $dest, 'g', member => 'file'), 'with the file back in its place it goes on by itself');
are_exactly([ file_events($dir) ], 20, 'and nothing is lost or doubled');

# later names are removed, whatever they are, but only they themselves
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'file', 'stopped');
symlink $victim, "$dir/pg_flo_log_29990101T000000.000000Z.jsonl" or die;
start_member($dest, 'g', 'file');
is_untouched('a link with a later name is removed, not followed');
ok(!-l "$dir/pg_flo_log_29990101T000000.000000Z.jsonl", 'it is gone');

# the directory itself, and the way to it
my $way = PostgreSQL::Test::Utils::tempdir();
mkdir "$way/real";
mkdir "$way/real/sub";
symlink "$way/real", "$way/link" or die;
sub create_file_worker
{
	my ($where) = @_;
	return error_of($dest, qq{SELECT flo.create_worker('g', 'file', 'other', '{"directory": "$where"}')});
}
like(create_file_worker("$way/link"), qr/22023.*"link" is a symbolic link/s, 'a directory that is a link is refused');
like(create_file_worker("$way/link/sub"), qr/22023.*"link" is a symbolic link/s, 'and so is a link on the way');
chmod 0777, "$way/real/sub";
like(create_file_worker("$way/real/sub"), qr/22023.*everybody may remove files there/s,
	'a directory in which everybody may write is refused');
like(create_file_worker("$way/nowhere"), qr/22023.*No such file or directory/s, 'one that is not there');
like(create_file_worker($victim), qr/22023.*Not a directory/s, 'one that is none');
# exchanged while the worker is away
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'file', 'stopped');
rename $dir, "$dir.real" or die;
symlink "$dir.real", $dir or die;
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'could not open directory.*symbolic link' FROM flo.status
	WHERE member = 'file'}, 'an error'),
	'one that became a link later is not followed either');
unlink $dir;
rename "$dir.real", $dir or die;
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'file')});

# --- files that hold secrets -----------------------------------------------------------------

my $secret_file = PostgreSQL::Test::Utils::tempdir() . '/secret';
sub create_hook_worker
{
	return error_of($dest,
		qq{SELECT flo.create_worker('g', 'webhook', 'other',
		'{"url": "http://127.0.0.1:1/", "secret_file": "$secret_file"}')});
}
mkfifo($secret_file, 0600) or die;
like(create_hook_worker(), qr/22023.*is not a regular file/s, 'a FIFO as secret_file is refused, and not waited for');
unlink $secret_file;
append_to_file($secret_file, "s3cret\n");
chmod 0644, $secret_file;
like(create_hook_worker(), qr/22023.*can be read or written by others/s, 'one that others can read');
chmod 0620, $secret_file;
like(create_hook_worker(), qr/22023.*can be read or written by others/s, 'one that others can write');

for my $setting (qw(nats_password_file nats_credentials_file nats_tls_ca_file nats_tls_key_file))
{
	my $fifo = PostgreSQL::Test::Utils::tempdir() . "/$setting";
	mkfifo($fifo, 0600) or die;
	$dest->safe_psql('postgres', "ALTER SYSTEM SET pg_flo.$setting = '$fifo'");
	$dest->reload;
	like($dest->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', status, detail), E'\n') FROM flo.check()
		WHERE item = 'NATS'}),
		qr/^error.*file "\Q$fifo\E": it is not a regular file/m, "a FIFO as $setting is refused, and not waited for");
	$dest->safe_psql('postgres', "ALTER SYSTEM RESET pg_flo.$setting");
	$dest->reload;
}

# --- secrets are neither shown nor logged -------------------------------------------------------

my $url = $nats->url;
(my $with_password = $url) =~ s{//}{//somebody:hidden1\@};
my $offset = -s $dest->logfile;
$dest->append_conf('postgresql.conf', "pg_flo.nats_url = '$with_password'\n");
$dest->reload;
ok($dest->wait_for_log(qr/invalid value for parameter "pg_flo.nats_url": it holds a user, password or token/, $offset),
	'a password in pg_flo.nats_url is refused at a reload');
is($dest->safe_psql('postgres', 'SHOW pg_flo.nats_url'), $url, 'and the former value stays in force');
$dest->restart;
is($dest->safe_psql('postgres', 'SHOW pg_flo.nats_url'), '', 'after a restart there is no broker, rather than another');
like($dest->safe_psql('postgres', q{SELECT detail FROM flo.check() WHERE item = 'NATS'}), qr/pg_flo.nats_url is empty/,
	'and flo.check() says so');
is($dest->safe_psql('postgres', q{SET ROLE pg_monitor; SELECT count(*) FROM pg_settings WHERE setting ~ 'hidden1'}),
	'0', 'pg_monitor sees nothing of it');
$dest->append_conf('postgresql.conf',
	"pg_flo.nats_url = '$url'\npg_flo.nats_password = 'hidden2'\npg_flo.schema_dump_conninfo = 'password=hidden3'\n");
$dest->reload;
$dest->poll_query_until('postgres', "SELECT current_setting('pg_flo.nats_url') = '$url'");
$dest->append_conf('postgresql.conf', "pg_flo.nats_password = ''\npg_flo.schema_dump_conninfo = ''\n");
$dest->reload;
unlike(slurp_file($dest->logfile), qr/hidden[123]/, 'nothing of it is in the log');

# --- what comes after a webhook's host may be its key ---------------------------------------------

my $hook = FloHook->new;
$hook->answer('503 Busy');
$dest->safe_psql('postgres',
	sprintf(q{SELECT flo.create_worker('g', 'webhook', 'hook', '{"url": "%s", "on_error": "stop", "max_attempts": 2}');
	SELECT flo.start_group('g', 'hook')},
		$hook->url('/services/T0/hidden4?token=hidden5')));
insert(21, 22);
ok(wait_until($dest, 'postgres', q{SELECT state IN ('failed', 'backoff') AND last_error ~ 'http://127.0.0.1:\d+/\.\.\.'
	FROM flo.status WHERE member = 'hook'}, 'the error'),
	'a failure names scheme, host and port');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.status s WHERE s::text ~ 'hidden'}), '0',
	'flo.status shows no more of the URL');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity a
	WHERE a::text ~ 'hidden[45]' AND pid <> pg_backend_pid()}), '0', 'nor does pg_stat_activity');
unlike(slurp_file($dest->logfile), qr/hidden[45]/, 'nor the log');
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'hook')});
$hook->stop;

# --- whose a member is, and who may read ----------------------------------------------------------

my $events = PostgreSQL::Test::Utils::tempdir() . '/ann';
mkdir $events;
$source->safe_psql('postgres', q{
	CREATE ROLE ann;
	GRANT pg_write_server_files TO ann;
	GRANT EXECUTE ON FUNCTION flo.create_worker, flo.peek TO ann;
});
my $make = qq{SET ROLE ann; SELECT flo.create_worker('g', 'file', 'anns', '{"directory": "$events"}')};
like(error_of($source, $make), qr/42501.*role "ann" must not read the rows of group "g".*hint:.*flo.grant_reader/s,
	'EXECUTE on create_worker is no access to a group');
like(error_of($source, q{SET ROLE ann; SELECT * FROM flo.peek('g')}), qr/42501.*permission denied for group "g"/s,
	'nor EXECUTE on peek');
$source->safe_psql('postgres', q{SELECT flo.grant_reader('g', 'ann')});
$source->safe_psql('postgres', $make);
start_member($source, 'g', 'anns');
insert(31, 32);
ok(wait_until($source, 'postgres', q{SELECT flo.wait_for('g', pg_current_wal_lsn(), '1 s', 'anns')}, 'it to catch up'),
	'a reader has a worker');
is($source->safe_psql('postgres', q{SET ROLE ann; SELECT count(*) > 0 FROM flo.peek('g')}), 't', 'and may peek');
$source->safe_psql('postgres', q{SELECT flo.revoke_reader('g', 'ann')});
ok(wait_until($source, 'postgres', q{SELECT state = 'failed' AND detail ~ 'the owner, role "ann", must not read'
	FROM flo.status WHERE member = 'anns'}, 'it to fail'),
	'when the right is taken back its worker fails, and says why');
insert(33, 34);
$source->safe_psql('postgres', q{SELECT flo.start_group('g', 'anns')});
wait_state($source, 'g', 'anns', 'failed');
unlike(join('', file_lines($events)), qr/"id":33/, 'and has read nothing more');
$source->safe_psql('postgres', q{SELECT flo.grant_reader('g', 'ann'); SELECT flo.start_group('g', 'anns')});
wait_state($source, 'g', 'anns', 'streaming');
ok(wait_until($source, 'postgres', q{SELECT flo.wait_for('g', pg_current_wal_lsn(), '1 s', 'anns')}, 'it to catch up'),
	'with the right it goes on where it was');

like(error_of($source, 'DROP ROLE ann'), qr/2BP01.*detail: .*flo\.(workers|readers)/s,
	'an owner is not dropped unseen');
$source->safe_psql('postgres', q{CREATE DATABASE other});
like(error_of($source, 'DROP OWNED BY ann; DROP ROLE ann', 'other'),
	qr/2BP01.*detail: \d+ objects in database postgres/s, 'nor from another database');
# as after pg_upgrade, which does not carry dependencies over
my $oid = $source->safe_psql('postgres', q{SELECT 'ann'::regrole::oid});
$source->safe_psql('postgres', q{
	SET allow_system_table_mods = on;
	REVOKE EXECUTE ON FUNCTION flo.create_worker, flo.peek FROM ann;
	DELETE FROM pg_shdepend WHERE refobjid = 'ann'::regrole;
	DROP ROLE ann;
	CREATE ROLE ann SUPERUSER;
	SELECT flo.stop_group('g', 'anns');
});
wait_state($source, 'g', 'anns', 'stopped');
$source->safe_psql('postgres', q{SELECT flo.start_group('g', 'anns')});
ok(wait_until($source, 'postgres', qq{SELECT state = 'failed'
	AND detail = 'the owner is a role with OID $oid, which no longer exists' FROM flo.status WHERE member = 'anns'},
	'it to fail'),
	'a worker whose owner was dropped fails, whoever has the name by now');
is($source->safe_psql('postgres', q{SELECT owner FROM flo.members WHERE member = 'anns'}), $oid,
	'it still belongs to nobody');
is($source->safe_psql('postgres',
	q{SELECT detail FROM flo.check('g') WHERE hint ~ 'flo.set_owner' AND detail ~ '^its owner'}),
	"its owner, a role with OID $oid, no longer exists", 'flo.check() says so');
$source->safe_psql('postgres', qq{
	CREATE ROLE ben; GRANT pg_write_server_files TO ben;
	SELECT flo.grant_reader('g', 'ben'); SELECT flo.set_owner('g', 'anns', 'ben');
	SELECT flo.revoke_reader('g', '$oid')});
wait_state($source, 'g', 'anns', 'streaming');
insert(35, 36);
ok(wait_until($source, 'postgres', q{SELECT flo.wait_for('g', pg_current_wal_lsn(), '1 s', 'anns')}, 'it to catch up'),
	'given to another role it goes on');
like(join('', file_lines($events)), qr/"id":36/, 'with its files');

# --- dump and restore -----------------------------------------------------------------------------

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$source->command_ok([ 'pg_dump', '-f', $dump, '-p', $source->port, '-h', $source->host, 'postgres' ],
	'pg_dump as a superuser');
$dest->safe_psql('postgres', 'CREATE DATABASE restored');
my @restore = ('psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-p', $dest->port, '-h', $dest->host, 'restored');
$dest->command_fails_like(\@restore, qr/role "ben" does not exist/,
	'a role that is missing in another cluster is named');
$dest->safe_psql('postgres', $_) for 'DROP DATABASE restored', 'CREATE DATABASE restored',
	'CREATE ROLE somebody; CREATE ROLE ben';
$dest->command_ok(\@restore, 'where it exists the dump is restored');
is($dest->safe_psql('restored', q{SELECT w.owner::text, w.owner::oid = r.oid,
	(SELECT string_agg(reader::text, ',') FROM flo.readers) FROM flo.workers w JOIN pg_roles r ON r.rolname = 'ben'
	WHERE worker_name = 'anns'}), 'ben|t|ben',
	'with owners and readers by name, whatever their OIDs are there');
like(error_of($dest, 'DROP ROLE ben', 'restored'), qr/2BP01.*column (owner|reader) of table flo\.(workers|readers)/s,
	'and known to the server');
$dest->safe_psql('postgres', 'DROP DATABASE restored');

done_testing();
