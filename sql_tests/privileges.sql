-- Whose rights decide
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
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
ROLLBACK;
