
# DDL of tables that routes lead elsewhere, under other names and with other
# columns; and indexes without a name, built once whatever happens.

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

sub run { $source->safe_psql('postgres', $_) for @_; }
sub caught_up { wait_caught_up($source, $dest, 'g'); }
sub at_dest { return $dest->safe_psql('postgres', $_[0]); }

sub columns_of
{
	my ($table) = @_;
	return at_dest(qq{
		SELECT string_agg(format('%s %s%s%s', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull
			THEN ' not null' END, ' ' || pg_get_expr(adbin, adrelid)), ', ' ORDER BY attnum)
		  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		 WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped});
}

$source->safe_psql('postgres', q{
	CREATE TABLE mapped (id int PRIMARY KEY, v text, secret text, n int);
	CREATE TABLE referrer (id int PRIMARY KEY, m int, v text);
	CREATE TABLE plain (id int PRIMARY KEY, v text);
});
$dest->safe_psql('postgres', q{
	CREATE SCHEMA there;
	CREATE TABLE there.target (id int PRIMARY KEY, w text, n int);
	CREATE TABLE public.pointing (ident int PRIMARY KEY, m int, v text);
	CREATE TABLE plain (id int PRIMARY KEY, v text);
});
run(q{SELECT flo.create_replicator('g', track_ddl => true)});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{
	SELECT flo.create_worker('g', options => '{"ddl_trust": "source"}');
	INSERT INTO flo.routes (id, group_name, source_table, destination_schema, destination_table, column_mappings)
		OVERRIDING SYSTEM VALUE VALUES
		(101, 'g', 'mapped', 'there', 'target', '{"v": "w", "secret": null, "later": "mellom"}'),
		(102, 'g', 'referrer', 'public', 'pointing', '{"id": "ident"}'),
		(103, 'g', 'future', 'there', 'coming', '{"a": "x", "b": null}');
});
start_member($dest, 'g', 'postgres');
run(q{INSERT INTO referrer VALUES (1, 1, 'r')});
caught_up();

# --- ALTER TABLE ---------------------------------------------------------------------------

# a column that a route names has to be there when the first row comes
run(q{ALTER TABLE mapped ADD later int NOT NULL DEFAULT 5, ADD other text},
	q{INSERT INTO mapped VALUES (1, 'one', 's', 1), (2, 'two', 's', 2)},
	q{INSERT INTO mapped VALUES (3, 'three', 's', 3, 6, 'o')},
	q{ALTER TABLE mapped ALTER later TYPE bigint USING later + length(v), ALTER secret SET DEFAULT 'x', }
	  . q{ALTER v SET DEFAULT 'd'},
	q{ALTER TABLE mapped ADD g int GENERATED ALWAYS AS (n * 2) STORED, ALTER v SET NOT NULL, ALTER v SET STATISTICS 50},
	q{INSERT INTO mapped (id, secret, n) VALUES (4, 't', 4)},
	q{ALTER TABLE mapped RENAME other TO another},
	q{ALTER TABLE mapped ADD CONSTRAINT v_long CHECK (length(v) > 0 AND mapped.later > 0)},
	q{ALTER TABLE mapped ADD CONSTRAINT secret_ok CHECK (secret <> v)},
	q{ALTER TABLE mapped ADD CONSTRAINT both_unique UNIQUE (v, n)},
	q{CREATE INDEX by_v ON mapped (lower(v), n DESC) INCLUDE (later) WHERE v <> 'x'},
	q{CREATE INDEX by_secret ON mapped (secret)},
	q{CREATE INDEX CONCURRENTLY by_later ON mapped (later)},
	q{CREATE INDEX CONCURRENTLY by_secret_c ON mapped (id, secret)},
	q{CREATE STATISTICS stats ON v, n FROM mapped},
	q{COMMENT ON COLUMN mapped.v IS 'the v'}, q{COMMENT ON COLUMN mapped.secret IS 'the secret'},
	q{CREATE SEQUENCE owned OWNED BY mapped.v},
	q{CREATE SEQUENCE referrer_seq; ALTER SEQUENCE referrer_seq OWNED BY referrer.id},
	q{ALTER TABLE mapped DROP secret},
	q{INSERT INTO mapped (id, v, n, later) VALUES (5, 'five', 5, 7)});
# a column that the route names is no more: the next row of the table stops, until the route is right
ok(wait_until($dest, 'postgres', q{SELECT last_error ~* 'route 101' FROM flo.status WHERE group_name = 'g'},
	'the route to fail'), 'a route that names a column that is no more');
at_dest(q{UPDATE flo.routes SET column_mappings = column_mappings - 'secret' WHERE id = 101});
caught_up();
my $columns = q{id integer not null, w text not null 'd'::text, n integer, mellom bigint not null 5, }
  . 'another text, g integer (n * 2)';
