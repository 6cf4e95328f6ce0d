-- Whose rights decide
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT setval('flo.rules_id_seq', 4000), setval('flo.routes_id_seq', 4000) \gset
CREATE ROLE flo_nobody;
CREATE ROLE flo_plain;
CREATE ROLE flo_owner REPLICATION;
CREATE ROLE flo_friend IN ROLE flo_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO flo_plain, flo_owner;
CREATE TABLE theirs (id int PRIMARY KEY);
CREATE SCHEMA own AUTHORIZATION flo_owner;
SET ROLE flo_owner;
CREATE TABLE own.t (id int PRIMARY KEY);
CREATE TABLE own.keyless (id int);
RESET ROLE;

-- nobody
SET ROLE flo_nobody;
SELECT flo.create_worker('g');
\echo :SQLSTATE
INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('g', 't', 'c', 'mask');
\echo :SQLSTATE
SELECT * FROM flo.secrets;
\echo :SQLSTATE
SELECT count(*) FROM flo.status;
SELECT count(*) FROM flo.tables;
RESET ROLE;

-- neither REPLICATION, nor CREATE on the database, nor the table
SET ROLE flo_plain;
SELECT flo.create_replicator('g', tables => '{theirs}');
\echo :SQLSTATE
RESET ROLE;
SET ROLE flo_owner;
\set VERBOSITY sqlstate
SELECT flo.create_replicator('g', tables => '{own.t}');
\set VERBOSITY default
RESET ROLE;
SELECT format('GRANT CREATE ON DATABASE %I TO flo_owner', current_database()) \gexec
SET ROLE flo_owner;
SELECT flo.create_replicator('g', tables => '{own.t,theirs}');
\echo :SQLSTATE
\set SHOW_CONTEXT never
SELECT flo.create_replicator('g', options => '{"keyless_tables": "skip"}');
\set SHOW_CONTEXT errors
\echo :SQLSTATE

-- as the owner: publication and replica identity belong to him, rows of schema flo do not
SELECT flo.create_replicator('g', schemas => '{own}', options => '{"keyless_tables": "full"}');
SELECT pubname, pubowner::regrole FROM pg_publication WHERE pubname = 'pgflo_g';
SELECT owner FROM flo.replicators WHERE group_name = 'g';
UPDATE flo.replicators SET started = true;
\echo :SQLSTATE
RESET ROLE;

-- others may not change it, members of the owner may
SET ROLE flo_plain;
SELECT flo.alter_replicator('g', '{}');
\echo :SQLSTATE
SELECT flo.stop_group('g');
\echo :SQLSTATE
SELECT flo.add_table('g', 'own.t', copy => false);
\echo :SQLSTATE
RESET ROLE;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO flo_friend;
SET ROLE flo_friend;
SELECT flo.alter_replicator('g', '{"origin": "any"}');
RESET ROLE;

-- a new table of somebody else does not join
CREATE TABLE own.foreigner (id int PRIMARY KEY);
SELECT table_name FROM flo.tables WHERE group_name = 'g' ORDER BY 1;
-- one of the owner does, whoever else may create tables
SET ROLE flo_owner;
CREATE TABLE own.joins (id int PRIMARY KEY);
RESET ROLE;
SELECT table_name FROM flo.tables WHERE group_name = 'g' ORDER BY 1;

