
# What a broker or a disk takes away while a group runs, and gives back: a user, its
# permissions, an NKey in the place of another, files that hold secrets and are not
# whole, the account's limits.  Both sides say what it is, and go on by themselves.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloNatsKeys;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $keys = FloNatsKeys->new($dir) or plan skip_all => 'no openssl that knows ed25519';
my $one = $keys->nkey('one', 'U');
my $two = $keys->nkey('two', 'U');
my $nats = FloTest::Nats->new('broker', conf => users());
$keys->_write('password', "of both\n");
my $conf = "pg_flo.nats_user = 'a'\npg_flo.nats_password_file = '$dir/password'\n";
my %node = map { $_ => flo_node($_, $nats, conf => $conf) } qw(source dest);
my ($source, $dest) = @node{qw(source dest)};
my %member = (source => 'replicator', dest => 'postgres');
my ($n, %since) = (0);

# Users of one account: a, who has a password, and who else is given; with permissions
sub users
{
	my ($limits, $permissions, @more) = @_;
	my @users = ('{ user: test, password: test }', $permissions || '{ user: a, password: "of both" }', @more);
	return 'accounts { A { jetstream: { ' . ($limits || 'max_file: 1GB, max_mem: 1MB') . ' }, users: [ '
	  . join(', ', @users) . ' ] } }';
}
sub broker { $nats->configure(users(@_)); $nats->reload; }
sub set
{
	my (%settings) = @_;
	for my $node ($source, $dest)
	{
		$node->append_conf('postgresql.conf', join '', map { "pg_flo.$_ = '$settings{$_}'\n" } sort keys %settings);
		$node->reload;
	}
}
sub insert { $n++; $source->safe_psql('postgres', "INSERT INTO t VALUES ($n, repeat('x', 100))"); }
sub arrives
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	insert();
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', "$name: the same rows");
	# what is wrong after this is newer
	$since{$_} = status_of($node{$_}, 'g', $member{$_}, q{coalesce(last_error_at, '-infinity')}) for keys %node;
}
sub says
{
	my ($side, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	ok(wait_until($node{$side}, 'postgres', "SELECT state = 'waiting' AND detail ~ '$pattern'
			OR state <> 'streaming' AND last_error ~ '$pattern' AND last_error_at > '$since{$side}' FROM flo.status",
			$pattern), "$name: the $side says it")
	  or diag(status_of($node{$side}, 'g', $member{$side}, "concat_ws(' | ', state, detail, last_error, last_hint)"));
}

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g');
arrives('at first');

# --- the user, and what it may ---------------------------------------------------------------

broker('', '{ user: b, password: b }');
insert();
says($_, 'Authorization Violation|ended the connection', 'a user that is gone') for sort keys %node;
broker();
arrives('it is there again');
broker('', '{ user: a, password: "of both", permissions: { publish: { deny: [ "pgflo.g" ] } } }');
insert();
says('source', '[Pp]ermission', 'it may not publish any more');
broker();
arrives('it may again');
broker('', '{ user: a, password: "of both", permissions: { publish: { '
	  . 'deny: [ "$JS.ACK.>", "$JS.API.CONSUMER.>" ] } } }');
insert();
says('dest', '[Pp]ermission', 'it may not read any more');
broker();
arrives('it may read again');

# --- files that are not whole -----------------------------------------------------------------

for my $broken ([ 'empty', sub { $keys->_write('password', '') } ], [ 'gone', sub { unlink "$dir/password" } ],
	[ 'for others to read', sub { $keys->_write('password', "of both\n"); chmod 0644, "$dir/password" } ],
	[ 'a folder', sub { unlink "$dir/password"; mkdir "$dir/password" } ])
{
	my ($what, $break) = @$broken;
	$break->();
	$nats->restart;
	says($_, 'password', "a password file that is $what") for sort keys %node;
	rmdir "$dir/password" if -d "$dir/password";
	$keys->_write('password', "of both\n");
	arrives("no longer $what");
}

# --- an NKey in the place of another ------------------------------------------------------------

broker('', undef, map { "{ nkey: $_->{public} }" } $one, $two);
set(nats_user => '', nats_password_file => '', nats_nkey => $one->{public}, nats_nkey_file => "$dir/one.seed");
arrives('an NKey');
set(nats_nkey => $two->{public}, nats_nkey_file => "$dir/two.seed");
arrives('another one');
broker('', undef, "{ nkey: $two->{public} }");
arrives('the first is gone at the broker');
$keys->_write('two.seed', substr $two->{seed}, 0, 20);
$nats->restart;
says($_, 'NATS NKey file .* holds no whole seed', 'a seed that is cut') for sort keys %node;
$keys->_write('two.seed', "$two->{seed}\n");
arrives('whole again');

# --- the account's limits ----------------------------------------------------------------------

my @nkey = (undef, "{ nkey: $two->{public} }");
broker('max_file: 1GB, max_mem: 1MB, max_consumers: 1', @nkey);
arrives('the consumers there are');
$dest->safe_psql('postgres', q{CREATE DATABASE two});
$dest->safe_psql('two', q{CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT flo.create_worker('g', options => '{"start": "earliest"}'); SELECT flo.start_group('g')});
ok(wait_until($dest, 'two', q{SELECT concat_ws(' ', state, detail, last_error) ~ 'consumer' FROM flo.status}, 'words'),
	'one consumer more than the account may have');
broker('max_file: 1GB, max_mem: 1MB, max_consumers: 9', @nkey);
insert();
wait_state($dest, 'g', 'postgres', 'streaming', 'two');
arrives('more of them');
$nats->configure('accounts { A { users: [ { user: test, password: test }, { nkey: ' . $two->{public} . ' } ] } }');
$nats->restart;
insert();
says($_, '[Jj]et[Ss]tream', 'an account whose JetStream is taken away') for sort keys %node;
$nats->configure(users('', @nkey));
$nats->restart;
arrives('given back');

$_->stop('fast') for $source, $dest;
done_testing();
