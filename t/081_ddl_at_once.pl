
# Several commands of one ALTER TABLE or ALTER TYPE, in which one takes away what
# the next one makes again; and partitions that go at the source, where the
# destination has others or none.

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
my $db = 'postgres';
my $pending = q{FROM flo.pending_ddl WHERE decision IS NULL};
my $constraints = q{SELECT string_agg(concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid),
	convalidated), E'\n' ORDER BY conrelid::regclass::text, conname)
	FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
		AND conrelid::regclass::text !~ '^ev'};
my $columns = q{SELECT string_agg(concat_ws(' ', attrelid::regclass, attname, format_type(atttypid, atttypmod),
	pg_get_expr(adbin, adrelid)), E'\n' ORDER BY attrelid::regclass::text, attname)
	FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		WHERE attrelid IN ('t'::regclass, 'u'::regclass, 'c'::regclass) AND attnum > 0 AND NOT attisdropped};

sub both { my ($sql) = @_; $_->safe_psql($db, $sql) for $source, $dest; }

sub held
{
	my ($what, $reason, $then) = @_;
	wait_until($dest, $db, "SELECT count(*) = 1 $pending", "held: $what") or return fail("held: $what");
	like($dest->safe_psql($db, "SELECT reason $pending"), $reason, "held: $what");
	$dest->safe_psql($db, $then) if $then;
	return $dest->safe_psql($db, "SELECT flo.skip_ddl(id) $pending");
}

# --- the same name again --------------------------------------------------------------------------

both(q{
	CREATE TABLE t (id int PRIMARY KEY, v int, p int, CONSTRAINT v_ok CHECK (v > 0),
		CONSTRAINT p_fk FOREIGN KEY (p) REFERENCES t, CONSTRAINT v_u UNIQUE (v));
	CREATE TABLE u (id int PRIMARY KEY, name text NOT NULL);
	CREATE TABLE there (id int PRIMARY KEY, a int);
	CREATE TABLE ev (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
});
$source->safe_psql($db, q{
	CREATE TABLE ev_1 PARTITION OF ev FOR VALUES IN (1); CREATE TABLE ev_2 PARTITION OF ev FOR VALUES IN (2);
	CREATE TABLE ev_3 PARTITION OF ev FOR VALUES IN (3);
	CREATE TABLE ev_4 PARTITION OF ev FOR VALUES IN (4)});
$dest->safe_psql($db, q{CREATE TABLE ev_2 PARTITION OF ev FOR VALUES IN (2, 1);
	CREATE TABLE ev_rest PARTITION OF ev DEFAULT; CREATE TABLE ev_4 PARTITION OF ev FOR VALUES IN (4)});
$dest->safe_psql($db, q{ALTER TABLE there ADD b text NOT NULL DEFAULT 'x'});
$source->safe_psql($db, q{ALTER TABLE there ADD b text NOT NULL DEFAULT 'x';
	ALTER TABLE there ALTER b SET DEFAULT 'y'});
$source->safe_psql($db, q{SELECT flo.create_replicator('g', schemas => '{public}', track_ddl => true);
	SELECT flo.start_group('g')});
$dest->safe_psql($db, q{SELECT flo.create_worker('g'); SELECT flo.start_group('g')});
wait_state($source, 'g', 'replicator', 'streaming');
wait_state($dest, 'g', $db, 'streaming');
$source->safe_psql($db, q{INSERT INTO t VALUES (1, 1, 1), (2, 2, 1); INSERT INTO u VALUES (1, 'one');
	INSERT INTO ev VALUES (1, 1), (2, 2), (3, 3), (4, 4)});

for my $sql (
	q{CREATE UNIQUE INDEX CONCURRENTLY u_new ON u (id, name)},
	q{ALTER TABLE u DROP CONSTRAINT u_pkey, ADD CONSTRAINT u_pkey PRIMARY KEY USING INDEX u_new},
	q{ALTER TABLE u DROP CONSTRAINT u_pkey, ADD PRIMARY KEY (id)},
	q{ALTER TABLE t DROP CONSTRAINT p_fk, ADD CONSTRAINT p_fk FOREIGN KEY (p) REFERENCES t (id)},
	q{ALTER TABLE t DROP CONSTRAINT p_fk, ADD CONSTRAINT p_fk FOREIGN KEY (p) REFERENCES t (id) ON DELETE CASCADE},
	q{ALTER TABLE t DROP CONSTRAINT v_u, ADD CONSTRAINT v_u UNIQUE (v) INCLUDE (p)},
	q{ALTER TABLE t DROP CONSTRAINT v_u, ADD CONSTRAINT v_u UNIQUE (v) DEFERRABLE INITIALLY DEFERRED},
	q{ALTER TABLE t DROP CONSTRAINT IF EXISTS v_ok, ADD CONSTRAINT v_ok CHECK (v > 0) NOT VALID, }
	  . q{DROP CONSTRAINT IF EXISTS none},
	q{ALTER TABLE t DROP CONSTRAINT v_ok, ADD CONSTRAINT v_ok CHECK (v > -1)},
	q{ALTER TABLE t DROP CONSTRAINT t_pkey CASCADE, ADD CONSTRAINT t_pkey PRIMARY KEY (id), }
	  . q{ADD CONSTRAINT p_fk FOREIGN KEY (p) REFERENCES t (id) ON DELETE SET NULL},
	q{ALTER TABLE t DROP COLUMN v, ADD COLUMN v int},
	q{ALTER TABLE t DROP COLUMN v, ADD COLUMN v int DEFAULT 77, ADD CONSTRAINT v_u UNIQUE (id, v)},
	q{ALTER TABLE t ADD w int, ADD CONSTRAINT w_u UNIQUE (w, id)},
	q{ALTER TABLE t ADD CONSTRAINT v_ok CHECK (v > 0), DROP COLUMN w, ADD COLUMN w text, }
	  . q{ADD CONSTRAINT w_u UNIQUE (w, id)},
	q{CREATE TYPE c AS (a int, b text)}, q{ALTER TYPE c DROP ATTRIBUTE a, ADD ATTRIBUTE a bigint},
	q{ALTER TABLE there ADD COLUMN IF NOT EXISTS b text, ADD COLUMN c int})
{
	$source->safe_psql($db, $sql);
}
$source->safe_psql($db, q{INSERT INTO t (id, p) VALUES (3, 1); INSERT INTO u VALUES (2, 'two')});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql($db, $constraints), $source->safe_psql($db, $constraints), 'constraints are the same');
is($dest->safe_psql($db, $columns), $source->safe_psql($db, $columns), 'columns are the same');
is_same_table($source, $dest, $_) for qw(t u there);