-- functions and operators of the caller's search_path are not used
CREATE SCHEMA evil;
CREATE FUNCTION evil.eq(text, text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''evil''; END';
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
SET search_path = evil, pg_catalog, public;
SELECT flo.alter_replicator('g', '{}');
SELECT flo.create_worker('h');
SELECT flo.wait_for('g', timeout => '0');
INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('g', 't', 'c', 'mask');
CREATE TABLE public.quiet (id int PRIMARY KEY);
RESET search_path;
ROLLBACK;

-- A stranger who was granted every function and every table: what is others' stays theirs
BEGIN;
CREATE ROLE flo_stranger REPLICATION;
CREATE ROLE flo_owner REPLICATION;
CREATE ROLE flo_reader;
CREATE ROLE flo_monitor IN ROLE pg_monitor;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO flo_stranger, flo_owner, flo_reader, flo_monitor;
GRANT INSERT, UPDATE, DELETE ON flo.rules, flo.routes, flo.webhook_subscriptions TO flo_stranger, flo_owner;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA flo TO flo_stranger, flo_owner;
SELECT format('GRANT CREATE ON DATABASE %I TO flo_owner, flo_stranger', current_database()) \gexec
CREATE SCHEMA own AUTHORIZATION flo_owner;
GRANT USAGE ON SCHEMA own TO PUBLIC;
CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(' ', SQLSTATE, SQLERRM);
END
$$;
-- how many rows of the group show
CREATE FUNCTION pg_temp.shown(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM flo.%I WHERE group_name = %L', name, 'w') INTO n;
	RETURN n;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
SET ROLE flo_owner;
CREATE TABLE own.t (id int PRIMARY KEY, v text);
SELECT flo.create_replicator('p', tables => '{own.t}');
SELECT flo.create_worker('p', 'stdout', 'out');
SELECT flo.create_worker('w');
INSERT INTO flo.rules (group_name, worker_name, schema_name, table_name, column_name, action, arguments)
VALUES ('w', 'postgres', 'own', 't', 'v', 'eq', '{"value": "a secret of the rule"}');
INSERT INTO flo.routes (group_name, source_schema, source_table, destination_table) VALUES ('w', 'own', 't', 'u');
RESET ROLE;
INSERT INTO flo.webhook_subscriptions (id, group_name, url, author) VALUES (-7, 'w', 'https://example.com/hook?key=secret', 'flo_owner');
INSERT INTO flo.pending_ddl (id, group_name, worker_name, lsn, committed_at, tag, command, reason, ordinal) VALUES (-7, 'w', 'postgres', '0/1', now(), 'X', 'secret', 'r', 1);
INSERT INTO flo.ddl_log (group_name, worker_name, tag, command, outcome) VALUES ('w', 'postgres', 'X', 'secret', 'applied');
INSERT INTO flo.dead_letters (id, group_name, worker_name, url, event_id, event) VALUES (-7, 'w', 'postgres', 'secret', '1', '{}');
INSERT INTO flo.copied_objects (group_name, worker_name, ordinal, generation, attempt, section, object, command) VALUES ('w', 'postgres', 1, gen_random_uuid(), 1, 'before', 'o', 'secret');
INSERT INTO flo.secrets (group_name, worker_name, key, value) VALUES ('w', 'postgres', 'secret', 'secret');
CREATE TEMPORARY TABLE calls AS SELECT n, call FROM unnest(ARRAY[
	$$flo.alter_replicator('p', '{}')$$, $$flo.alter_worker('w', 'postgres', '{}')$$, $$flo.start_group('p')$$, $$flo.start_group('w')$$,
	$$flo.stop_group('w')$$, $$flo.set_owner('w', 'postgres', 'flo_stranger')$$, $$flo.set_owner('p', 'replicator', 'flo_stranger')$$,
	$$flo.grant_reader('p', 'flo_stranger')$$, $$flo.revoke_reader('p', 'flo_stranger')$$, $$flo.add_table('p', 'own.t')$$, $$flo.remove_table('p', 'own.t')$$,
	$$flo.drop_replicator('p', force => true)$$, $$flo.drop_worker('w', 'postgres', force => true)$$, $$flo.drop_group('p', force => true)$$,
	$$flo.skip('w', 'postgres', '0/1')$$, $$flo.resync('p')$$, $$flo.resync('p', 'own.t')$$, $$flo.drop_consumer('p', 'x')$$, $$flo.drop_consumer('w', 'x')$$,
	$$flo.stream_status('p')$$, $$flo.stream_status('w')$$, $$flo.redrive(-7)$$, $$flo.redrive_group('w')$$, $$flo.peek('p')$$, $$flo.peek('w')$$,
	$$flo.release_ddl(-7)$$, $$flo.skip_ddl(-7)$$, $$flo.preview('p', 't', 'INSERT', '{"id": 1}', schema_name => 'own')$$,
	$$flo.preview('w', 't', 'INSERT', '{"id": 1}', schema_name => 'own')$$, $$flo.sync_sequences('p')$$, $$flo.reset_stats('p')$$, $$flo.reset_stats()$$,
	$$flo.create_worker('p', 'stdout', 'mine')$$]) WITH ORDINALITY c (call, n);
CREATE TEMPORARY TABLE kept AS SELECT unnest('{workers,rules,webhook_subscriptions,pending_ddl,ddl_log,dead_letters,copied_objects,secrets}'::text[]) AS name;
GRANT SELECT ON pg_temp.calls, pg_temp.kept TO PUBLIC;
SET ROLE flo_stranger;
SELECT call, pg_temp.attempt('SELECT ' || call) FROM pg_temp.calls ORDER BY n;
SELECT name, pg_temp.shown(name) FROM pg_temp.kept;
-- what others have written is neither changed nor overruled
SELECT c, pg_temp.attempt(c) FROM unnest('{UPDATE flo.rules SET position = 3,UPDATE flo.routes SET enabled = false,UPDATE flo.webhook_subscriptions SET enabled = false,DELETE FROM flo.rules,DELETE FROM flo.routes,DELETE FROM flo.webhook_subscriptions}'::text[]) c;
SELECT pg_temp.attempt($$INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('w', 't', 'c', 'mask')$$);
SELECT pg_temp.attempt($$INSERT INTO flo.routes (group_name, source_table, destination_table) VALUES ('p', 't', 'stolen')$$);
-- who there is may be seen, and a group that nobody has yet be prepared
SELECT * FROM flo.members ORDER BY 1, 2;
SELECT pg_temp.attempt($$INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('nobodys', 't', 'c', 'mask')$$);
UPDATE flo.rules SET position = 3 RETURNING group_name, author;
SELECT count(*) FROM flo.check('w') c WHERE c::text ~ 'secret';
RESET ROLE;
SELECT position, (SELECT count(*) FROM flo.routes WHERE enabled) AS routes, (SELECT count(*) FROM flo.webhook_subscriptions WHERE enabled) AS subscriptions FROM flo.rules WHERE group_name = 'w';
SET ROLE flo_monitor;
SELECT name, pg_temp.shown(name) FROM pg_temp.kept;
SELECT pg_temp.attempt($$SELECT flo.stream_status('w')$$) ~ '42501' AS refused;
RESET ROLE;
-- the owner sees and has it all
SET ROLE flo_owner;
SELECT name, pg_temp.shown(name) FROM pg_temp.kept;
SELECT pg_temp.attempt($$SELECT flo.alter_worker('w', 'postgres', '{}')$$);

-- readers of a group
SELECT flo.grant_reader('p', 'flo_reader');
SELECT * FROM flo.readers;
SELECT pg_temp.attempt($$SELECT flo.grant_reader('p', '4000000000')$$);
SELECT pg_temp.attempt($$SELECT flo.grant_reader('w', 'flo_reader')$$);
SET ROLE flo_reader;
SELECT flo.create_worker('p', 'stdout', 'readers');
SELECT pg_temp.attempt($$SELECT flo.preview('p', 't', 'INSERT', '{"id": 1}', schema_name => 'own')$$);
SELECT pg_temp.attempt($$SELECT flo.alter_replicator('p', '{}')$$);
SELECT pg_temp.attempt($$SELECT flo.drop_consumer('p', 'x')$$);
SELECT pg_temp.attempt($$SELECT flo.grant_reader('p', 'flo_stranger')$$);
SET ROLE flo_owner;
SELECT flo.revoke_reader('p', 'flo_reader');
SELECT pg_temp.attempt($$SELECT flo.revoke_reader('p', 'flo_reader')$$);
SET ROLE flo_reader;
SELECT pg_temp.attempt($$SELECT flo.create_worker('p', 'stdout', 'another')$$);
RESET ROLE;

-- another owner: one that could have made it
SET ROLE flo_owner;
SELECT pg_temp.attempt($$SELECT flo.set_owner('w', 'postgres', 'flo_stranger')$$);
RESET ROLE;
SELECT pg_temp.attempt($$SELECT flo.set_owner('p', 'replicator', 'flo_reader')$$);
SELECT pg_temp.attempt($$SELECT flo.set_owner('p', 'replicator', 'flo_stranger')$$);
SELECT pg_temp.attempt($$SELECT flo.set_owner('p', 'out', 'flo_stranger')$$);
SELECT pg_temp.attempt($$SELECT flo.set_owner('w', 'postgres', '4000000000')$$);
SELECT pg_temp.attempt($$SELECT flo.set_owner('w', 'nobody', 'flo_stranger')$$);
GRANT flo_owner TO flo_stranger;
SELECT flo.set_owner('p', 'replicator', 'flo_stranger'), flo.set_owner('p', 'out', 'flo_stranger'), flo.set_owner('w', 'postgres', 'flo_stranger');
REVOKE flo_owner FROM flo_stranger;
SELECT group_name, member, owner FROM flo.members ORDER BY 1, 2;
SELECT pubowner::regrole FROM pg_publication WHERE pubname = 'pgflo_p';
SET ROLE flo_owner;
SELECT pg_temp.attempt($$SELECT flo.alter_worker('w', 'postgres', '{}')$$);
SET ROLE flo_stranger;
SELECT pg_temp.attempt($$SELECT flo.alter_worker('w', 'postgres', '{}')$$);
RESET ROLE;

-- a role that owns something here is not dropped unseen, nor is what it owns dropped with it
DROP OWNED BY flo_reader;
DROP ROLE flo_reader;
SELECT flo.set_owner('p', 'readers', 'flo_stranger');
DROP ROLE flo_reader;
-- one that was dropped nevertheless has left nothing to another of its name
UPDATE flo.workers SET owner = '4000000000' WHERE group_name = 'w';
SET ROLE flo_owner;
SELECT count(*) FROM flo.workers WHERE group_name = 'w';
SELECT flo.alter_worker('w', 'postgres', '{}');
RESET ROLE;
SELECT flo.alter_worker('w', 'postgres', '{}');
SELECT owner FROM flo.members WHERE group_name = 'w';
SELECT flo.set_owner('w', 'postgres', 'flo_owner');

-- memberships that give no rights, or do not let become: 16 and later have them, and before there is none of the second
CREATE ROLE flo_set_only NOINHERIT;
CREATE ROLE flo_inherit_only;
SELECT CASE WHEN current_setting('server_version_num')::int >= 160000
			THEN 'GRANT flo_owner TO flo_set_only WITH INHERIT FALSE, SET TRUE; GRANT flo_owner TO flo_inherit_only WITH INHERIT TRUE, SET FALSE'
			ELSE 'GRANT flo_owner TO flo_set_only' END AS grants \gset
:grants;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO flo_set_only, flo_inherit_only;
GRANT INSERT ON flo.rules TO flo_set_only, flo_inherit_only;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA flo TO flo_set_only, flo_inherit_only;
SET ROLE flo_set_only;
SELECT pg_temp.attempt($$SELECT flo.alter_worker('w', 'postgres', '{}')$$);
SELECT count(*) FROM flo.workers;
SELECT pg_temp.attempt($$INSERT INTO flo.rules (group_name, table_name, column_name, action, author) VALUES ('nobodys', 't', 'c', 'mask', 'flo_owner')$$);
SET ROLE flo_inherit_only;
SELECT pg_temp.attempt($$INSERT INTO flo.rules (group_name, table_name, column_name, action, author) VALUES ('nobodys', 't', 'c', 'mask', 'flo_owner')$$);
RESET ROLE;
ROLLBACK;
