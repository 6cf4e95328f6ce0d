-- Tables without a usable replica identity
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE TABLE keyed (id int PRIMARY KEY);
CREATE TABLE keyless (id int);
CREATE TABLE only_inserts (id int);
CREATE TABLE nothing (id int PRIMARY KEY);
ALTER TABLE nothing REPLICA IDENTITY NOTHING;
CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE);
CREATE TABLE by_index (id int NOT NULL UNIQUE);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_id_key;
CREATE TABLE parts (id int) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
ALTER TABLE parts_2 REPLICA IDENTITY FULL;

SELECT flo.create_replicator('fine', tables => '{keyed,by_index}');
SELECT table_name, replica_identity FROM flo.tables WHERE group_name = 'fine' ORDER BY 1;

-- refuse
SELECT flo.create_replicator('g', tables => '{keyless}');
\echo :SQLSTATE
SELECT flo.create_replicator('g', tables => '{keyed,keyless,nothing,deferred,parts}');
\echo :SQLSTATE

-- skip
SELECT flo.create_replicator('g', tables => '{keyless}', options => '{"keyless_tables": "skip"}');
\echo :SQLSTATE
SELECT flo.create_replicator('skips', tables => '{keyed,keyless}', options => '{"keyless_tables": "skip"}');
SELECT table_name FROM flo.tables WHERE group_name = 'skips' ORDER BY 1;

-- insert_only
SELECT flo.create_replicator('inserts', tables => '{keyed,only_inserts}', options => '{"keyless_tables": "insert_only"}');
SELECT table_name, replica_identity, detail FROM flo.tables WHERE group_name = 'inserts' ORDER BY 1;
SELECT pubname, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication WHERE pubname LIKE 'pgflo_inserts%' ORDER BY 1;
UPDATE only_inserts SET id = 1;

-- full: remembered, undone when the table or the group goes
SELECT flo.create_replicator('fulls', tables => '{keyless,nothing,deferred,parts}', options => '{"keyless_tables": "full"}');
SELECT table_name, replica_identity, detail FROM flo.tables WHERE group_name = 'fulls' ORDER BY 1;
SELECT relation::regclass, before FROM flo.full_identities WHERE group_name = 'fulls' ORDER BY relation::regclass::text;
SELECT flo.remove_table('fulls', 'keyless');
SELECT flo.remove_table('fulls', 'nothing');
SELECT flo.remove_table('fulls', 'parts');
SELECT relname, relreplident FROM pg_class WHERE relname IN ('keyless', 'nothing', 'deferred', 'parts', 'parts_1', 'parts_2') ORDER BY 1;

-- not while another publication sends its updates
CREATE PUBLICATION other FOR TABLE deferred;
SELECT flo.remove_table('fulls', 'deferred');
SELECT relname, relreplident FROM pg_class WHERE relname = 'deferred';
ROLLBACK;
