-- Workers that publish to NATS: what they refuse when their options are set
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE FUNCTION pg_temp.worker(options jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	PERFORM flo.create_worker('g', 'nats', 'w', options);
	RAISE EXCEPTION 'accepted' USING ERRCODE = '00001';
EXCEPTION WHEN SQLSTATE '00001' THEN
	RETURN 'accepted';
WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(hint, ''));
END
$$;
\pset format unaligned
\pset tuples_only on

-- subjects
SELECT subject, pg_temp.worker(jsonb_build_object('subject', subject))
  FROM unnest(ARRAY['cdc.{group}.{database}.{schema}.{table}.{operation}.{key}', 'orders', 'a.{{x}}', 'a.x{table}y.z', 'cdc.{tabel}',
	'cdc.{table', 'cdc.table}', '', 'cdc..{table}', '.cdc', 'cdc.', 'cdc.*.{table}', 'cdc.{table}.>', 'cdc.my table', E'cdc.{table}\t', 'cdc.täble',
	'{group}.{table}', '{schema}.{table}', 'pgflo.users', 'pgflo.{group}', 'pgflo', 'pgflox.{table}', '$JS.API.{table}', '$KV.x.{key}', '$SYS.{table}',
	'_INBOX.{table}']) WITH ORDINALITY u (subject, n) ORDER BY n;
SELECT pg_temp.worker(jsonb_build_object('subject', repeat('x', 300)));

-- partitions
SELECT pg_temp.worker('{"partitions": 0}');
SELECT pg_temp.worker('{"partitions": 1025}');
SELECT pg_temp.worker('{"partitions": 4}');
SELECT pg_temp.worker('{"partitions": 4, "subject": "x.{partition}"}');
SELECT pg_temp.worker('{"partition_by": "row", "subject": "x.{partition}"}');
SELECT pg_temp.worker('{"partition_by": [], "subject": "x.{partition}"}');
SELECT pg_temp.worker('{"partition_by": [1], "subject": "x.{partition}"}');
SELECT pg_temp.worker('{"partition_by": ["customer", "Odd \"Name"], "subject": "x.{partition}", "partitions": 4}');

-- streams
SELECT pg_temp.worker('{"stream": "ORDERS"}');
SELECT pg_temp.worker('{"stream": "my.orders"}');
SELECT pg_temp.worker('{"stream": "pgflo_users_stream"}');
SELECT pg_temp.worker('{"stream": "KV_orders"}');
SELECT pg_temp.worker('{"stream": "OBJ_orders"}');
SELECT pg_temp.worker('{"stream": ""}');
SELECT pg_temp.worker('{"stream": "ORDERS", "jetstream": false}');
SELECT pg_temp.worker('{"jetstream": false}');
SELECT pg_temp.worker('{"stream_max_bytes": "-1MB"}');
SELECT pg_temp.worker('{"stream_replicas": 9}');
SELECT pg_temp.worker('{"stream_max_bytes": "1GB", "stream_max_age": "1d", "stream_replicas": 3}');

-- others
SELECT pg_temp.worker('{"oversize": "cut"}');
SELECT pg_temp.worker('{"url": "http://example.com/"}');

-- what was accepted is what is checked again
SELECT flo.create_worker('g', 'nats', 'w', '{"subject": "x.{partition}", "partitions": 4}');
SELECT flo.alter_worker('g', 'w', '{"subject": "x.{table}"}');
SELECT flo.alter_worker('g', 'w', '{"subject": "x.{table}", "partitions": null}');
SELECT options FROM flo.workers WHERE worker_name = 'w';
ROLLBACK;
