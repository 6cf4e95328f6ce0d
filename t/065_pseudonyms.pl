
# Pseudonyms: equal values get equal ones in the copy and in the stream, at the replicator and at
# every sink, in expressions and in SQL; rows are found again by them; secrets stay secret.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloHook;
use FloTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $dir = PostgreSQL::Test::Utils::tempdir() . '/events';
mkdir $dir;
my $hook = FloHook->new('hook');

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }

# The same secret at both servers, by a file: statements are logged
my $secret = 'never to be seen: ' . join('', map { chr(97 + int rand 26) } 1 .. 24);
my $secret_file = PostgreSQL::Test::Utils::tempdir() . '/secret';
append_to_file($secret_file, $secret);
$_->safe_psql('postgres', "SELECT flo.set_secret('main', pg_read_file('$secret_file'))") for $source, $dest;

# column, type, arguments, and an SQL text of a value made of i
my @columns = (
	[ 'email', 'text', '{"kind": "email", "secret": "main"}', q{'CLEARTEXT' || i || '@example.org'} ],
	[ 'name', 'varchar(40)', '{"kind": "full_name", "secret": "main"}', q{'CLEARTEXT Müller ' || i} ],
	[ 'phone', 'text', '{"kind": "phone", "secret": "main"}', q{'+49 30 ' || (1000000 + i)} ],
	[ 'iban', 'char(30)', '{"kind": "iban", "secret": "main"}',
		q{'DE' || (10 + i % 80)::text || '370400440532' || (100000 + i)} ],
	[ 'card', 'bigint', '{"kind": "credit_card", "secret": "main"}', q{4111111111000000 + i} ],
	[ 'key', 'uuid', '{"kind": "uuid", "secret": "main"}', q{md5(i::text)::uuid} ],
	[ 'ip', 'inet', '{"kind": "ip", "secret": "main"}', q{'10.0.0.0'::inet + i} ],
	[ 'born', 'date', '{"kind": "date", "secret": "main", "subject": "subject"}', q{date '1970-01-01' + i} ],
	[ 'seen', 'timestamptz', '{"kind": "date", "secret": "main", "subject": "subject"}',
		q{timestamptz '2020-01-01 10:00:00.5+00' + i * interval '1 hour'} ],
	[ 'number', 'int', '{"kind": "integer", "secret": "main"}', q{i} ],
	[ 'note', 'text', '{"kind": "text", "secret": "main"}', q{'CLEARTEXT wörd ' || i} ],
	[ 'token', 'text', undef, q{'CLEARTEXT' || i} ]);
my $list = join ', ', map { $_->[0] } @columns;

for my $node ($source, $dest)
{
	$node->safe_psql('postgres', "CREATE TABLE $_ (id int PRIMARY KEY, subject int, "
		  . join(', ', map { "$_->[0] $_->[1]" } @columns) . ')') for 'early', 'late';
	$node->safe_psql('postgres', q{CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE);
		CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users, v text)});
}
sub add
{
	my ($table, $first) = @_;
	src("INSERT INTO $table SELECT $first + i, i % 7, " . join(', ', map { $_->[3] } @columns)
		  . ' FROM generate_series(1, 100) i');
}
sub rules
{
	my ($table, $stage) = @_;
	my $hash = $stage eq 'worker' ? q{'hash', '{"secret": "main"}'} :
	  q{'expression', '{"expression": "flo.hash(token, flo.secret(''main''))"}'};
	return map {
		my ($column, undef, $arguments) = @$_;
		"('g', '$stage', '$table', '$column', " . (defined $arguments ? "'pseudonym', '$arguments'" : $hash) . ')'
	} @columns;
}
my $insert = 'INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments) VALUES ';
my $key = q{'pseudonym', '{"kind": "integer", "secret": "main"}'};

# --- copied, and streamed -----------------------------------------------------------------------

