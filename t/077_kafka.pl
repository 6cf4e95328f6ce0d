
# The sink for Kafka as far as it goes without a broker: what is refused, and errors
# and outages that it gets over, with librdkafka's mock cluster.  That it is exactly
# once shows with a real broker alone: 077_kafka_broker.pl, "make test-kafka".

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloTest;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $nats = FloTest::Nats->new('broker');
my $dest = flo_node('dest', $nats);

sub refused
{
	my ($options, $pattern, $name) = @_;
	my $text = ref $options ? JSON::PP::encode_json($options) : $options;
	like(error_of($dest, "SELECT flo.create_worker('g', 'kafka', 'k', \$json\$$text\$json\$)"), $pattern, $name);
}

my $module = $dest->safe_psql('postgres', q{SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'});
$module .= '/pg_flo_kafka.so';
if (!-e $module)
{
	refused('{"brokers": "x"}',
		qr/^58P01: sink "kafka" needs the module pg_flo_kafka, which is not installed\nhint: .*librdkafka/,
		'without the module');
	diag('SKIPPED: the module pg_flo_kafka is not installed, so nothing else of it is tested');
	$dest->stop('fast');
	done_testing();
	exit;
}

# --- what is refused when it is set -----------------------------------------------------------

refused('{}', qr/^22023: .*needs the option "brokers"/, 'no brokers');
refused({ brokers => $_ }, qr/^22023: invalid value for option "brokers"/, "brokers: $_")
  for ',', 'a:b', 'a:0', 'a:65536', 'kafka://a', 'a b:1', 'u@a:1', '[::1', 'a:1;b:2', 'x' x 2001;
for my $topic ('{shema}', '{key}', '{', 'a b', 'ä', '..', 'x' x 250)
{
	refused({ brokers => 'a', topic => $topic }, qr/^22023: /, "topic $topic");
}
refused({ brokers => 'a', transactional_id => 'x' x 300 }, qr/^22023: /, 'transactional_id');
refused({ brokers => 'a', compression => 'lzma' }, qr/^22023: .*\nhint: Valid values are: none, gzip/, 'compression');
refused({ brokers => 'a', max_message_bytes => '1kB' }, qr/^22023: .*max_message_bytes/, 'max_message_bytes');
refused({ brokers => 'a', sasl_username => 'u' },
	qr/^22023: option "sasl_username" needs a security_protocol with sasl/, 'a user without SASL');
refused({ brokers => 'a', sasl_password => 'geheim' }, qr/^22023: (?!.*geheim)/s, 'a password without SASL');
refused({ brokers => 'a', security_protocol => 'sasl_ssl', sasl_username => 'u' }, qr/^22023: .*"sasl_password"/,
	'SASL without a password');
refused({ brokers => 'a', ssl_ca_file => '/dev/null' }, qr/^22023: .*needs a security_protocol with ssl/,
	'a CA without TLS');
refused({ brokers => 'a', security_protocol => 'ssl', ssl_ca_file => '/nowhere' }, qr/^22023: .*ssl_ca_file/,
	'a CA that is not there');
refused({ brokers => 'a', security_protocol => 'ssl', ssl_key_file => '/nowhere' }, qr/^22023: .*go together/,
	'a key alone');
refused({ brokers => 'a', on_error => 'dead_letter' }, qr/^22023: /, 'dead letters');

# Who is no superuser
my $rights = 'CREATE ROLE plain; GRANT USAGE ON SCHEMA flo TO plain;
	GRANT EXECUTE ON FUNCTION flo.create_worker TO plain; SET ROLE plain;';
sub refused_to_plain
{
	my ($brokers) = @_;
	return error_of($dest, "BEGIN; $rights SELECT flo.create_worker('g', 'kafka', 'k', '{\"brokers\": \"$brokers\"}')");
}
$dest->append_conf('postgresql.conf', "pg_flo.kafka_allow = 'one.example.com:9092, two.example.com:19092'\n");
$dest->reload;
is($dest->poll_query_until('postgres', q{SELECT current_setting('pg_flo.kafka_allow') <> ''}), 1,
	'the list is in force');
unlike(refused_to_plain($_), qr/must not send/, "$_ is allowed")
  for 'one.example.com', 'ONE.example.com:9092,two.example.com:19092';
like(refused_to_plain($_), qr/^42501: .*must not send events to broker/, "$_ is not")
  for 'one.example.com:19092', 'one.example.com,other:1', 'xone.example.com';

# --- the mock cluster ---------------------------------------------------------------------------

my $program = PostgreSQL::Test::Utils::tempdir() . '/mock_kafka';
my ($in, $out) = ('', '');
if (system("cc -o $program $FindBin::Bin/mock_kafka.c -lrdkafka 2>/dev/null") != 0)
{
	diag('SKIPPED: the mock cluster cannot be compiled here');
	$dest->stop('fast');
	done_testing();
	exit;
}
my $mock = IPC::Run::start([$program], '<', \$in, '>', \$out);
sub told { my $n = () = $out =~ /\n/g; return $n; }
sub order
{
	my ($line) = @_;
	my $before = told();
	$in .= "$line\n";
	await(sub { $mock->pump_nb; told() > $before }, "the mock cluster to obey $line") or die;
}
await(sub { $mock->pump_nb; told() > 0 }, 'the mock cluster') or die;
my ($brokers) = $out =~ /^(\S+)/;

my $source = flo_node('source', $nats);
$source->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)');
create_group($source, undef, 'g');
create_event_worker($dest, 'g', 'kafka', 'k', { brokers => $brokers, transaction_timeout => '10s' });
my $rows = 0;
sub goes_on
{
	my ($name) = @_;
	$source->safe_psql('postgres', "INSERT INTO t SELECT i, 'x' FROM generate_series($rows + 1, $rows + 100) i");
	$rows += 100;
	wait_caught_up($source, $dest, 'g', member => 'k');
	# what is counted is handed in a moment after the position
	wait_until($dest, 'postgres', "SELECT inserts >= $rows FROM flo.status WHERE member = 'k'", 'the counter');
	is(status_of($dest, 'g', 'k', 'inserts'), $rows, $name);
}
goes_on('events are sent');

# Produce 0, InitProducerId 22, AddPartitionsToTxn 24, EndTxn 26, TxnOffsetCommit 28
for my $error ([ 0, 7, 'a request that took too long' ], [ 0, 6, 'a leader that was another' ],
	[ 0, 19, 'too few replicas' ], [ 24, 51, 'a transaction that is being completed' ],
	[ 24, 14, 'a coordinator that loads' ],
	[ 28, 16, 'a coordinator that is another' ], [ 26, 15, 'a coordinator that is not there' ])
{
	order("errors $error->[0] 2 $error->[1]");
	goes_on($error->[2]);
}

# A message that is refused for good; the next process tries it again
order('errors 0 1 10');
goes_on('a message that is too large, once');
like(status_of($dest, 'g', 'k', 'last_error'), qr/topic "g\.public\.t".*too large/, 'was an error');
order('errors 22 1 53');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'k')});
wait_state($dest, 'g', 'k', 'stopped');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g', 'k')});
goes_on('not authorized, once');
like(status_of($dest, 'g', 'k', 'last_error'), qr/authorization/i, 'was an error');

