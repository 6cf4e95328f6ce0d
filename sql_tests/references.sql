-- What goes with a member and with its group: rows of every table, by foreign keys where there can be any
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
SET client_min_messages = error;
SELECT conrelid::regclass AS rows_of, confrelid::regclass AS go_with, CASE confdeltype WHEN 'a' THEN 'refused' WHEN 'c' THEN 'cascade' END AS or_are
  FROM pg_constraint WHERE connamespace = 'flo'::regnamespace AND contype = 'f' ORDER BY conrelid::regclass::text;
-- may be written before the group is there
SELECT c.oid::regclass FROM pg_class c
 WHERE c.relnamespace = 'flo'::regnamespace AND c.relkind = 'r'
   AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'group_name' AND NOT a.attisdropped)
   AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f')
 ORDER BY c.oid::regclass::text;

CREATE TABLE references_t (a int, id int PRIMARY KEY);
CREATE TABLE references_keyless (a int);
ALTER TABLE references_keyless REPLICA IDENTITY NOTHING;

-- A group with two workers and its replicator, and rows in every table
CREATE PROCEDURE pg_temp.make() LANGUAGE plpgsql AS $$
DECLARE
	worker text;
BEGIN
	PERFORM flo.create_replicator('refs', tables => '{references_t, references_keyless}', options => '{"keyless_tables": "full"}');
	PERFORM flo.grant_reader('refs', 'pg_monitor');
	INSERT INTO flo.chosen (group_name, kind, object, name) VALUES ('refs', 'except', 1, 'public.other');
	INSERT INTO flo.generations (group_name, generation, start_lsn) VALUES ('refs', gen_random_uuid(), '0/1');
	INSERT INTO flo.astray (group_name, relation) VALUES ('refs', 1);
	INSERT INTO flo.event_log (number, group_name, member, at, state) VALUES (1, 'refs', 'replicator', now(), 'stopped');
	INSERT INTO flo.copy_requests (group_name, relation, add) VALUES ('refs', 1, false);
	INSERT INTO flo.compare_requests (group_name, repair, repair_extra, samples) VALUES ('refs', false, false, 1);
	INSERT INTO flo.comparisons (id, group_name, worker_name, table_name, state, relation, side) VALUES (1, 'refs', '', 't', 'equal', 1, 'source');
	INSERT INTO flo.backfills (group_name, worker_name, table_name, consumer, relation) VALUES ('refs', 'one', 't', 'c', 1);
	INSERT INTO flo.comparison_samples VALUES (1, 'refs', '', 't', 1, 'extra', '{}', NULL, NULL, 1, 'source');
	INSERT INTO flo.group_objects VALUES (1, 'pg_class'::regclass, 'refs', 'refer');
	INSERT INTO flo.copied_tables (group_name, worker_name, relation, schema_name, table_name, attempt) VALUES ('refs', 'replicator', 1, 'public', 't', 1);
	INSERT INTO flo.copies (group_name, worker_name, generation, phase) VALUES ('refs', 'replicator', gen_random_uuid(), 'reading');
	INSERT INTO flo.planned_tables VALUES ('refs', 'replicator', 1, 'public', 't', 1, 1, 8192);
	INSERT INTO flo.shaped_tables VALUES ('refs', 'replicator', '', 1, 'public', 't', '{id}', 0, 0, '{id}');
	INSERT INTO flo.ddl_log (group_name, tag, command, outcome) VALUES ('refs', 'X', 'X', 'applied');
	INSERT INTO flo.cutovers (group_name, worker_name, role, attempt, state) VALUES ('refs', 'replicator', 'source', 1, 'cancelled');
	INSERT INTO flo.cutover_steps (group_name, worker_name, attempt, step) VALUES ('refs', 'replicator', 1, 'undo');
	INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('refs', 't', 'c', 'mask');
	FOREACH worker IN ARRAY '{one,two}'::text[] LOOP
		PERFORM flo.create_worker('refs', 'stdout', worker);
		INSERT INTO flo.rules (group_name, worker_name, table_name, column_name, action) VALUES ('refs', worker, 't', 'd', 'mask');
		INSERT INTO flo.routes (group_name, worker_name, source_table, destination_table) VALUES ('refs', worker, 't', 'u');
		INSERT INTO flo.webhook_subscriptions (group_name, worker_name, url) VALUES ('refs', worker, 'http://127.0.0.1/');
		INSERT INTO flo.progress VALUES ('refs', worker, 1, gen_random_uuid(), '0/1', '0/1');
		INSERT INTO flo.shaped_tables VALUES ('refs', worker, '', 1, 'public', 't', '{id}', 0, 0, '{id}');
		INSERT INTO flo.copied_tables (group_name, worker_name, relation, schema_name, table_name, attempt) VALUES ('refs', worker, 1, 'public', 't', 1);
		INSERT INTO flo.copies (group_name, worker_name, generation, phase) VALUES ('refs', worker, gen_random_uuid(), 'loading');
		INSERT INTO flo.planned_tables VALUES ('refs', worker, 1, 'public', 't', 1, 1, 8192);
		INSERT INTO flo.copied_chunks VALUES ('refs', worker, 1, 1, 0, 0, 1);
		INSERT INTO flo.comparisons (id, group_name, worker_name, table_name, state, relation, side) VALUES (1, 'refs', worker, 't', 'equal', 1, 'destination');
		INSERT INTO flo.comparison_samples VALUES (1, 'refs', worker, 't', 1, 'extra', '{}', NULL, NULL, 1, 'destination');
		INSERT INTO flo.owed_copies VALUES ('refs', worker, 1, 1, '0/1', now());
		INSERT INTO flo.given_up (group_name, worker_name, relation, schema_name, table_name, given_up_by, request) VALUES ('refs', worker, 1, 'public', 't', current_user::regrole, 1);
		INSERT INTO flo.unchecked_tables VALUES ('refs', worker, 1);
		INSERT INTO flo.copied_objects (group_name, worker_name, ordinal, generation, attempt, section, object, command)
		VALUES ('refs', worker, 1, gen_random_uuid(), 1, 'before', 'table', 'X');
		INSERT INTO flo.dead_letters (group_name, worker_name, url, event_id, event) VALUES ('refs', worker, 'http://127.0.0.1/', '1', '{}');
		INSERT INTO flo.pending_ddl (group_name, worker_name, lsn, committed_at, tag, command, reason, ordinal) VALUES ('refs', worker, '0/1', now(), 'X', 'X', 'X', 1);
		INSERT INTO flo.ddl_log (group_name, worker_name, tag, command, outcome) VALUES ('refs', worker, 'X', 'X', 'applied');
		INSERT INTO flo.cutovers (group_name, worker_name, role, attempt, state) VALUES ('refs', worker, 'destination', 1, 'cancelled');
		INSERT INTO flo.cutover_steps (group_name, worker_name, attempt, step) VALUES ('refs', worker, 1, 'undo');
		INSERT INTO flo.due_backfills VALUES ('refs', worker, gen_random_uuid(), 1, 1, true);
		INSERT INTO flo.secrets VALUES ('refs', worker, 'secret', 'secret');
	END LOOP;
