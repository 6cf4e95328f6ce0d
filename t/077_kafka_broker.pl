
# Events in topics of Kafka, each of them exactly once whatever dies: with a real
# broker, by "make test-kafka".

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloKafka;
use FloTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'make test-kafka runs it, with a broker' if !$ENV{FLO_KAFKA};

my $kafka = FloKafka->new;
my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

$source->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)');
create_group($source, undef, 'g');
create_event_worker($dest, 'g', 'kafka', 'k', { brokers => $kafka->brokers });
$source->safe_psql('postgres', q{INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 1000) i});
wait_caught_up($source, $dest, 'g', member => 'k');
are_exactly([ $kafka->events('g.public.t') ], 1000, 'events of a table are in its topic');
done_testing();
