
# A worker that fires triggers, and tables with foreign keys: copied rows come in
# any order and fire nothing, the keys are checked once when all are in.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

# A ring, a table that refers to itself, partitions on both ends, a cascade
my $tables = q{
	CREATE TABLE a (id int PRIMARY KEY, b int);
	CREATE TABLE b (id int PRIMARY KEY, a int);
	CREATE TABLE self (id int PRIMARY KEY, boss int);
	CREATE TABLE part (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (1000);
	CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (1000) TO (9000);
	CREATE TABLE leaf (id int PRIMARY KEY, part int);
};
my $keys = q{
	ALTER TABLE a ADD CONSTRAINT a_b FOREIGN KEY (b) REFERENCES b;
	ALTER TABLE b ADD CONSTRAINT b_a FOREIGN KEY (a) REFERENCES a ON DELETE CASCADE;
	ALTER TABLE self ADD CONSTRAINT self_boss FOREIGN KEY (boss) REFERENCES self ON DELETE CASCADE;
	ALTER TABLE part ADD CONSTRAINT part_self FOREIGN KEY (id) REFERENCES self;
	ALTER TABLE leaf ADD CONSTRAINT leaf_part FOREIGN KEY (part) REFERENCES part ON DELETE CASCADE;
};
$_->safe_psql('postgres', $tables) for $source, $dest;
$source->safe_psql('postgres', q{
	INSERT INTO a SELECT g, 4001 - g FROM generate_series(1, 4000) g;
	INSERT INTO b SELECT g, 4001 - g FROM generate_series(1, 4000) g;
	INSERT INTO self SELECT g, 4001 - g FROM generate_series(1, 4000) g;
	INSERT INTO part SELECT g, 'v' FROM generate_series(1, 4000) g;
	INSERT INTO leaf SELECT g, 4001 - g FROM generate_series(1, 4000) g;
});
$_->safe_psql('postgres', $keys) for $source, $dest;
$dest->safe_psql('postgres', q{
	CREATE TABLE fired (what text);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN INSERT INTO public.fired VALUES (TG_TABLE_NAME || TG_OP); RETURN NEW; END';
	CREATE TRIGGER note BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION note();
	CREATE TRIGGER note_all AFTER INSERT OR DELETE OR TRUNCATE ON leaf EXECUTE FUNCTION note();
	CREATE TABLE town (id int PRIMARY KEY);
	INSERT INTO town SELECT g FROM generate_series(1, 3999) g;
	ALTER TABLE leaf ADD CONSTRAINT leaf_town FOREIGN KEY (id) REFERENCES town;
	CREATE TABLE empty (id int PRIMARY KEY);
	ALTER TABLE a ADD CONSTRAINT a_empty FOREIGN KEY (id) REFERENCES empty NOT VALID;
	ALTER TABLE b ADD CONSTRAINT b_empty FOREIGN KEY (id) REFERENCES empty;
	ALTER TABLE b DISABLE TRIGGER ALL;
});
sub same { is_same_table($source, $dest, $_, "$_[0]: $_") for qw(a b self part leaf); }
sub fired { return $dest->safe_psql('postgres', 'SELECT count(*) FROM fired'); }

# --- the initial copy, and a key that does not hold -------------------------------------------

create_copy_group($source, $dest, 'g', tables => q{'{public.a,public.b,public.self,public.part,public.leaf}'},
	worker_options => q{'{"fire_triggers": true, "loaders": 4}'}, wait => 0);
wait_until($dest, 'postgres',
	q{SELECT EXISTS (SELECT FROM flo.status WHERE state = 'backoff'
	AND last_error ~ 'violates foreign key constraint "leaf_town"')}, 'the violation') or die;
like(status_of($dest, 'g', 'postgres', 'last_error'), qr/check of foreign key "leaf_town" after the copy/,
	'the constraint that does not hold is named, and what was done');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM leaf'), 4000, 'with all rows there');
is($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '"
	  . $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()') . "', '0 s')"), 'f', 'but not for wait_for');
$dest->safe_psql('postgres', 'INSERT INTO town VALUES (4000)');
wait_state($dest, 'g', 'postgres', 'streaming');
wait_caught_up($source, $dest, 'g');
same('once it holds the copy is in');
is(fired(), 0, 'no trigger has fired for copied rows');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM flo.unchecked_tables'), 0, 'nothing is left to be checked');

# Streamed rows do fire, and are looked at
$dest->safe_psql('postgres', 'ALTER TABLE a DROP CONSTRAINT a_empty; ALTER TABLE b DROP CONSTRAINT b_empty;
	ALTER TABLE b ENABLE TRIGGER ALL; INSERT INTO town SELECT generate_series(5001, 5100)');
$source->safe_psql('postgres', q{INSERT INTO a VALUES (5001, 1); INSERT INTO self VALUES (5001, 1);
	INSERT INTO part VALUES (5001, 'x'); INSERT INTO leaf VALUES (5001, 5001)});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT string_agg(what, ',' ORDER BY what) FROM fired}), 'aINSERT,leafINSERT',
	'triggers fire for streamed rows');
same('then the stream');

# --- copied afresh ------------------------------------------------------------------------------

# What refers to a table that is emptied stays, cascade or not
$source->safe_psql('postgres', "SELECT flo.resync('g', '$_')") for qw(self part);
wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the copy') or die;
wait_caught_up($source, $dest, 'g');
same('single tables afresh');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the copy') or die;
wait_caught_up($source, $dest, 'g');
same('all tables afresh');
is(fired(), 2, 'without triggers');

# --- broken off: tables that come later, with rows of the stream between -------------------------

