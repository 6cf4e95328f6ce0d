-- Workers and what they refuse
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE TABLE t (id int PRIMARY KEY);

SELECT flo.create_worker('g');
SELECT flo.create_worker('g', worker_name => 'second', options => '{"lock_timeout": "3s", "batch_size": null}');
SELECT group_name, worker_name, sink, started, options FROM flo.workers ORDER BY 1, 2;

SELECT flo.create_worker('g');
\echo :SQLSTATE
SELECT flo.create_worker('g', sink => 'postgress');
\echo :SQLSTATE
SELECT flo.create_worker('g', sink => NULL);
\echo :SQLSTATE
SELECT flo.create_worker('k', options => '{"tables": ["public.t", "\"Odd.Name\""]}');
SELECT flo.create_worker('k2', options => '{"tables": ["a.b.c"]}');
\echo :SQLSTATE
SELECT flo.create_worker('k2', options => '{"tables": "public.t, s.\"a,b\""}');
SELECT flo.create_worker('k', options => '{"tables": []}');
\echo :SQLSTATE

-- source and destination are different databases
SELECT flo.create_replicator('g', tables => '{t}');
\echo :SQLSTATE
SELECT flo.create_replicator('h', tables => '{t}');
SELECT flo.create_worker('h');
\echo :SQLSTATE
SELECT group_name, member FROM flo.status ORDER BY 1, 2;
ROLLBACK;
