
# Which tables belong to a group: a table or schema is itself, not its name, and
# one joins when it can, whatever statement made that possible.

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

sub run { my $db = shift; $source->safe_psql($db, $_) for @_; }
sub here { my $db = shift; $dest->safe_psql($db, $_) for @_; }
sub count { my ($node, $db, $table) = @_; return $node->safe_psql($db, "SELECT count(*) FROM $table"); }

sub settled
{
	my ($group, $db) = @_;
	wait_until($source, $db, 'SELECT count(*) = 0 FROM flo.copy_requests', 'the copies to be in');
	wait_caught_up($source, $dest, $group, source_db => $db, dest_db => $db);
}

sub same
{
	my ($db, @tables) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_same_table($source, $dest, $_, "$_ is the same", $db) for @tables;
}

sub choice
{
	my ($db, $group) = @_;
	return $source->safe_psql($db, "SELECT tables, schemas, except_tables FROM flo.replicators
		WHERE group_name = '$group'");
}

# Everything that the stream holds of tables whose names match
sub in_stream
{
	my ($db, $group, $names) = @_;
	return $source->safe_psql($db, "SELECT count(*) FROM flo.peek('$group', 1000) WHERE event::text ~ '$names'");
}

for my $node ($source, $dest)
{
	for my $db ('tracked', 'whole', 'joins', 'keys', 'moves', 'lists')
	{
		$node->safe_psql('postgres', "CREATE DATABASE $db");
		$node->safe_psql($db, 'CREATE EXTENSION pg_flo');
	}
}

# --- identity, with definitions that travel -------------------------------------------------

run('tracked',
	'CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, v text)',
	q{CREATE TABLE app.secret (id int PRIMARY KEY, ssn text); INSERT INTO app.secret VALUES (1, 'ssn-1')},
	'CREATE TABLE app.vault (id int, k int, ssn text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)',
	'CREATE TABLE app.vault_1 PARTITION OF app.vault FOR VALUES IN (1)',
	'CREATE TABLE app.late (id int PRIMARY KEY, ssn text)',
	'CREATE TABLE app.cards (id int, k int, ssn text, PRIMARY KEY (id, k))',
	'CREATE TABLE app.root (id int, k int, ssn text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)',
	'CREATE TABLE app.root_1 PARTITION OF app.root FOR VALUES IN (1)',
	q{SELECT flo.create_replicator('g', schemas => '{app}', mode => 'copy_and_stream', sync_schema => true,
		track_ddl => true,
								   except_tables => '{app.secret,app.vault,app.late,app.cards}')});
here('tracked', q{SELECT flo.create_worker('g', options => '{"ddl_trust": "source"}')});
$source->safe_psql('tracked', q{SELECT flo.start_group('g')});
start_member($dest, 'g', 'postgres', 'tracked');
settled('g', 'tracked');

run('tracked',
	q{ALTER TABLE app.secret RENAME TO secrets; INSERT INTO app.secrets VALUES (2, 'ssn-2');
		ALTER TABLE app.secrets ADD w int; COMMENT ON TABLE app.secrets IS 'ssn'},
	q{ALTER TABLE app.vault RENAME TO safe; ALTER TABLE app.vault_1 RENAME TO safe_1;
		INSERT INTO app.safe VALUES (1, 1, 'ssn')},
	q{CREATE TABLE app.safe_2 PARTITION OF app.safe FOR VALUES IN (2); INSERT INTO app.safe VALUES (1, 2, 'ssn')},
	q{ALTER TABLE app.safe DETACH PARTITION app.safe_1;
		ALTER TABLE app.safe ATTACH PARTITION app.safe_1 FOR VALUES IN (1)},
	q{ALTER TABLE app.safe DETACH PARTITION app.safe_2; INSERT INTO app.safe_2 VALUES (2, 2, 'ssn');
		ALTER TABLE app.safe_2 ADD w int},
	q{BEGIN; CREATE TABLE app.safe_3 PARTITION OF app.safe FOR VALUES IN (3); INSERT INTO app.safe VALUES (1, 3, 'ssn');
		ALTER TABLE app.safe DETACH PARTITION app.safe_3; COMMIT});
is(choice('tracked', 'g'), '|{app}|{app.secrets,app.safe,app.late,app.cards,app.safe_1,app.safe_2,app.safe_3}',
	'names shown follow renames, and partitions that leave a table left out are left out');

# the schema: what is in it stays in the group, its new tables are, another of its old name is not
run('tracked',
	'ALTER SCHEMA app RENAME TO app2',
	q{CREATE TABLE app2.fresh (id int PRIMARY KEY, v text); INSERT INTO app2.fresh VALUES (1, 'fresh');
		INSERT INTO app2.t VALUES (1, 't')},
	q{CREATE SCHEMA app; CREATE TABLE app.stranger (id int PRIMARY KEY, ssn text);
		INSERT INTO app.stranger VALUES (1, 'ssn')},
	q{INSERT INTO app2.secrets VALUES (3, 'ssn-3'); ALTER TABLE app2.secrets ADD x int;
		ALTER TABLE app2.late RENAME COLUMN ssn TO number}, q{INSERT INTO app2.late VALUES (1, 'ssn')});
is(choice('tracked', 'g'), '|{app2}|{app2.secrets,app2.safe,app2.late,app2.cards,app2.safe_1,app2.safe_2,app2.safe_3}',
	'those of the schema, too');

# moved elsewhere and back; a new table of a name that was left out; dropped and made again
run('tracked',
	q{CREATE SCHEMA away; ALTER TABLE app2.secrets SET SCHEMA away; INSERT INTO away.secrets VALUES (4, 'ssn-4');
		ALTER TABLE away.secrets SET SCHEMA app2},
	q{CREATE TABLE app2.secret (id int PRIMARY KEY, v text)},
	q{DROP TABLE app2.late; CREATE TABLE app2.late (id int PRIMARY KEY, ssn text);
		INSERT INTO app2.late VALUES (2, 'ssn')},
	q{ALTER TABLE app2.late RENAME TO later; INSERT INTO app2.later VALUES (3, 'ssn')},
	q{CREATE TABLE app.late (id int CONSTRAINT moved_pk PRIMARY KEY, ssn text); ALTER TABLE app.late SET SCHEMA app2;
		INSERT INTO app2.late VALUES (3, 'ssn')});

# attached to a table of the group: the rows stay here, whatever is done through the root
run('tracked',
	q{INSERT INTO app2.cards VALUES (1, 2, 'ssn'); ALTER TABLE app2.root ATTACH PARTITION app2.cards FOR VALUES IN (2)},
	q{INSERT INTO app2.root VALUES (1, 1, 'open'), (2, 2, 'ssn'), (3, 1, 'open')},
	q{UPDATE app2.root SET k = 2, ssn = 'ssn' WHERE id = 3},
	q{UPDATE app2.root SET ssn = 'ssn' WHERE k = 2; DELETE FROM app2.root WHERE id = 2; TRUNCATE app2.cards;
		INSERT INTO app2.root VALUES (4, 2, 'ssn')});

# within one transaction: the name left behind is taken and filled at once, others are made of its parts
run('tracked',
	'ALTER TABLE app2.secrets RENAME TO secrets_of_all',
	q{BEGIN; ALTER TABLE app2.secrets_of_all RENAME TO secrets;
		CREATE TABLE app2.secrets_of_all (id int PRIMARY KEY, ssn text);
		INSERT INTO app2.secrets_of_all SELECT id, 'ssn-' || id FROM app2.secrets;
		ALTER TABLE app2.secrets_of_all RENAME TO secrets_new; COMMIT},
	q{INSERT INTO app2.secrets_new VALUES (9, 'ssn-9')},
	q{BEGIN; DROP TABLE app2.safe_2; CREATE TABLE app2.safe_2 (id int PRIMARY KEY, ssn text);
		INSERT INTO app2.safe_2 VALUES (1, 'ssn'); ALTER TABLE app2.safe_2 RENAME TO safe_4;
		INSERT INTO app2.safe_4 VALUES (2, 'ssn'); COMMIT},
	q{BEGIN; ALTER TABLE app2.safe DETACH PARTITION app2.safe_1; DROP TABLE app2.safe;
		ALTER TABLE app2.safe_1 RENAME TO safe_5; COMMIT; INSERT INTO app2.safe_5 VALUES (7, 1, 'ssn');
		ALTER TABLE app2.safe_5 ADD w int});
settled('g', 'tracked');
same('tracked', 'app2.t', 'app2.fresh', 'app2.root_1');
is($dest->safe_psql('tracked', q{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
	WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text ~ '^app|away'
	AND relname ~ 'secret|vault|safe|late|cards|stranger'}),
	'', 'nothing of what was left out has come');
is(in_stream('tracked', 'g', 'ssn-|: "ssn"'), '0', 'nor is anything of it in the stream');
run('tracked', q{SELECT flo.resync('g', 'app2.root')});
settled('g', 'tracked');
is(count($dest, 'tracked', 'app2.root'), '1', 'a copy leaves it out as well');
is($dest->safe_psql('tracked', q{SELECT state FROM flo.status WHERE member = 'postgres'}), 'streaming',
	'and nothing has stopped');
like(choice('tracked', 'g'), qr/app2\.secret,|app2\.secret}/,
	'what has taken the name of a table left out is shown as left out');