my $dest2 = flo_node('dest2', $nats);
$dest2->safe_psql('postgres', "$tables $keys");
$source->safe_psql('postgres', q{SELECT flo.drop_replicator('g', purge_stream => true)});
$dest->stop('fast');
halt_at($source, 'range.after:3');
create_copy_group($source, $dest2, 'h', tables => q{'{public.a,public.b,public.self,public.part,public.leaf}'},
	worker_options => q{'{"fire_triggers": true, "loaders": 4}'}, copy_workers => 1, wait => 0);
await_halt($source, 'the third range');
my $checkpointer = $source->safe_psql('postgres',
	q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'});
kill('KILL', helper_pid($source, 'copier h'));
wait_until($source, 'postgres', "SELECT pid <> $checkpointer FROM pg_stat_activity WHERE backend_type = 'checkpointer'",
	'the source to begin anew') or die;
$source->safe_psql('postgres', q{INSERT INTO self VALUES (6001, 6001); INSERT INTO part VALUES (6001, 'y');
	INSERT INTO leaf VALUES (6001, 6001); INSERT INTO a VALUES (6001, NULL); INSERT INTO b VALUES (6001, 6001);
	UPDATE a SET b = 6001 WHERE id = 6001});
wait_state($source, 'h', 'replicator', 'streaming');
wait_state($dest2, 'h', 'postgres', 'streaming');
wait_caught_up($source, $dest2, 'h');
is_same_table($source, $dest2, $_, "after a crash of the source: $_") for qw(a b self part leaf);

# --- rows of the stream that refer to rows which come with a copy ---------------------------------

$dest2->safe_psql('postgres', q{CREATE TABLE fired (what text); CREATE TABLE apart (id int PRIMARY KEY);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN INSERT INTO public.fired VALUES (TG_TABLE_NAME || NEW.id); RETURN NEW; END';
	CREATE TRIGGER note AFTER INSERT ON apart FOR EACH ROW EXECUTE FUNCTION note();
	CREATE TRIGGER note AFTER INSERT ON leaf FOR EACH ROW EXECUTE FUNCTION note()});
$source->safe_psql('postgres', q{CREATE TABLE apart (id int PRIMARY KEY);
	SELECT flo.add_table('h', 'apart', copy => false)});
wait_caught_up($source, $dest2, 'h');
my $open = FloTest::Session->new($source);
$open->query('BEGIN; INSERT INTO apart VALUES (1)');
$source->safe_psql('postgres', q{SELECT flo.resync('h', 'part')});
wait_until($source, 'postgres', q{SELECT detail ~ 'write transactions' FROM flo.status}, 'the snapshot to wait') or die;
$source->safe_psql('postgres', q{INSERT INTO self VALUES (7001, 7001); INSERT INTO part VALUES (7001, 'z');
	INSERT INTO leaf VALUES (7001, 7001); INSERT INTO apart VALUES (7001)});
$open->query('COMMIT');
$open->close;
wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the copy') or die;
wait_caught_up($source, $dest2, 'h');
is_same_table($source, $dest2, $_, "a copy of what others refer to: $_") for qw(a b self part leaf apart);
is($dest2->safe_psql('postgres', q{SELECT string_agg(what, ',' ORDER BY what) FROM fired}), 'apart1,apart7001',
	'triggers of tables without keys have fired meanwhile');
$source->safe_psql('postgres', 'INSERT INTO leaf VALUES (7002, 7001)');
wait_caught_up($source, $dest2, 'h');
is($dest2->safe_psql('postgres', q{SELECT count(*) FROM fired WHERE what = 'leaf7002'}), 1, 'afterwards all do');

# --- a copy that is withdrawn: the keys are checked all the same ----------------------------------

$open = FloTest::Session->new($source);
$open->query('BEGIN; INSERT INTO apart VALUES (2)');
$source->safe_psql('postgres', q{SELECT flo.resync('h', 'part')});
wait_until($source, 'postgres', q{SELECT detail ~ 'write transactions' FROM flo.status}, 'the snapshot to wait') or die;
$source->safe_psql('postgres', q{INSERT INTO self VALUES (8001, 8001); INSERT INTO part VALUES (8001, 'z');
	INSERT INTO leaf VALUES (8001, 8001)});
# so that the snapshot is never taken
my $replicator = pid_of($source, 'h', 'replicator');
$source->safe_psql('postgres', q{SELECT flo.remove_table('h', 'part')});
kill('TERM', $replicator);
wait_other_pid($source, 'h', 'replicator', $replicator);
$open->query('COMMIT');
$open->close;
ok(wait_until($dest2, 'postgres',
	q{SELECT EXISTS (SELECT FROM flo.status WHERE state = 'backoff'
	AND last_error ~ 'violates foreign key constraint "leaf_part"')}, 'the violation'),
	'a row that refers to one of a copy which was withdrawn is noticed');
is($dest2->safe_psql('postgres', 'SELECT count(*) FROM leaf WHERE id = 8001'), 1, 'it had gone in without');
$dest2->safe_psql('postgres', q{INSERT INTO part VALUES (8001, 'z')});
wait_state($dest2, 'h', 'postgres', 'streaming');
wait_caught_up($source, $dest2, 'h');
is($dest2->safe_psql('postgres', 'SELECT count(*) FROM flo.unchecked_tables'), 0, 'nothing is left to be checked');
$source->safe_psql('postgres', q{INSERT INTO self VALUES (8002, 8002); INSERT INTO part VALUES (8002, 'not sent');
	INSERT INTO leaf VALUES (8002, 8002)});
ok(wait_until($dest2, 'postgres',
	q{SELECT EXISTS (SELECT FROM flo.status WHERE state = 'backoff' AND last_error ~ 'leaf_part')},
	'the next violation'), 'and triggers fire again');

$_->stop('fast') for $source, $dest2;
done_testing();
