-- flo.check: what it says without a broker
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE SCHEMA shop;
CREATE TABLE shop.keyed (id int PRIMARY KEY);
CREATE TABLE shop.keyless (id int);
CREATE UNLOGGED TABLE shop.fleeting (id int PRIMARY KEY);
CREATE TABLE named (id int PRIMARY KEY, blob oid);
CREATE TABLE gone (id int PRIMARY KEY);
CREATE TABLE lost_key (id int PRIMARY KEY);
CREATE TABLE by_hand (id int PRIMARY KEY);
SELECT flo.create_replicator('shop', schemas => '{shop}', options => '{"keyless_tables": "skip"}');
SELECT flo.create_replicator('named', tables => '{named,gone,lost_key}');
SELECT flo.create_worker('dst');

SELECT item, status FROM flo.check_server(1, 1, 0) ORDER BY 1;
SELECT item, status FROM flo.check_server(10000, 10000, 10000) WHERE item IN ('replication slots', 'replication origins', 'worker processes');

SELECT * FROM flo.check_source('shop');
DROP TABLE gone;
ALTER TABLE lost_key DROP CONSTRAINT lost_key_pkey;
ALTER PUBLICATION pgflo_named ADD TABLE by_hand;
SELECT lo_create(0) > 0 AS created;
INSERT INTO flo.generations (group_name, generation, start_lsn) VALUES ('named', gen_random_uuid(), '0/1');
SELECT * FROM flo.check_source('named');
SELECT count(*) FROM flo.check_source('dst');

SELECT * FROM flo.check_members('dst');
SELECT setval('flo.rules_id_seq', 1000) \gset
INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('dst', 'nowhere', 'c', 'mask');
UPDATE flo.workers SET owner = '4000000000';
SELECT item, status, regexp_replace(detail, 'rule \d+', 'rule N') AS detail, hint FROM flo.check_members('dst');

SELECT * FROM flo.check('nobody');
\echo :SQLSTATE
ROLLBACK;
