-- Which tables a replicator takes, and what it refuses
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE SCHEMA shop;
CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE "Odd ""Name" (id int PRIMARY KEY);
CREATE TABLE shop.orders (id int PRIMARY KEY);
CREATE TABLE shop.items (id int PRIMARY KEY);
CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE keyless (id int);
CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY);
CREATE TEMPORARY TABLE passing (id int PRIMARY KEY);
CREATE VIEW v AS SELECT 1 AS id;
CREATE MATERIALIZED VIEW mv AS SELECT 1 AS id;
CREATE SEQUENCE seq;
CREATE FOREIGN DATA WRAPPER dummy;
CREATE SERVER dummy FOREIGN DATA WRAPPER dummy;
CREATE FOREIGN TABLE far (id int) SERVER dummy;

-- tables one by one; a partition is there through its root
SELECT flo.create_replicator('one', tables => ARRAY['t', '"Odd ""Name"', 'parts', 'parts_1', 't']::regclass[]);
SELECT table_name, replica_identity, detail FROM flo.tables WHERE group_name = 'one' ORDER BY 1;
SELECT tables, schemas, except_tables, mode, copy_workers, sync_schema, track_ddl, owner = current_user::regrole AS own, started, options
  FROM flo.replicators WHERE group_name = 'one';

-- tables and schemas add up
SELECT flo.create_replicator('two', tables => '{t}', schemas => '{shop}', except_tables => '{shop.items}');
SELECT table_name FROM flo.tables WHERE group_name = 'two' ORDER BY 1;
SELECT tables, schemas, except_tables FROM flo.replicators WHERE group_name = 'two';

-- everything, but for what cannot be replicated
SELECT flo.create_replicator('three', options => '{"keyless_tables": "skip"}', except_tables => '{parts}');
SELECT table_name FROM flo.tables WHERE group_name = 'three' ORDER BY 1;
SELECT tables, schemas, except_tables FROM flo.replicators WHERE group_name = 'three';

-- an empty schema is not an error: tables will come
CREATE SCHEMA later;
SELECT flo.create_replicator('four', schemas => '{later}');

-- refused
SELECT flo.create_replicator('bad', tables => '{v}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{mv}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{seq}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{far}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{t_pkey}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{fleeting}');
\echo :SQLSTATE
-- (the schema of a temporary table has a number)
\set VERBOSITY sqlstate
SELECT flo.create_replicator('bad', tables => '{passing}');
\set VERBOSITY default
SELECT flo.create_replicator('bad', tables => '{no_such_table}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{pg_class}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{flo.rules}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{t,NULL}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', schemas => '{}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', schemas => '{NULL}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', schemas => '{no_such_schema}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', schemas => '{pg_catalog}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', schemas => '{flo}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{t}', except_tables => '{t}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', schemas => '{shop}', except_tables => '{t}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', except_tables => '{parts_1}', options => '{"keyless_tables": "skip"}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', except_tables => '{}');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{t}', mode => 'strem');
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{t}', mode => NULL);
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{t}', copy_workers => 0);
\echo :SQLSTATE
SELECT flo.create_replicator('bad', tables => '{t}', copy_workers => 65);
\echo :SQLSTATE
SELECT flo.create_replicator('one', tables => '{t}');
\echo :SQLSTATE

-- what is in the way
CREATE PUBLICATION pgflo_taken;
SELECT flo.create_replicator('taken', tables => '{t}');
\echo :SQLSTATE

-- nothing was half-made
SELECT count(*) FROM flo.groups WHERE group_name IN ('bad', 'taken');
SELECT count(*) FROM flo.replicators WHERE group_name IN ('bad', 'taken');
SELECT count(*) FROM pg_publication WHERE pubname LIKE 'pgflo_bad%';
ROLLBACK;
