-- The options argument
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE TABLE t (id int PRIMARY KEY);

SELECT flo.create_replicator('r', tables => '{t}', options => '{"release_wal": "applied", "origin": "any", "stream_max_bytes": "10GB", "stream_max_age": "7d", "stream_replicas": 3, "publish_via_partition_root": false}');
SELECT pubviaroot FROM pg_publication WHERE pubname = 'pgflo_r';
SELECT flo.create_worker('w', options => '{"batch_size": 500, "on_error": "stop", "start": "latest", "on_conflict": "error", "on_missing": "skip", "fire_triggers": true, "run_as_owner": "on", "lock_timeout": "1min"}');

-- merged; null goes back to the default
SELECT flo.alter_replicator('r', '{"stream_max_bytes": "20GB", "origin": null, "publish_via_partition_root": true}');
SELECT options FROM flo.replicators WHERE group_name = 'r';
SELECT pubviaroot FROM pg_publication WHERE pubname = 'pgflo_r';
SELECT flo.alter_worker('w', 'postgres', '{"on_error": null, "start": null, "batch_size": 100}');
SELECT options FROM flo.workers WHERE group_name = 'w';
SELECT flo.alter_replicator('r', '{}');

SELECT flo.alter_replicator('r', '{"stream_max_byte": "20GB"}');
\echo :SQLSTATE
SELECT flo.alter_replicator('r', '{"no_such": null}');
\echo :SQLSTATE
SELECT flo.alter_replicator('r', '{"batch_size": 100}');
\echo :SQLSTATE
SELECT flo.alter_replicator('r', '[]');
\echo :SQLSTATE
SELECT flo.alter_replicator('r', NULL);
\echo :SQLSTATE
SELECT flo.alter_replicator('r', '{"release_wal": "publishd"}');
\echo :SQLSTATE
SELECT flo.alter_replicator('r', '{"stream_max_bytes": "ten"}');
\echo :SQLSTATE
SELECT flo.alter_replicator('r', '{"stream_max_bytes": "10 apples"}');
\echo :SQLSTATE
SELECT flo.alter_replicator('r', '{"stream_max_bytes": -1}');
\echo :SQLSTATE
SELECT flo.alter_replicator('r', '{"stream_replicas": 6}');
\echo :SQLSTATE
SELECT flo.alter_replicator('r', '{"stream_replicas": 1.5}');
\echo :SQLSTATE
SELECT flo.alter_replicator('r', '{"publish_via_partition_root": "maybe"}');
\echo :SQLSTATE
SELECT flo.alter_replicator('r', '{"origin": {"a": 1}}');
\echo :SQLSTATE
SELECT flo.alter_worker('w', 'postgres', '{"url": "https://user:secret@example.com"}');
\echo :SQLSTATE
SELECT flo.alter_worker('w', 'postgres', '{"on_error": "dead_letter"}');
\echo :SQLSTATE
SELECT flo.alter_worker('w', 'postgres', '{"lock_timeout": "10GB"}');
\echo :SQLSTATE
SELECT flo.alter_worker('w', 'postgres', '{"batch_size": 0}');
\echo :SQLSTATE
SELECT flo.alter_replicator('nobody', '{}');
\echo :SQLSTATE
SELECT flo.alter_replicator('w', '{}');
\echo :SQLSTATE
SELECT flo.alter_worker('w', 'nobody', '{}');
\echo :SQLSTATE
SELECT options FROM flo.replicators WHERE group_name = 'r';
ROLLBACK;
