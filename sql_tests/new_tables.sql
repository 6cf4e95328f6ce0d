-- New tables join the groups that cover them
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE SCHEMA shop;
CREATE SCHEMA other;
CREATE TABLE shop.parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
SELECT flo.create_replicator('shop', schemas => '{shop}');
SELECT flo.create_replicator('ins', schemas => '{shop}', options => '{"keyless_tables": "insert_only"}');
CREATE VIEW joined AS SELECT group_name, table_name, replica_identity, detail FROM flo.tables ORDER BY 1, 2;

CREATE TABLE shop.a (id int PRIMARY KEY);
CREATE TABLE other.b (id int PRIMARY KEY);
CREATE UNLOGGED TABLE shop.c (id int PRIMARY KEY);
CREATE TEMPORARY TABLE d (id int PRIMARY KEY);
CREATE VIEW shop.v AS SELECT 1 AS id;
TABLE joined;

-- without a key: left out, until it has one
CREATE TABLE shop.e (id int);
TABLE joined;
ALTER TABLE shop.e ADD PRIMARY KEY (id);
TABLE joined;

-- rows that were there before are not sent
CREATE TABLE shop.f AS SELECT 1 AS id;
ALTER TABLE shop.f ADD PRIMARY KEY (id);

-- the other ways in
ALTER TABLE other.b SET SCHEMA shop;
ALTER TABLE shop.c SET LOGGED;
CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES FROM (0) TO (10);
CREATE TABLE shop.parts_2 PARTITION OF shop.parts FOR VALUES FROM (10) TO (20);
ALTER TABLE shop.parts DETACH PARTITION shop.parts_2;
TABLE joined;

-- full: also for a partition made later
CREATE TABLE other.root (id int) PARTITION BY RANGE (id);
SELECT flo.create_replicator('fulls', schemas => '{other}', options => '{"keyless_tables": "full"}');
CREATE TABLE other.g (id int);
CREATE TABLE other.root_1 PARTITION OF other.root FOR VALUES FROM (0) TO (10);
SELECT table_name, replica_identity FROM joined WHERE group_name = 'fulls';
SELECT relname, relreplident FROM pg_class WHERE relname IN ('root', 'root_1', 'g') ORDER BY 1;

-- everything: what belongs to pg_flo or an extension does not count
SELECT flo.create_replicator('everything', options => '{"keyless_tables": "skip"}');
CREATE SCHEMA third CREATE TABLE h (id int PRIMARY KEY);
SELECT table_name FROM joined WHERE group_name = 'everything' AND table_name LIKE 'third%';

-- a table left out stays out
SELECT flo.remove_table('shop', 'shop.a');
ALTER TABLE shop.a ADD COLUMN v text;
SELECT table_name FROM joined WHERE group_name = 'shop';
ROLLBACK;