# A topic that is not there
order('topic gone 3');
$dest->safe_psql('postgres', qq{SELECT flo.create_worker('g', 'kafka', 'gone',
	'{"brokers": "$brokers", "topic": "gone", "start": "latest"}'); SELECT flo.start_group('g', 'gone')});
wait_state($dest, 'g', 'gone', 'streaming');
goes_on('others do not mind');
wait_until($dest, 'postgres', q{SELECT last_error IS NOT NULL AND EXISTS (SELECT FROM flo.events e
	WHERE e.member = s.member AND sqlstate IS NOT NULL) FROM flo.status s WHERE member = 'gone'}, 'an error');
like(status_of($dest, 'g', 'gone', q{concat_ws(' / ', (SELECT max(sqlstate) FROM flo.events e
		WHERE e.member = status.member), last_error, last_hint)}),
	qr{^42704 / .*topic "gone".* / Create it}, 'a topic that is not there');
order('topic gone 0');
wait_caught_up($source, $dest, 'g', member => 'gone');
is(status_of($dest, 'g', 'gone', 'inserts'), 100, 'nothing was lost by it');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'gone')});

# A broker that is away
order('down');
$source->safe_psql('postgres', "INSERT INTO t SELECT i, 'x' FROM generate_series($rows + 1, $rows + 100) i");
$rows += 100;
wait_state($dest, 'g', 'k', 'waiting');
like(status_of($dest, 'g', 'k', 'detail'), qr/^for Kafka at \Q$brokers\E: /, 'says for whom');
my $began = time;
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'k')});
wait_state($dest, 'g', 'k', 'stopped');
cmp_ok(time - $began, '<', 10, 'it is stopped all the same');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g', 'k')});
wait_state($dest, 'g', 'k', 'waiting');
order('up');
goes_on('and goes on');

$mock->kill_kill;
$_->stop('fast') for $dest, $source;
done_testing();