add($_, 0) for 'early', 'late';
src(q{INSERT INTO users SELECT i, 'CLEARTEXT' || i FROM generate_series(1, 20) i;
	INSERT INTO orders SELECT i, 1 + i % 20, 'v' FROM generate_series(1, 100) i});
src(q{SELECT flo.create_replicator('g', mode => 'copy_and_stream')});
src($insert . join(', ', rules('early', 'replicator')));
src(q{SELECT flo.start_group('g')});
dst(q{SELECT flo.create_worker('g')});
dst(qq{SELECT flo.create_worker('g', 'file', 'file', '{"directory": "$dir", "start": "copy"}')});
my $url = $hook->url;
dst(qq(SELECT flo.create_worker('g', 'webhook', 'hook', '{"url": "$url", "start": "copy"}')));
dst(q{SELECT flo.create_worker('g', 'stdout', 'out', '{"start": "copy"}')});
dst($insert . join(', ', rules('late', 'worker'),
	"('g', 'worker', 'users', 'id', $key)", "('g', 'worker', 'orders', 'user_id', $key)",
	q{('g', 'worker', 'users', 'email', 'expression',
		'{"expression": "flo.pseudonym(''email'', email, flo.secret(''main''))"}')}));
dst(q{SELECT flo.start_group('g')});
wait_state($dest, 'g', $_, 'streaming') for 'postgres', 'file', 'hook', 'out';
add($_, 100) for 'early', 'late';
wait_caught_up($source, $dest, 'g', member => $_) for 'postgres', 'file', 'hook', 'out';

# what SQL makes of the values, at either server
sub wanted
{
	my ($column, $type, $arguments) = @{ $_[0] };
	return "flo.hash($column, flo.secret('main'))" if !defined $arguments;
	my ($kind) = $arguments =~ /"kind": "(\w+)"/;
	my $more = $kind eq 'date' ? ', subject::text' : '';
	my $value = $type eq 'char(30)' ? "rtrim($column)" : $column;
	return "flo.pseudonym('$kind', $value, flo.secret('main')$more)::$type AS $column";
}
my $all = 'count(*), sum(hashtextextended(t::text, 0))';
my $made_columns = join ', ', map { wanted($_) } @columns;
my $wanted = src("SELECT $all FROM (SELECT id, subject, $made_columns FROM early) t");
like($wanted, qr/^200\|/, 'all rows');
is(dst("SELECT $all FROM early t"), $wanted, 'the replicator\'s rules make what the functions make');
is(dst("SELECT $all FROM late t"), $wanted, 'and so do a worker\'s');
for my $table ('early', 'late')
{
	my $same = join ' AND ', map { "a.$_->[0] = b.$_->[0]" } [ 'subject' ], @columns;
	is(dst("SELECT count(*) FROM $table a JOIN $table b ON b.id = a.id + 100 WHERE $same"), '100',
		"$table: copied and streamed values are alike");
}
is(dst("SELECT count(*) FROM early a JOIN late b USING (id, subject, $list)"), '200',
	'of the replicator and of a worker, too');

# --- every sink ---------------------------------------------------------------------------------

