-- A configuration that comes from elsewhere
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE TABLE t (id int PRIMARY KEY);
SELECT flo.create_replicator('g', tables => '{t}');
SELECT flo.create_worker('h');
SELECT flo.create_worker('h', worker_name => 'second');
SELECT flo.start_group('g');
SELECT flo.start_group('h');
INSERT INTO flo.generations (group_name, generation, start_lsn) VALUES ('g', gen_random_uuid(), '0/1');
INSERT INTO flo.progress (group_name, worker_name, system_identifier, generation, generation_start, start_lsn)
VALUES ('h', 'second', 1, gen_random_uuid(), '0/1', '0/1');
-- as after pg_dump and restore
UPDATE flo.groups SET system_identifier = 1;
SELECT group_name, member, state, detail FROM flo.status ORDER BY 1, 2;

-- adopted by start_group(): only what is named starts
SELECT flo.start_group('h', 'postgres');
SELECT group_name, member, state, detail FROM flo.status ORDER BY 1, 2;
SELECT group_name, worker_name, started FROM flo.workers ORDER BY 1, 2;
SELECT count(*) FROM flo.progress;
SELECT flo.start_group('g');
SELECT count(*) FROM flo.generations;
SELECT group_name, system_identifier = (SELECT system_identifier FROM pg_control_system()) AS here FROM flo.groups ORDER BY 1;
-- a second call finds nothing foreign any more
SELECT flo.start_group('h');
ROLLBACK;