is(columns_of('there.target'), $columns, 'columns');
is(at_dest('SELECT id, w, n, mellom, another, g FROM there.target ORDER BY id'),
	$source->safe_psql('postgres', 'SELECT id, v, n, later, another, g FROM mapped ORDER BY id'), 'rows');
is(at_dest(q{SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
	WHERE conrelid = 'there.target'::regclass AND contype <> 'n' ORDER BY 1}), join("\n",
	'both_unique|UNIQUE (w, n)', 'target_pkey|PRIMARY KEY (id)', q{v_long|CHECK (((length(w) > 0) AND (mellom > 0)))}),
	'constraints');
is(at_dest(q{SELECT indexname, regexp_replace(indexdef, '.* USING ', '') FROM pg_indexes
	WHERE schemaname = 'there' AND indexname ~ '^by_' ORDER BY 1}), join("\n",
	'by_later|btree (mellom)', q{by_v|btree (lower(w), n DESC) INCLUDE (mellom) WHERE (w <> 'x'::text)}), 'indexes');
is(at_dest(q{SELECT stxrelid::regclass, stxkeys FROM pg_statistic_ext}), 'there.target|2 3', 'statistics');
is(at_dest(q{SELECT col_description('there.target'::regclass, 2)}), 'the v', 'comments');
is(at_dest(q{SELECT to_regclass('owned') IS NOT NULL, pg_get_serial_sequence('there.target', 'w')}), 't|',
	'a sequence cannot be owned from another schema');
is(at_dest(q{SELECT pg_get_serial_sequence('pointing', 'ident')}), 'public.referrer_seq', 'an owned sequence');
is(at_dest(q{SELECT tag, detail FROM flo.ddl_log WHERE outcome = 'ignored' ORDER BY id}), join("\n",
	'ALTER TABLE|a part is not run: a route leaves column "secret" out',
	'CREATE INDEX|not run: a route leaves column "secret" out',
	'CREATE INDEX|not run: a route leaves column "secret" out',
	'COMMENT|not run: a route leaves column "secret" out',
	'ALTER TABLE|a part is not run: a route leaves column "secret" out'), 'what concerns a column that is left out');
is(at_dest(q{SELECT detail FROM flo.ddl_log WHERE outcome = 'applied' AND detail IS NOT NULL}),
	'a part is not run: a route leaves column "secret" out', '... or a part of it');

# the route's own name stays; the route has to follow
run(q{ALTER TABLE mapped RENAME v TO vv}, q{INSERT INTO mapped (id, vv, n) VALUES (6, 'six', 6)});
ok(wait_until($dest, 'postgres', q{SELECT last_error ~* 'route 101' FROM flo.status WHERE group_name = 'g'},
	'the route to fail'), 'a renamed column stops the next row');
at_dest(q{UPDATE flo.routes SET column_mappings = column_mappings - 'v' || '{"vv": "w"}' WHERE id = 101});
caught_up();
is(at_dest('SELECT w FROM there.target WHERE id = 6'), 'six', 'and goes on with the route');

# --- other tables ------------------------------------------------------------------------------

run(q{ALTER TABLE referrer ADD CONSTRAINT ref FOREIGN KEY (m) REFERENCES mapped},
	q{ALTER TABLE plain ADD r int REFERENCES referrer (id)},
	q{CREATE TABLE future (a int PRIMARY KEY, b text, c text DEFAULT 'c', CHECK (a > 0), CHECK (b <> c))},
	q{INSERT INTO future VALUES (1, 'b', 'c')},
	q{ALTER TABLE future ADD UNIQUE (b), ADD UNIQUE (c)});
caught_up();
is(at_dest(q{SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
	WHERE contype = 'f' AND connamespace <> 'flo'::regnamespace ORDER BY 1}), join("\n",
	'plain_r_fkey|FOREIGN KEY (r) REFERENCES pointing(ident)', 'ref|FOREIGN KEY (m) REFERENCES there.target(id)'),
	'foreign keys follow routes');
is(columns_of('there.coming'), q{x integer not null, c text 'c'::text}, 'a new table is made as its route has it');
is(at_dest('SELECT * FROM there.coming'), '1|c', 'and gets its rows');
is(at_dest(q{SELECT count(*) FROM pg_constraint WHERE conrelid = 'there.coming'::regclass AND contype <> 'n'}), '3',
	'without what needs the missing column');

# --- what has to be decided by a person ------------------------------------------------------