my %events = (file => [ file_events($dir) ], webhook => [ $hook->events ],
	stdout => [ map { JSON::PP::decode_json($_) } grep { /^\{"Id":"g-/ } split /\n/, slurp_file($dest->logfile) ]);
for my $table ('early', 'late')
{
	my %rows = map { my $row = JSON::PP::decode_json($_); ($row->{id} => $row) }
	  split /\n/, dst("SET timezone = 'UTC'; SELECT to_jsonb(t) FROM $table t");
	for my $sink (sort keys %events)
	{
		my %seen = map { ($_->{NewTuple}{id} => $_->{NewTuple}) } grep { $_->{Table} eq $table } @{ $events{$sink} };
		my %other;
		for my $id (keys %rows)
		{
			$other{ $_->[0] }++ for grep { _text($rows{$id}{ $_->[0] }) ne _text($seen{$id}{ $_->[0] }) } @columns;
		}
		is(scalar(keys %seen) . ' ' . join(' ', sort keys %other), '200 ', "$table: $sink has what the table has");
	}
}
# without padding, and however a time is written
sub _text
{
	my ($text) = @_;
	$text =~ s/ +$//;
	$text =~ s/[T ](\d\d:)/ $1/;
	$text =~ s/\+00(:00)?$|Z$//;
	return $text;
}

# --- keys ---------------------------------------------------------------------------------------

is(dst(q{SELECT count(*), count(DISTINCT user_id) FROM orders JOIN users ON users.id = user_id}), '100|20',
	'what referred still refers');
src(q{UPDATE users SET email = 'CLEARTEXTx' WHERE id = 3; DELETE FROM orders WHERE user_id = 4;
	DELETE FROM users WHERE id = 4; UPDATE orders SET user_id = 5 WHERE user_id = 6;
	UPDATE users SET id = 601 WHERE id = 6; INSERT INTO orders VALUES (101, 601, 'new')});
wait_caught_up($source, $dest, 'g');
my $made = q{flo.pseudonym('integer', %s, flo.secret('main'))};
my $users = sprintf "SELECT $made, flo.pseudonym('email', email, flo.secret('main')) FROM users", 'id';
my $orders = sprintf "SELECT id, $made, v FROM orders", 'user_id';
is(dst("SELECT $all FROM users t"), src("SELECT $all FROM ($users) t"),
	'rows are changed, deleted and given other keys by their pseudonyms');
is(dst("SELECT $all FROM orders t"), src("SELECT $all FROM ($orders) t"), 'and so are those that refer to them');

# --- another encoding ---------------------------------------------------------------------------

$dest->safe_psql('postgres', q{CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
$dest->safe_psql('latin', "CREATE EXTENSION pg_flo; SELECT flo.set_secret('main', pg_read_file('$secret_file'))");
my $umlauts = q{SELECT md5(string_agg(encode(convert_to(v, 'UTF8'), 'hex'), ',' ORDER BY k)) FROM (
	SELECT k, flo.pseudonym(k, 'Größe ' || chr(%d), flo.secret('main')) AS v
	FROM unnest('{email,text,company}'::text[]) k UNION ALL SELECT 'hash', flo.hash('Größe', flo.secret('main'))) s};
is($dest->safe_psql('latin', "SET client_encoding = 'UTF8'; " . sprintf($umlauts, 228)),
	dst("SET client_encoding = 'UTF8'; " . sprintf($umlauts, 228)), 'a database of another encoding makes the same');

# --- what a value cannot be is said with rule, table and column ---------------------------------

my $rule = dst(q{INSERT INTO flo.rules (group_name, worker_name, table_name, column_name, action, arguments)
	VALUES ('g', 'postgres', 'orders', 'v', 'pseudonym', '{"kind": "uuid", "secret": "main"}') RETURNING id});
src(q{INSERT INTO orders VALUES (201, 1, 'CLEARTEXTbad')});
wait_until($dest, 'postgres', q{SELECT last_error LIKE '%no pseudonym%' FROM flo.status WHERE member = 'postgres'},
	'the error') or die;
my $error = dst(q{SELECT last_error FROM flo.status WHERE member = 'postgres'});
like($error, qr/a value has no pseudonym of kind "uuid".*"?orders"?.*column "v".*rule $rule/s,
	'rule, table and column');
dst("DELETE FROM flo.rules WHERE id = $rule");
wait_caught_up($source, $dest, 'g');

# --- another secret -----------------------------------------------------------------------------

src(q{SELECT flo.set_secret('main', 'another secret of the source', replace => true);
	INSERT INTO early (id, email) VALUES (301, 'CLEARTEXT1@example.org')});
wait_caught_up($source, $dest, 'g');
is(dst('SELECT email FROM early WHERE id = 301'),
	src(q{SELECT flo.pseudonym('email', 'CLEARTEXT1@example.org', flo.secret('main'))}),
	'a replaced secret is in force for what is committed after it');
is(dst('SELECT count(DISTINCT email) FROM early WHERE id IN (1, 301)'), '2', 'and makes others');
src(q{SELECT flo.drop_secret('main'); INSERT INTO early (id, email) VALUES (302, 'CLEARTEXT2')});
ok(wait_until($source, 'postgres', q{SELECT last_error LIKE '%no secret "main"%' FROM flo.status
	WHERE member = 'replicator'}, 'the error'),
	'a secret that is gone stops who needs it');
src("SELECT flo.set_secret('main', pg_read_file('$secret_file'))");
wait_caught_up($source, $dest, 'g');
is(dst('SELECT email FROM early WHERE id = 302'),
	dst(q{SELECT flo.pseudonym('email', 'CLEARTEXT2', flo.secret('main'))}), 'which goes on when it is back');

# --- nowhere to be seen -------------------------------------------------------------------------

my @places = ($source->logfile, $dest->logfile, "$nats->{dir}/store", $dir, $hook->{log});
is(`grep -rlaF '$secret' @places`, '',
	'the secret is in no log, event or message');
for my $node ($source, $dest)
{
	my $dump = '';
	IPC::Run::run([ 'pg_dump', '-h', $node->host, '-p', $node->port, 'postgres' ], '>', \$dump);
	like($dump, qr/COPY flo\.rules/, 'pg_dump saves the rules of ' . $node->name);
	is(index($dump, $secret), -1, 'without the secret');
}
is(dst(q{SELECT count(*) FROM early t WHERE t::text LIKE '%CLEARTEXT%'}), '0', 'no clear text at the destination');
$source->safe_psql('postgres', 'CREATE ROLE nosy LOGIN');
like(error_of($source, 'SET ROLE nosy; TABLE flo.named_secrets'), qr/^42501/, 'secrets are not readable');
like(error_of($source, q{SET ROLE nosy; SELECT flo.hash('x', 'flo.secret:main')}), qr/^42501/,
	'nor usable by others');

$source->safe_psql('postgres', q{GRANT USAGE ON SCHEMA flo TO nosy; SELECT flo.grant_reader('g', 'nosy');
	GRANT EXECUTE ON FUNCTION flo.preview(text, text, text, jsonb, jsonb, text, text) TO nosy});
like(error_of($source, q{SET ROLE nosy; SELECT flo.preview('g', 'early', 'INSERT', '{"id": 1, "email": "guess"}')}),
	qr/^42501: permission denied for secret "main"/, 'nor can a reader of the group try values by flo.preview()');

# who makes one that another is just making would else know that one's value
$source->safe_psql('postgres', 'CREATE ROLE sly LOGIN; GRANT USAGE ON SCHEMA flo TO nosy, sly;
	GRANT EXECUTE ON FUNCTION flo.set_secret(text, text, bool), flo.drop_secret(text) TO nosy, sly');
for my $act ("flo.set_secret('twice', 'what sly knows of')", "flo.drop_secret('twice')")
{
	my ($first, $second) = map { FloTest::Session->new($source, 'postgres') } 1 .. 2;
	$first->query(q{SET ROLE nosy; BEGIN; SELECT flo.set_secret('twice', replace => true)});
	$second->send("SET ROLE sly; SELECT 'until here'; SELECT $act");
	wait_until($source, 'postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE NOT granted}, 'the other to wait') or die;
	$first->query('COMMIT');
	$second->result;
	like($second->{err}, qr/permission denied for secret "twice"/, "nor are those changed that come meanwhile: $act");
	$_->close for $first, $second;
}
is(src(q{SELECT value LIKE '%sly%', owner FROM flo.named_secrets WHERE name = 'twice'}),
	'f|nosy', 'it stays whose it is');

$_->stop for $source, $dest;
done_testing();
