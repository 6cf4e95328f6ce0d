-- add_table and remove_table
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY);
CREATE TABLE keyless (id int);
CREATE SCHEMA shop;
CREATE TABLE shop.c (id int PRIMARY KEY);
CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
SELECT flo.create_replicator('g', tables => '{a,parts}');
SELECT flo.create_replicator('s', schemas => '{shop}');

SELECT flo.add_table('g', 'b', copy => false);
SELECT table_name FROM flo.tables WHERE group_name = 'g' ORDER BY 1;
SELECT tables FROM flo.replicators WHERE group_name = 'g';
SELECT flo.remove_table('g', 'a');
SELECT table_name FROM flo.tables WHERE group_name = 'g' ORDER BY 1;
SELECT tables FROM flo.replicators WHERE group_name = 'g';

-- a group over a schema
SELECT flo.remove_table('s', 'shop.c');
SELECT tables, schemas, except_tables FROM flo.replicators WHERE group_name = 's';
SELECT flo.add_table('s', 'shop.c', copy => false);
SELECT flo.add_table('s', 'b', copy => false);
SELECT tables, schemas, except_tables FROM flo.replicators WHERE group_name = 's';

SELECT flo.add_table('g', 'b', copy => false);
\echo :SQLSTATE
SELECT flo.add_table('g', 'parts_1', copy => false);
\echo :SQLSTATE
SAVEPOINT request;
SELECT flo.add_table('g', 'a');
-- it joins the publication when the replicator takes the snapshot
SELECT relation::regclass, add FROM flo.copy_requests WHERE group_name = 'g';
ROLLBACK TO request;
SELECT flo.add_table('g', 'keyless', copy => false);
\echo :SQLSTATE
SELECT flo.add_table('g', 'no_such_table', copy => false);
\echo :SQLSTATE
SELECT flo.add_table('g', NULL);
\echo :SQLSTATE
SELECT flo.add_table('nobody', 'a', copy => false);
\echo :SQLSTATE
SELECT flo.remove_table('g', 'a');
\echo :SQLSTATE
SELECT flo.remove_table('g', 'parts_1');
\echo :SQLSTATE
SELECT flo.remove_table('nobody', 'a');
\echo :SQLSTATE

-- what is dropped leaves by itself
DROP TABLE b;
SELECT table_name FROM flo.tables WHERE group_name = 'g' ORDER BY 1;
ROLLBACK;
