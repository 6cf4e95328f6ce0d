-- wait_for: what it refuses, and false at the timeout
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE TABLE t (id int PRIMARY KEY);
SELECT flo.create_replicator('src', tables => '{t}');
SELECT flo.create_worker('dst');
SELECT flo.create_worker('dst', worker_name => 'second');

SELECT flo.wait_for('src', timeout => '0');
SELECT flo.wait_for('src', '0/1', '10 ms');
SELECT flo.wait_for('src', timeout => '10 ms', member => 'replicator');
SELECT flo.wait_for('dst', '0/1', '10 ms');
SELECT flo.wait_for('dst', '0/1', '10 ms', 'second');

SELECT flo.wait_for('nobody');
\echo :SQLSTATE
SELECT flo.wait_for(NULL);
\echo :SQLSTATE
SELECT flo.wait_for('src', timeout => '-1 s');
\echo :SQLSTATE
SELECT flo.wait_for('src', timeout => NULL);
\echo :SQLSTATE
SELECT flo.wait_for('src', member => 'postgres');
\echo :SQLSTATE
SELECT flo.wait_for('dst');
\echo :SQLSTATE
SELECT flo.wait_for('dst', '0/1', member => 'third');
\echo :SQLSTATE
SELECT flo.wait_for('dst', member => 'second');
\echo :SQLSTATE

SELECT flo.start_group('src');
SELECT flo.wait_for('src', timeout => '1 s');
\echo :SQLSTATE
SELECT flo.wait_for('dst', '0/1', '10 ms');

SELECT flo.reset_stats();
SELECT flo.reset_stats('src');
SELECT flo.reset_stats('nobody');
\echo :SQLSTATE
ROLLBACK;