for my $case (
	[ 'ALTER TABLE mapped ADD CONSTRAINT whole CHECK (mapped IS DISTINCT FROM NULL)', 'row as a whole' ],
	[ 'CREATE POLICY p ON mapped USING (n > 0)', 'cannot be seen' ],
	[ 'ALTER TABLE mapped RENAME TO unmapped', 'names the table as it was' ])
{
	my ($sql, $reason) = @$case;
	run($sql);
	ok(wait_until($dest, 'postgres', qq{SELECT count(*) = 1 FROM flo.pending_ddl WHERE reason ~ 'route 101 .*$reason'},
		$sql), "held: $sql");
	at_dest('SELECT flo.skip_ddl(id) FROM flo.pending_ddl');
	caught_up();
}
is(at_dest(q{SELECT count(*) FROM flo.pending_ddl}), '0', 'nothing else was held');

# several tables that are one here: nothing that one of them does alone may take it from the others
run(q{CREATE TABLE one (id int PRIMARY KEY, v text)}, q{CREATE TABLE two (id int PRIMARY KEY, v text)});
caught_up();
at_dest(q{CREATE TABLE there.shared (id int PRIMARY KEY, v text);
	INSERT INTO flo.routes (group_name, source_table, destination_schema, destination_table, operations)
	VALUES ('g', 'one', 'there', 'shared', '{INSERT,UPDATE,DELETE}'),
		('g', 'two', 'there', 'shared', '{INSERT,UPDATE,DELETE}')});
run(q{INSERT INTO one VALUES (1, '1')}, q{INSERT INTO two VALUES (2, '2')}, q{ALTER TABLE one ADD w int DEFAULT 3},
	q{ALTER TABLE two ADD w int DEFAULT 3});
for my $sql ('ALTER TABLE one DROP v', 'DROP TABLE one')
{
	run($sql);
	ok(wait_until($dest, 'postgres', q{SELECT count(*) = 1 FROM flo.pending_ddl WHERE reason ~ 'other tables'}, $sql),
		"held: $sql");
	at_dest('SELECT flo.skip_ddl(id) FROM flo.pending_ddl');
}
caught_up();
is(at_dest('SELECT string_agg(s::text, chr(32) ORDER BY id) FROM there.shared s'), '(1,1,3) (2,2,3)',
	'tables that share their destination');

# --- CREATE INDEX CONCURRENTLY without a name --------------------------------------------------

# built, and not recorded
halt_at($dest, 'concurrent.after');
run(q{CREATE INDEX CONCURRENTLY ON plain (v, id)}, q{INSERT INTO plain (id) VALUES (1)});
ok(await_halt($dest, 'the end of the index'), 'the worker halts between the index and its record');
is(at_dest(q{SELECT count(*), bool_and(indisvalid) FROM pg_index
	WHERE indrelid = 'plain'::regclass AND NOT indisprimary}), '1|t', 'the index is there');
is(at_dest(q{SELECT count(*) FROM flo.ddl_log WHERE command ~ 'plain \(v, id\)'}), '0', 'and not recorded');
kill9_member($dest, 'g', 'postgres');
caught_up();
is(at_dest(q{SELECT count(*), bool_and(indisvalid), min(indexrelid::regclass::text) FROM pg_index
	WHERE indrelid = 'plain'::regclass AND NOT indisprimary}), '1|t|plain_v_id_idx', 'it is not built again');
is(at_dest(q{SELECT outcome, detail FROM flo.ddl_log WHERE command ~ 'plain \(v, id\)'}),
	'applied|index "plain_v_id_idx" exists already', 'recorded once');

# cut short: what is left is invalid, and goes
my $holder = FloTest::Session->new($dest);
$holder->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
$holder->query('SELECT count(*) FROM plain');
run(q{CREATE UNIQUE INDEX CONCURRENTLY ON plain (id, v)}, q{INSERT INTO plain (id) VALUES (2)});
ok(wait_until($dest, 'postgres', q{SELECT NOT indisvalid FROM pg_index
	WHERE indexrelid = to_regclass('plain_id_v_idx')}, 'the index'), 'an index is being built');
kill9_member($dest, 'g', 'postgres');
eval { $holder->close };
caught_up();
is(at_dest(q{SELECT string_agg(indexrelid::regclass::text || ' ' || indisvalid, ', ' ORDER BY 1) FROM pg_index
	WHERE indrelid = 'plain'::regclass AND indexrelid::regclass::text ~ 'id_v'}), 'plain_id_v_idx true',
	'one index, a valid one');

# the name is taken at the source: the one chosen there is used here
run(q{CREATE INDEX plain_r_idx ON future (a)}, q{CREATE INDEX CONCURRENTLY ON plain (r)},
	q{INSERT INTO plain (id) VALUES (3)});
caught_up();
is(at_dest(q{SELECT string_agg(indexname, ', ') FROM pg_indexes WHERE tablename = 'plain' AND indexdef ~ '\(r\)'}),
	'plain_r_idx1', 'the name that the source has chosen');
run(q{DROP INDEX CONCURRENTLY plain_r_idx1});
caught_up();
is(at_dest(q{SELECT to_regclass('plain_r_idx1') IS NULL}), 't', 'by which it is dropped');

done_testing();