# what a constraint says besides its columns
for my $case (
	[ q{ALTER TABLE there ADD CONSTRAINT k UNIQUE (a)}, q{ALTER TABLE there ADD CONSTRAINT k UNIQUE (a) INCLUDE (b)} ],
	[ q{ALTER TABLE there ADD CONSTRAINT k UNIQUE (a)}, q{ALTER TABLE there ADD CONSTRAINT k UNIQUE (a) DEFERRABLE} ],
	[ q{ALTER TABLE there ADD CONSTRAINT k CHECK (a > 0) NOT VALID},
		q{ALTER TABLE there ADD CONSTRAINT k CHECK (a > 0)} ])
{
	$dest->safe_psql($db, $case->[0]);
	$source->safe_psql($db, $case->[1]);
	wait_until($dest, $db, q{SELECT last_error ~ 'another constraint of this name' FROM flo.status
		WHERE state = 'backoff'}, $case->[1]);
	$dest->safe_psql($db, 'ALTER TABLE there DROP CONSTRAINT k');
	wait_caught_up($source, $dest, 'g');
	is($dest->safe_psql($db, $constraints), $source->safe_psql($db, $constraints),
		"not taken for the same: $case->[1]");
	$source->safe_psql($db, 'ALTER TABLE there DROP CONSTRAINT k');
}
wait_caught_up($source, $dest, 'g');

# --- partitions -----------------------------------------------------------------------------------

$source->safe_psql($db, 'ALTER TABLE ev DETACH PARTITION ev_3');
held('detach of one that is not here', qr/partition ev_3 of ev is not here: its rows are elsewhere/,
	'DELETE FROM ev WHERE k = 3');
$source->safe_psql($db, 'ALTER TABLE ev DETACH PARTITION ev_2');
held('detach of one with other rows', qr/partition ev_2 of ev does not provably hold the same rows/,
	'DELETE FROM ev WHERE k = 2');
$source->safe_psql($db, 'DROP TABLE ev_1');
held('drop of one that is not here', qr/partition ev_1 of ev is not here/, 'DELETE FROM ev WHERE k = 1');
$source->safe_psql($db, 'DROP TABLE ev_4');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql($db, q{SELECT to_regclass('ev_4') IS NULL}), 't', 'one with the same rows is dropped');
is_same_table($source, $dest, 'ev');
$source->safe_psql($db, q{CREATE TABLE ev_5 PARTITION OF ev FOR VALUES IN (5) PARTITION BY RANGE (id);
	CREATE TABLE ev_5a PARTITION OF ev_5 FOR VALUES FROM (0) TO (10); INSERT INTO ev VALUES (5, 5);
	ALTER TABLE ev_5 DETACH PARTITION ev_5a; DROP TABLE ev_5});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_) for qw(ev ev_5a);

$_->stop('fast') for $source, $dest;
done_testing();