run('tracked', q{SELECT flo.add_table('g', 'app2.secret')});
unlike(choice('tracked', 'g'), qr/app2\.secret[,}]/, 'until it is added');

# a dump has the names of now, and means the same elsewhere
$source->safe_psql('postgres', 'CREATE DATABASE restored');
my $dump = $source->data_dir . '/dump.sql';
$source->command_ok([ 'pg_dump', '-f', $dump, '-d', $source->connstr('tracked') ], 'dumped');
$source->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $source->connstr('restored') ],
	'and restored');
is(choice('restored', 'g'), choice('tracked', 'g'), 'the choice is the same');
run('restored', 'ALTER TABLE app2.secrets RENAME TO hidden', 'ALTER TABLE app2.hidden ADD y int');
is($source->safe_psql('restored', q{SELECT count(*) FROM flo.tables
	WHERE table_name ~ 'hidden' AND state <> 'left out'}), '0', 'a copy keeps out what it finds by name');
$source->safe_psql('tracked', q{SELECT flo.drop_group('g', true)});
$dest->safe_psql('tracked', q{SELECT flo.drop_group('g', false, true)});

# --- identity, without definitions ----------------------------------------------------------

for my $node ($source, $dest)
{
	$node->safe_psql('whole', 'CREATE SCHEMA app; CREATE TABLE t (id int PRIMARY KEY);
		CREATE TABLE other (id int PRIMARY KEY)');
}
run('whole', 'CREATE TABLE secret (id int PRIMARY KEY, ssn text);
	CREATE TABLE app.hidden (id int PRIMARY KEY, ssn text); CREATE TABLE alone (id int PRIMARY KEY)',
	q{SELECT flo.create_replicator('w', except_tables => '{secret,app.hidden}')},
	q{SELECT flo.create_replicator('listed', tables => '{alone}')});
start_member($source, 'w', 'replicator', 'whole');
here('whole', q{SELECT flo.create_worker('w')});
start_member($dest, 'w', 'postgres', 'whole');
run('whole',
	'ALTER TABLE secret RENAME TO secrets', 'ALTER TABLE secrets ADD w int', q{INSERT INTO secrets VALUES (1, 'ssn')},
	'ALTER SCHEMA app RENAME TO app2', 'ALTER TABLE app2.hidden ADD w int',
	q{INSERT INTO app2.hidden VALUES (1, 'ssn')},
	'ALTER TABLE app2.hidden SET SCHEMA public', 'ALTER TABLE hidden ALTER id TYPE bigint',
	q{INSERT INTO hidden VALUES (2, 'ssn')},
	'INSERT INTO t VALUES (1)');
settled('w', 'whole');
same('whole', 't');
is(in_stream('whole', 'w', 'secrets|hidden'), '0', 'renamed and moved tables that were left out stay here');
is(choice('whole', 'w'), '||{public.secrets,public.hidden}', 'and are shown as they are called');
run('whole', 'ALTER TABLE alone RENAME TO together', 'CREATE TABLE alone (id int PRIMARY KEY)');
is($source->safe_psql('whole', q{SELECT string_agg(table_name, ' ') FROM flo.tables WHERE group_name = 'listed'}),
	'public.together', 'a listed table is itself');
is(choice('whole', 'listed'), '{public.together}||', 'shown as it is called');
run('whole', 'DROP TABLE together', 'CREATE TABLE together (id int PRIMARY KEY)');
is($source->safe_psql('whole', q{SELECT string_agg(table_name, ' ') FROM flo.tables WHERE group_name = 'listed'}),
	'public.together', 'what is made in its place takes it');
is($source->safe_psql('whole', q{SELECT count(*) FROM flo.check('w') WHERE status = 'error' AND item !~ 'NATS|stream'}),
	'0', 'nothing is amiss');
run('whole', q{BEGIN; ALTER TABLE secrets RENAME TO once_more; PREPARE TRANSACTION 'p'}, q{COMMIT PREPARED 'p'})
  if $source->safe_psql('postgres', 'SHOW max_prepared_transactions') > 0;
for my $group ('w', 'listed') { run('whole', "SELECT flo.drop_group('$group', true)"); }

# --- tables that join when they can ---------------------------------------------------------

$dest->safe_psql('joins', q{SELECT flo.create_worker('j', options => '{"ddl_trust": "source"}')});
run('joins', q{CREATE TABLE first (id int PRIMARY KEY)},
	q{SELECT flo.create_replicator('j', schemas => '{public}', mode => 'copy_and_stream', sync_schema => true,
		track_ddl => true)});
$source->safe_psql('joins', q{SELECT flo.start_group('j')});
start_member($dest, 'j', 'postgres', 'joins');

my $made = 0;
sub parted
{
	my ($keys) = @_;
	my $p = 'p' . ++$made;
	run('joins', "CREATE TABLE $p (id int NOT NULL, k int NOT NULL, v text) PARTITION BY LIST (k)",
		"CREATE TABLE ${p}_1 PARTITION OF $p FOR VALUES IN (1)",
		"CREATE TABLE ${p}_2 PARTITION OF $p FOR VALUES IN (2)",
		"INSERT INTO $p SELECT i, 1 + i % 2, 'before' FROM generate_series(1, 20) i",
		map { s/\$p/$p/gr } @$keys);
	run('joins', "UPDATE $p SET v = 'after' WHERE id < 5; DELETE FROM $p WHERE id = 6;
		INSERT INTO $p VALUES (30, 1, 'new'), (31, 2, 'new')");
	return ("${p}_1", "${p}_2");
}
my @tables = (
	# leaf by leaf, then the root; the other way round; in one transaction
	parted([ map { "ALTER TABLE $_ REPLICA IDENTITY FULL" } '$p', '$p_1', '$p_2' ]),
	parted([ map { "ALTER TABLE $_ REPLICA IDENTITY FULL" } '$p_1', '$p_2', '$p' ]),
	parted([ 'BEGIN; ' . join('; ', map { "ALTER TABLE $_ REPLICA IDENTITY FULL" } '$p_1', '$p', '$p_2')
		  . '; COMMIT' ]),
	# as pg_dump writes it
	parted([ 'ALTER TABLE ONLY $p ADD CONSTRAINT $p_pk PRIMARY KEY (id, k)',
			map { ("ALTER TABLE ONLY $_ ADD CONSTRAINT ${_}_pk PRIMARY KEY (id, k)",
				"ALTER INDEX \$p_pk ATTACH PARTITION ${_}_pk") } '$p_1', '$p_2' ]),
	# by indexes alone
	parted([ 'CREATE UNIQUE INDEX $p_u ON $p (id, k)',
		(map { "ALTER TABLE $_ REPLICA IDENTITY USING INDEX ${_}_id_k_idx" } '$p_1', '$p_2'),
			'ALTER TABLE $p REPLICA IDENTITY USING INDEX $p_u' ]));
settled('j', 'joins');
same('joins', @tables);

# rows that were not in the WAL, or elsewhere
run('joins', 'CREATE TABLE fu (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)',
	'CREATE TABLE fu_1 PARTITION OF fu FOR VALUES IN (1)',
	'CREATE UNLOGGED TABLE fu_2 PARTITION OF fu FOR VALUES IN (2)',
	q{INSERT INTO fu VALUES (1, 1, 'one'), (3, 2, 'unlogged')}, 'ALTER TABLE fu_2 SET LOGGED',
	q{INSERT INTO fu VALUES (4, 2, 'logged')},
	q{BEGIN; CREATE UNLOGGED TABLE fu_3 PARTITION OF fu FOR VALUES IN (3); INSERT INTO fu VALUES (5, 3, 'unlogged');
		ALTER TABLE fu_3 SET LOGGED; UPDATE fu SET v = 'changed' WHERE id = 5; COMMIT},
	q{CREATE UNLOGGED TABLE fu_4 (LIKE fu INCLUDING ALL); INSERT INTO fu_4 VALUES (6, 4, 'unlogged');
		ALTER TABLE fu ATTACH PARTITION fu_4 FOR VALUES IN (4)},
	q{BEGIN; SAVEPOINT a; ALTER TABLE fu_4 SET LOGGED; ROLLBACK TO a; INSERT INTO fu VALUES (7, 4, 'unlogged');
		ALTER TABLE fu_4 SET LOGGED; COMMIT},
	q{CREATE SCHEMA other; CREATE TABLE other.fu_5 (id int, k int, v text, PRIMARY KEY (id, k));
		INSERT INTO other.fu_5 VALUES (8, 5, 'other')});
$dest->safe_psql('joins', 'CREATE SCHEMA other; CREATE TABLE other.fu_5 (id int, k int, v text, PRIMARY KEY (id, k))');
run('joins', q{ALTER TABLE fu ATTACH PARTITION other.fu_5 FOR VALUES IN (5); UPDATE fu SET v = v || '!'});
settled('j', 'joins');
same('joins', map { "fu_$_" } 1 .. 4);
same('joins', 'other.fu_5');

# a child that is no partition is a table of its own: what it holds when it gets a key has not come with its parent
run('joins', q{CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child () INHERITS (parent);
	INSERT INTO child VALUES (1, 'before')},
	q{ALTER TABLE child ADD PRIMARY KEY (id); INSERT INTO child VALUES (2, 'after');
		UPDATE child SET v = v || '!' WHERE id = 2});
settled('j', 'joins');
same('joins', 'parent', 'child');

# a copy that was asked for, when what it was to bring has gone elsewhere by the time it is made
my @meanwhile = (
	[ q{SELECT flo.resync('j', '$root')}, q{INSERT INTO $root VALUES (10, 1, 'x'); DELETE FROM $root WHERE id = 1},
		'ALTER TABLE $root DETACH PARTITION $one', q{INSERT INTO $one VALUES (11, 1, 'y')} ],
	[ q{SELECT flo.resync('j', '$root')}, 'DELETE FROM $root WHERE k = 1', 'ALTER TABLE $root DETACH PARTITION $one' ],
	[ q{SELECT flo.resync('j', '$alone')}, q{INSERT INTO $alone VALUES (12, 3, 'x')},
		'ALTER TABLE $root ATTACH PARTITION $alone FOR VALUES IN (3)', q{INSERT INTO $root VALUES (13, 3, 'y')} ],
	[ q{SELECT flo.resync('j', '$root')}, q{INSERT INTO $root VALUES (10, 1, 'x')},
		'BEGIN; ALTER TABLE $root DETACH PARTITION $one; ALTER TABLE $other ATTACH PARTITION $one FOR VALUES '
		  . 'FROM (0) TO (100); COMMIT', q{INSERT INTO $other VALUES (11, 1, 'y')} ],
	[ q{SELECT flo.resync('j', '$root')}, q{INSERT INTO $root VALUES (10, 1, 'x')},
		'ALTER TABLE $other ATTACH PARTITION $root FOR VALUES FROM (0) TO (100)',
		q{INSERT INTO $other VALUES (11, 1, 'y')} ],
	[ q{SELECT flo.resync('j', '$root')}, q{ALTER TABLE $root DETACH PARTITION $two;
		INSERT INTO $two VALUES (12, 2, 'z'); ALTER TABLE $root ATTACH PARTITION $two FOR VALUES IN (2)},
		q{INSERT INTO $root VALUES (13, 2, 'z')} ]);
sub named { my ($c, $sql) = @_; return $sql =~ s/\$(root|one|two|other|alone)/c${c}_$1/gr; }
for my $c (0 .. $#meanwhile)
{
	run('joins',
		map { named($c, $_) } 'CREATE TABLE $root (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)',
		'CREATE TABLE $one PARTITION OF $root FOR VALUES IN (1)',
		'CREATE TABLE $two PARTITION OF $root FOR VALUES IN (2)',
		'CREATE TABLE $other (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (id)',
		'CREATE TABLE $alone (id int, k int, v text, PRIMARY KEY (id, k))',
		q{INSERT INTO $root VALUES (1, 1, 'a'), (2, 2, 'b'); INSERT INTO $alone VALUES (3, 3, 'c')});
}
settled('j', 'joins');
run('joins', q{SELECT flo.stop_group('j', 'replicator')});
wait_state($source, 'j', 'replicator', 'stopped', 'joins');
for my $c (0 .. $#meanwhile) { run('joins', map { named($c, $_) } @{ $meanwhile[$c] }); }
run('joins', q{SELECT flo.start_group('j', 'replicator')});
settled('j', 'joins');
for my $c (0 .. $#meanwhile) { same('joins', "c${c}_one", "c${c}_two", "c${c}_alone"); }

# a table that was copied and attached since is copied with its root
run('joins', 'CREATE TABLE late (id int, k int, v text, PRIMARY KEY (id, k));
	CREATE TABLE early (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)',
	q{INSERT INTO late VALUES (1, 1, 'a')}, q{SELECT flo.resync('j')});
settled('j', 'joins');
run('joins', 'ALTER TABLE early ATTACH PARTITION late FOR VALUES IN (1)', q{SELECT flo.resync('j', 'early')},
	q{INSERT INTO early VALUES (2, 1, 'b')});
settled('j', 'joins');
same('joins', 'late');

# an identity lost and found
run('joins', 'CREATE TABLE lost (id int PRIMARY KEY, v text)', q{INSERT INTO lost VALUES (1, 'a')},
	'ALTER TABLE lost DROP CONSTRAINT lost_pkey', q{INSERT INTO lost VALUES (2, 'b')},
	'ALTER TABLE lost ADD PRIMARY KEY (id)', q{UPDATE lost SET v = 'c'});
settled('j', 'joins');
same('joins', 'lost');

# DETACH CONCURRENTLY that is interrupted, and finalized
run('joins', q{INSERT INTO fu VALUES (10, 1, 'before')});
my $holder = FloTest::Session->new($source, 'joins');
$holder->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM fu');
$source->psql('joins', "SET lock_timeout = '200ms'; ALTER TABLE fu DETACH PARTITION fu_1 CONCURRENTLY");
run('joins', q{INSERT INTO fu_1 VALUES (11, 1, 'between')});
$holder->query('COMMIT');
$holder->close;
run('joins', 'ALTER TABLE fu DETACH PARTITION fu_1 FINALIZE',
	q{INSERT INTO fu_1 VALUES (12, 1, 'after'); UPDATE fu_1 SET v = v || '?'});
settled('j', 'joins');
same('joins', 'fu_1');
is($dest->safe_psql('joins', q{SELECT count(*) FROM pg_inherits WHERE inhrelid = 'fu_1'::regclass}), '0',
	'detached there as well');
is($dest->safe_psql('joins', q{SELECT conflicts, state FROM flo.status WHERE group_name = 'j'}), '0|streaming',
	'no conflicts');

# a dump restored into the group's database, in one transaction and in many
for my $node ($source, $dest)
{
	$node->safe_psql('postgres', 'CREATE DATABASE original') if $node == $source;
}
run('original', 'CREATE TABLE m (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)',
	'CREATE TABLE m_1 PARTITION OF m FOR VALUES IN (1)',
	'CREATE TABLE m_2 PARTITION OF m FOR VALUES IN (2) PARTITION BY RANGE (id)',
	'CREATE TABLE m_2a PARTITION OF m_2 FOR VALUES FROM (0) TO (1000)',
	'CREATE TABLE m_plain (id int PRIMARY KEY, v text)',
	q{INSERT INTO m SELECT i, 1 + i % 2, 'v' FROM generate_series(1, 100) i;
		INSERT INTO m_plain SELECT i, 'p' FROM generate_series(1, 100) i});
for my $once ([], ['-1'])
{
	my $file = $source->data_dir . '/original.sql';
	$source->command_ok([ 'pg_dump', '-f', $file, '-d', $source->connstr('original') ], 'dumped');
	$source->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', @$once, '-f', $file, '-d',
		$source->connstr('joins') ], "restored @$once");
	run('joins', q{UPDATE m SET v = 'w' WHERE id < 10; DELETE FROM m WHERE id = 20;
		INSERT INTO m VALUES (200, 1, 'x')});
	settled('j', 'joins');
	same('joins', 'm_1', 'm_2a', 'm_plain');
	run('joins', 'DROP TABLE m, m_plain');
}

# --- schemas that change their names ---------------------------------------------------------

run('moves', 'CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t (id int PRIMARY KEY, v text);
	CREATE TABLE b.t (id int PRIMARY KEY, v text)',
	q{SELECT flo.create_replicator('m', mode => 'copy_and_stream', sync_schema => true, track_ddl => true)},
	q{SELECT flo.start_group('m')});
here('moves', q{SELECT flo.create_worker('m', options => '{"ddl_trust": "source"}')});
start_member($dest, 'm', 'postgres', 'moves');
run('moves', q{INSERT INTO a.t VALUES (1, 'first'); INSERT INTO b.t VALUES (2, 'second')},
	q{BEGIN; INSERT INTO a.t VALUES (3, 'first'); ALTER SCHEMA a RENAME TO c; ALTER SCHEMA b RENAME TO a;
		ALTER SCHEMA c RENAME TO b; INSERT INTO b.t VALUES (4, 'first'); SAVEPOINT s; ALTER SCHEMA b RENAME TO d;
		ROLLBACK TO s; INSERT INTO a.t VALUES (5, 'second'); COMMIT},
	q{INSERT INTO a.t VALUES (6, 'second'); UPDATE b.t SET v = v || '!'; DELETE FROM a.t WHERE id = 2; TRUNCATE a.t;
		INSERT INTO a.t VALUES (7, 'second')});
settled('m', 'moves');
same('moves', 'a.t', 'b.t');
is($dest->safe_psql('moves', q{SELECT conflicts, state FROM flo.status}), '0|streaming',
	'rows go where their tables went');
$source->safe_psql('moves', q{SELECT flo.drop_group('m', true)});
$dest->safe_psql('moves', q{SELECT flo.drop_group('m', false, true)});

# --- a listed table that is made again -------------------------------------------------------

run('lists', q{CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a');
	CREATE TABLE other (id int PRIMARY KEY)},
	q{SELECT flo.create_replicator('l', tables => '{t}', mode => 'copy_and_stream', sync_schema => true,
		track_ddl => true)}, q{SELECT flo.start_group('l')});
here('lists', q{SELECT flo.create_worker('l', options => '{"ddl_trust": "source"}')});
start_member($dest, 'l', 'postgres', 'lists');
run('lists', 'BEGIN; DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, w int); INSERT INTO t VALUES (1, 1); COMMIT',
	'INSERT INTO t VALUES (2, 2); CREATE INDEX t_w ON t (w)');
settled('l', 'lists');
same('lists', 't');
run('lists', 'DROP TABLE t', q{CREATE TABLE t AS SELECT 1 AS id, 'x' AS v}, 'ALTER TABLE t ADD PRIMARY KEY (id)',
	q{INSERT INTO t VALUES (2, 'y')});
settled('l', 'lists');
same('lists', 't');
# as it was: what was copied once and dropped since is made again
run('lists', 'DROP TABLE t', 'CREATE TABLE t (id int PRIMARY KEY, v text)', q{INSERT INTO t VALUES (3, 'c')},
	'BEGIN; ALTER TABLE t RENAME TO t_old; CREATE TABLE t (LIKE t_old INCLUDING ALL); INSERT INTO t SELECT * FROM t_old;
		DROP TABLE t_old; COMMIT', q{INSERT INTO t VALUES (4, 'd'); UPDATE t SET v = v || '!'});
settled('l', 'lists');
same('lists', 't');
is($dest->safe_psql('lists', q{SELECT count(*) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'p'}),
	'1', 'with its key');
is($dest->safe_psql('lists', q{SELECT to_regclass('other') IS NULL}), 't', 'others stay');
$source->safe_psql('lists', q{SELECT flo.drop_group('l', true)});
$dest->safe_psql('lists', q{SELECT flo.drop_group('l', false, true)});

# --- identities that do not say which row is meant ------------------------------------------

my $version = $source->safe_psql('postgres', 'SHOW server_version_num');
my $gen = q{(tenant int, name text, code text NOT NULL GENERATED ALWAYS AS (lower(name)) STORED, v int, }
	  . q{PRIMARY KEY (tenant, code))};
sub left_out
{
	return $source->safe_psql('keys', "SELECT detail FROM flo.tables
		WHERE group_name = 'k' AND state = 'left out' AND table_name = 'public.$_[0]'");
}

$_->safe_psql('keys', 'CREATE TABLE plain (id int PRIMARY KEY, u int NOT NULL, v text)') for $source, $dest;
for my $node ($source, $dest)
{
	$node->safe_psql('keys',
		'CREATE TABLE r (id int, k int, u int NOT NULL, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);'
		  . ' CREATE TABLE r_1 PARTITION OF r FOR VALUES IN (1); CREATE TABLE r_2 PARTITION OF r FOR VALUES IN (2);
			CREATE UNIQUE INDEX r_2_u ON r_2 (u)');
}
if ($version < 180000)
{
	run('keys', "CREATE TABLE gk $gen");
	my $error = error_of($source, q{SELECT flo.create_replicator('bad', tables => '{gk}')}, 'keys');
	like($error, qr/55000.*gk.*generated column "code"/s, 'a key with a generated column is refused, with the reason');
	run('keys', 'ALTER TABLE gk REPLICA IDENTITY FULL');
	$dest->safe_psql('keys', "CREATE TABLE gk $gen");
}
run('keys',
	q{SELECT flo.create_replicator('k', schemas => '{public}', mode => 'copy_and_stream',
	options => '{"keyless_tables": "skip"}')});
$source->safe_psql('keys', q{SELECT flo.start_group('k')});
$dest->safe_psql('keys', q{SELECT flo.create_worker('k')});
start_member($dest, 'k', 'postgres', 'keys');
run('keys', q{INSERT INTO plain SELECT i, i, 'v' FROM generate_series(1, 10) i;
	INSERT INTO r SELECT i, 1 + i % 2, i, 'v' FROM generate_series(1, 10) i});
settled('k', 'keys');
if ($version < 180000)
{
	run('keys', q{INSERT INTO gk (tenant, name, v) VALUES (1, 'A', 1), (2, 'B', 2), (2, 'C', 3);
		UPDATE gk SET v = 20 WHERE name = 'C'; UPDATE gk SET name = 'D' WHERE name = 'A';
		DELETE FROM gk WHERE name = 'B'});
	settled('k', 'keys');
	is_same_table($source, $dest, 'gk', 'with REPLICA IDENTITY FULL such a table travels', 'keys');

	run('keys', "CREATE TABLE later $gen");
	$dest->safe_psql('keys', "CREATE TABLE later $gen");
	run('keys', q{INSERT INTO later (tenant, name, v) VALUES (1, 'A', 1); UPDATE later SET v = 2});
	like(left_out('later'), qr/generated column "code"/, 'one that comes later is left out, and said to be');
	run('keys', q{ALTER TABLE later REPLICA IDENTITY FULL; UPDATE later SET v = 3});
	settled('k', 'keys');
	is_same_table($source, $dest, 'later', 'and joins when it has another identity', 'keys');

	# a published table whose identity becomes such a one
	run('keys', q{ALTER TABLE plain ADD g int NOT NULL GENERATED ALWAYS AS (u * 2) STORED;
		CREATE UNIQUE INDEX plain_g ON plain (g)});
	$dest->safe_psql('keys', q{ALTER TABLE plain ADD g int NOT NULL GENERATED ALWAYS AS (u * 2) STORED});
	run('keys', q{ALTER TABLE plain REPLICA IDENTITY USING INDEX plain_g; UPDATE plain SET v = 'w';
		DELETE FROM plain WHERE id = 3; INSERT INTO plain VALUES (3, 30, 'again')});
	like(left_out('plain'), qr/generated column "g"/, 'an identity that gets a generated column leaves the table out');
	run('keys', q{ALTER TABLE plain REPLICA IDENTITY DEFAULT; UPDATE plain SET v = v || '!' WHERE id < 5});
	settled('k', 'keys');
	is_same_table($source, $dest, 'plain', 'until it is mended', 'keys');
	is(left_out('plain'), '', 'then all is well');
}

# a partition whose identity is not its root's
my ($out, $err) = ('', '');
$source->psql('keys', 'ALTER TABLE r_2 REPLICA IDENTITY USING INDEX r_2_u', stderr => \$err);
like($err, qr/WARNING: .*r_2 is not replicated by group "k" any more/, 'a warning says what becomes of it');
run('keys', q{UPDATE r SET v = 'changed'; DELETE FROM r WHERE id = 3;
	INSERT INTO r VALUES (3, 2, 33, 'again'), (40, 1, 40, 'new')});
like(left_out('r_2'), qr/does not identify a row/, 'it is left out');
like($source->safe_psql('keys', q{SELECT string_agg(detail, ' ') FROM flo.check('k') WHERE status = 'error'}),
	qr/left out until.*r_2/, 'flo.check says so');
wait_caught_up($source, $dest, 'k', source_db => 'keys', dest_db => 'keys');
is_same_table($source, $dest, 'r_1', 'others go on', 'keys');
wait_until($source, 'keys', q{SELECT state = 'streaming' FROM flo.status WHERE member = 'replicator'},
	'the replicator goes on');
kill9_member($source, 'k', 'replicator', 'keys');
wait_until($source, 'keys', 'SELECT true', 'the server to be back');
run('keys', q{UPDATE r SET v = v || '?'; ALTER TABLE r_2 REPLICA IDENTITY DEFAULT;
	UPDATE r SET v = v || '!' WHERE id < 5});
settled('k', 'keys');
is_same_table($source, $dest, $_, "$_ when the identity is mended", 'keys') for 'r_1', 'r_2';

# the root's changes, the same
run('keys', q{ALTER TABLE r REPLICA IDENTITY FULL; UPDATE r SET v = 'root'; DELETE FROM r WHERE id = 4},
	q{ALTER TABLE r_1 REPLICA IDENTITY FULL; UPDATE r SET v = v || '.' WHERE id < 7;
		ALTER TABLE r_2 REPLICA IDENTITY FULL; UPDATE r SET v = v || ',' WHERE id < 9});
settled('k', 'keys');
is_same_table($source, $dest, $_, "$_ when the root's identity changes first", 'keys') for 'r_1', 'r_2';
is($source->safe_psql('keys', 'SELECT count(*) FROM flo.astray'), '0', 'nothing is left out');

done_testing();
