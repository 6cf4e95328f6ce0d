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

-- which types take the values of which
CREATE TYPE shop.mood AS ENUM ('good');
CREATE DOMAIN shop.short AS varchar(5);
CREATE TABLE takers (int4 int4, int8 int8, numeric numeric, numeric_10_2 numeric(10,2), varchar_10 varchar(10), text text, timestamp timestamp, timestamp_3 timestamp(3),
	int4_array int4[], int8_array int8[], jsonb jsonb, mood shop.mood, domain shop.short);
SELECT source, here, flo.type_fit(CASE source WHEN 'shop.mood' THEN '{"type": "shop.mood", "type_schema": "shop", "type_name": "mood"}'
								  WHEN 'elsewhere.lost' THEN '{"type": "elsewhere.lost", "type_schema": "elsewhere", "type_name": "lost"}'
								  WHEN 'elsewhere.d' THEN '{"type": "elsewhere.d", "type_schema": "elsewhere", "type_name": "d", "base": "integer"}'
								  ELSE jsonb_build_object('type', source) END, a.atttypid, a.atttypmod) AS fit
  FROM (VALUES ('integer', 'int4'), ('smallint', 'int8'), ('bigint', 'int4'), ('integer', 'numeric_10_2'), ('numeric(10,2)', 'numeric_10_2'), ('numeric(12,2)', 'numeric_10_2'),
		('numeric(10,3)', 'numeric_10_2'), ('numeric', 'numeric_10_2'), ('numeric(8,1)', 'numeric_10_2'), ('numeric(10,2)', 'numeric'), ('double precision', 'numeric'),
		('character varying(10)', 'varchar_10'), ('character varying(20)', 'varchar_10'), ('text', 'varchar_10'), ('character varying', 'text'), ('integer', 'text'), ('text', 'int4'),
		('timestamp with time zone', 'timestamp'), ('date', 'timestamp'), ('timestamp without time zone', 'timestamp_3'), ('timestamp(3) without time zone', 'timestamp_3'),
		('integer[]', 'int8_array'), ('bigint[]', 'int4_array'), ('text', 'int4_array'), ('boolean', 'int4'), ('json', 'jsonb'), ('jsonb', 'text'), ('shop.mood', 'mood'), ('shop.mood', 'text'),
		('shop.mood', 'int4'), ('character varying(5)', 'domain'), ('text', 'domain'), ('elsewhere.lost', 'text'), ('elsewhere.lost', 'int4'), ('elsewhere.d', 'int8'), ('elsewhere.d', 'mood')) v (source, here)
  JOIN (SELECT a.* FROM pg_attribute a WHERE a.attrelid = 'takers'::regclass) a ON a.attname = v.here ORDER BY 2, 1;

SELECT * FROM flo.check('nobody');
\echo :SQLSTATE
ROLLBACK;