END
$$;
CREATE PROCEDURE pg_temp.make_again() LANGUAGE sql AS $$ SELECT flo.create_replicator('refs', tables => '{references_t}') $$;
CREATE FUNCTION pg_temp.left_of(member text) RETURNS TABLE (relation text, number bigint) LANGUAGE plpgsql AS $$
DECLARE
	of_members bool;
BEGIN
	FOR relation, of_members IN
		SELECT c.relname, EXISTS (SELECT FROM pg_attribute w WHERE w.attrelid = c.oid AND w.attname = 'worker_name')
		  FROM pg_class c JOIN pg_attribute g ON g.attrelid = c.oid AND g.attname = 'group_name'
		 WHERE c.relnamespace = 'flo'::regnamespace AND c.relkind = 'r' ORDER BY 1
	LOOP
		CONTINUE WHEN member IS NOT NULL AND NOT of_members;
		EXECUTE format('SELECT count(*) FROM flo.%I WHERE group_name = ''refs''', relation)
				|| CASE WHEN member IS NULL THEN '' WHEN member = 'replicator' THEN ' AND worker_name IN (''replicator'', '''')'
						ELSE format(' AND worker_name = %L', member) END
		   INTO number;
		RETURN NEXT;
	END LOOP;
END
$$;

-- every table has some, or the test is none
CALL pg_temp.make();
SELECT relation FROM pg_temp.left_of(NULL) WHERE number = 0;

-- a worker: the log tells on as long as the group is there
SELECT flo.drop_worker('refs', 'one', force => true);
SELECT * FROM pg_temp.left_of('one') WHERE number > 0;
SELECT count(*) FROM pg_temp.left_of('two') WHERE number > 0;

-- the replicator
SELECT flo.drop_replicator('refs');
SELECT * FROM pg_temp.left_of('replicator') WHERE number > 0;
SELECT relation FROM pg_temp.left_of(NULL) WHERE number = 0;
SELECT relreplident FROM pg_class WHERE oid = 'references_keyless'::regclass;

-- the last member takes the group along; rules of any worker may be for one that is to come
SELECT flo.drop_worker('refs', 'two', force => true);
SELECT * FROM pg_temp.left_of(NULL) WHERE number > 0;
DELETE FROM flo.rules WHERE group_name = 'refs';

-- all at once, whatever a session makes of its triggers
CALL pg_temp.make();
SET session_replication_role = replica;
SELECT flo.drop_group('refs', force => true, purge_rules => true);
SHOW session_replication_role;
RESET session_replication_role;
SELECT * FROM pg_temp.left_of(NULL) WHERE number > 0;
CALL pg_temp.make();
SET session_replication_role = replica;
SELECT flo.drop_worker('refs', 'one', force => true);
SELECT flo.drop_replicator('refs');
RESET session_replication_role;
SELECT * FROM pg_temp.left_of('one') WHERE number > 0;
SELECT relation FROM pg_temp.left_of(NULL) WHERE number = 0;

-- by hand a group takes no members along, and nothing is written of a member that is not there
DELETE FROM flo.groups WHERE group_name = 'refs';
\echo :SQLSTATE
INSERT INTO flo.progress VALUES ('refs', 'nobody', 1, gen_random_uuid(), '0/1', '0/1');
\echo :SQLSTATE
-- rules and routes stay, for a group of that name that is made again
SELECT flo.drop_group('refs', force => true);
SELECT * FROM pg_temp.left_of(NULL) WHERE number > 0;
CALL pg_temp.make_again();
SET client_min_messages = notice;
SELECT flo.drop_group('refs', force => true, purge_rules => true);
SELECT * FROM pg_temp.left_of(NULL) WHERE number > 0;
DROP TABLE references_t, references_keyless;
