-- Workers that write events: what they refuse, who may make them, secrets
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE FUNCTION pg_temp.worker(sink text, options jsonb, role name DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
	detail text;
BEGIN
	IF role IS NOT NULL THEN
		EXECUTE format('SET LOCAL ROLE %I', role);
	END IF;
	PERFORM flo.create_worker('g', sink, 'w', options);
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

-- file
SELECT pg_temp.worker('file', '{}');
SELECT pg_temp.worker('file', '{"directory": "events"}');
SELECT pg_temp.worker('file', '{"directory": "/no/such/directory"}');
SELECT pg_temp.worker('file', '{"directory": "/etc/passwd"}');
SELECT pg_temp.worker('file', '{"directory": ""}');
SELECT pg_temp.worker('file', '{"directory": "/tmp", "max_size": "-1MB"}');
SELECT pg_temp.worker('file', '{"directory": "/tmp", "max_age": "-1s"}');
SELECT pg_temp.worker('file', '{"directory": "/tmp", "max_size": "many"}');
SELECT pg_temp.worker('file', '{"directory": "/tmp", "batch_size": 0}');
SELECT pg_temp.worker('file', '{"directory": "/tmp", "url": "http://localhost/"}');
SELECT pg_temp.worker('file', '{"directory": "/tmp", "secret": "s"}');
SELECT pg_temp.worker('file', '{"directory": "/tmp", "on_error": "dead_letter"}');
SELECT pg_temp.worker('file', '{"directory": "/tmp", "tables": ["a.b.c"]}');
SELECT pg_temp.worker('file', '{"directory": "/tmp"}');

-- stdout
SELECT pg_temp.worker('stdout', '{"directory": "/tmp"}');
SELECT pg_temp.worker('stdout', '{"tables": ["t", "S.\"T\""]}');

-- webhook: URLs
SELECT url, pg_temp.worker('webhook', jsonb_build_object('url', url))
  FROM unnest('{ftp://example.com/,file:///etc/passwd,example.com,http://,https://user:pw@example.com/,http://example.com:0/,
	http://example.com:99999/,http://example.com:/,http://exa mple.com/,"http://example.com/\\r\\nHost: x",http://example.com/#f,
	http://example.com/a/../b,http://example.com/%2E%2e,
	http://example.com/a/..%2Fb,http://example.com/a%5c../b,http://example.com/a/..;/b,http://example.com/a..b/...%2F,
	"http://example.com\\\\@evil",http://[::1]:8080/x,https://example.com,
	HTTPS://Example.com:8443/hook?x=1}'::text[]) WITH ORDINALITY u (url, n) ORDER BY n;
SELECT pg_temp.worker('webhook', jsonb_build_object('url', 'http://example.com/' || repeat('x', 3000)));
SELECT pg_temp.worker('webhook', jsonb_build_object('url', E'http://example.com/\r\nX: y'));

-- headers and secrets
SELECT pg_temp.worker('webhook', '{"headers": "Authorization: x"}');
SELECT pg_temp.worker('webhook', '{"headers": {"A": 1}}');
SELECT pg_temp.worker('webhook', '{"headers": {"A": "secret\r\nB: y"}}');
SELECT pg_temp.worker('webhook', '{"headers": {"A": "secret\ny"}}');
SELECT pg_temp.worker('webhook', '{"headers": {"A\r\nB": "y"}}');
SELECT pg_temp.worker('webhook', '{"headers": {"A B": "y"}}');
SELECT pg_temp.worker('webhook', '{"headers": {"": "y"}}');
SELECT pg_temp.worker('webhook', '{"headers": {"content-length": "5"}}');
SELECT pg_temp.worker('webhook', '{"headers": {"Idempotency-Key": "5"}}');
SELECT pg_temp.worker('webhook', '{"secret": ""}');
SELECT pg_temp.worker('webhook', '{"secret": {"a": "b"}}');
SELECT pg_temp.worker('webhook', '{"secret_file": "relative"}');
SELECT pg_temp.worker('webhook', '{"headers_file": "/no/such/file"}');
SELECT pg_temp.worker('webhook', '{"secret": "s", "secret_file": "/etc/passwd"}');
SELECT pg_temp.worker('webhook', '{"timeout": "-1s"}');
SELECT pg_temp.worker('webhook', '{"max_attempts": -1}');
SELECT pg_temp.worker('webhook', '{"events_per_request": 0}');
SELECT pg_temp.worker('webhook', '{"uri": "http://example.com/"}');
SELECT pg_temp.worker('webhook', '{"url": "http://example.com/", "headers": {"Authorization": "Bearer x"}, "secret": "s", "on_error": "dead_letter"}');

-- search
SELECT pg_temp.worker('search', '{}');
SELECT pg_temp.worker('search', '{"url": "http://user:pw@example.com/"}');
SELECT pg_temp.worker('search', '{"url": "http://example.com/?x=y"}');
SELECT pg_temp.worker('search', '{"url": "http://example.com/", "secret": "s"}');
SELECT i, pg_temp.worker('search', jsonb_build_object('url', 'http://example.com/', 'index', i))
FROM unnest(array['', 'all', '{schema}', 'Upper-{table}', '_{table}', 'a/{table}', '{operation}-{table}', '{table', 'a_{schema}.{table}-v1', '{table}']) i;
SELECT a, pg_temp.worker('search', jsonb_build_object('url', 'http://example.com/', 'auth', a::json))
FROM unnest(array['"secret"', '{}', '{"user": "u"}', '{"user": "u", "password": ""}', '{"user": "u:v", "password": "secret"}', '{"user": "u", "password": 1}',
	'{"user": "u", "password": "secret", "api_key": "secret"}', '{"api_key": "secret\r\nX: y"}', '{"api_key": "secret", "x": "y"}',
	'{"user": "u", "password": "sécret:"}', '{"api_key": "c2VjcmV0"}', 'null']) a;
SELECT pg_temp.worker('search', '{"url": "http://example.com/", "mapping": "loose"}');
SELECT pg_temp.worker('search', '{"url": "http://example.com/", "json": "text"}');
SELECT pg_temp.worker('search', '{"url": "http://example.com/", "id": "id"}');
SELECT pg_temp.worker('search', '{"url": "http://example.com/", "id": []}');
SELECT pg_temp.worker('search', '{"url": "http://example.com/", "batch_bytes": "1GB"}');
SELECT pg_temp.worker('search', '{"url": "http://example.com/", "batch_ms": "2min"}');
SELECT pg_temp.worker('search', '{"url": "http://example.com/", "gc_deletes": "1s"}');
SELECT pg_temp.worker('search', '{"url": "http://example.com/", "id": ["a", "B"], "mapping": "dynamic", "json": "flattened", "on_error": "dead_letter"}');

-- formats
SELECT pg_temp.worker('stdout', '{"format": "xml"}');
SELECT pg_temp.worker('stdout', '{"format": "cloudevents"}');
SELECT pg_temp.worker('stdout', '{"format": "debezium"}');
SELECT pg_temp.worker('stdout', '{"format": "debezium", "cloudevents_source": "/x"}');
SELECT pg_temp.worker('stdout', '{"cloudevents_source": "/x"}');
SELECT source, pg_temp.worker('stdout', jsonb_build_object('format', 'cloudevents', 'cloudevents_source', source))
  FROM unnest('{https://example.com/a%20b?c=d#e,urn:example:a,a b,a%2,"a\"b","a\r\nb",é,""}'::text[]) WITH ORDINALITY s (source, n) ORDER BY n;
SELECT pg_temp.worker('stdout', jsonb_build_object('format', 'cloudevents', 'cloudevents_source', repeat('x', 3000)));
SELECT pg_temp.worker('stdout', '{"format": "cloudevents", "cloudevents_mode": "binary"}');
SELECT pg_temp.worker('webhook', '{"format": "cloudevents", "cloudevents_mode": "batch"}');
SELECT pg_temp.worker('webhook', '{"format": "debezium", "cloudevents_mode": "binary"}');
SELECT pg_temp.worker('webhook', '{"format": "cloudevents", "cloudevents_mode": "binary", "events_per_request": 2}');
SELECT pg_temp.worker('webhook', '{"format": "cloudevents", "cloudevents_mode": "binary"}');
SELECT pg_temp.worker('webhook', '{"format": "cloudevents", "events_per_request": 2}');
SELECT pg_temp.worker('webhook', '{"tombstones": true}');
SELECT pg_temp.worker('webhook', '{"oversize": "reference"}');
SELECT pg_temp.worker('webhook', '{"headers": {"ce-source": "x"}}');
SELECT pg_temp.worker('webhook', '{"headers": {"FLO-type": "x", "Fl": "y"}}');

-- who may
CREATE ROLE regress_flo_events;
GRANT EXECUTE ON FUNCTION flo.create_worker(text, text, text, jsonb) TO regress_flo_events;
SELECT pg_temp.worker('file', '{"directory": "/tmp"}', 'regress_flo_events');
SELECT pg_temp.worker('stdout', '{}', 'regress_flo_events');
SELECT pg_temp.worker('webhook', '{"url": "http://169.254.169.254/"}', 'regress_flo_events');
SELECT pg_temp.worker('webhook', '{"secret_file": "/etc/passwd"}', 'regress_flo_events');
GRANT pg_write_server_files TO regress_flo_events;
SELECT pg_temp.worker('file', '{"directory": "/tmp"}', 'regress_flo_events');

-- secrets are kept, and kept to themselves
SELECT flo.create_worker('g', 'webhook', 'crm', '{"url": "http://example.com/", "headers": {"Authorization": "Bearer x"}, "secret": "s"}');
SELECT options FROM flo.workers;
SELECT worker_name, key, value FROM flo.secrets WHERE worker_name <> '' ORDER BY key;
SELECT flo.alter_worker('g', 'crm', '{"secret": null, "headers": {"X": "y"}, "timeout": "5s"}');
SELECT options FROM flo.workers;
SELECT worker_name, key, value FROM flo.secrets WHERE worker_name <> '' ORDER BY key;
SELECT flo.alter_worker('g', 'crm', '{"headers_file": "/etc/passwd"}');
SELECT flo.alter_worker('g', 'crm', jsonb_build_object('headers_file', current_setting('data_directory') || '/postgresql.auto.conf', 'headers', NULL));
SELECT count(*) FROM flo.secrets WHERE worker_name <> '';
SELECT flo.alter_worker('g', 'crm', '{"url": "gopher://example.com/"}');
SET LOCAL ROLE regress_flo_events;
SELECT * FROM flo.secrets;
RESET ROLE;

-- subscriptions
INSERT INTO flo.webhook_subscriptions (group_name, url) VALUES ('g', 'http://example.com/');
INSERT INTO flo.webhook_subscriptions (group_name, worker_name, url, schema_name, table_name, operations)
VALUES ('g', 'crm', 'http://example.com/', 'public', 'users', '{INSERT,DELETE,DDL}');
INSERT INTO flo.webhook_subscriptions (group_name) VALUES ('g');
INSERT INTO flo.webhook_subscriptions (group_name, url) VALUES ('g', 'ftp://example.com/');
INSERT INTO flo.webhook_subscriptions (group_name, url, operations) VALUES ('g', 'http://example.com/', '{SELECT}');
INSERT INTO flo.webhook_subscriptions (group_name, url, operations) VALUES ('g', 'http://example.com/', '{}');
INSERT INTO flo.webhook_subscriptions (group_name, url, table_name) VALUES ('g', 'http://example.com/', '');
INSERT INTO flo.webhook_subscriptions (group_name, url, worker_name) VALUES ('g', 'http://example.com/', 'Bad Name');
UPDATE flo.webhook_subscriptions SET url = 'nowhere';
GRANT INSERT ON flo.webhook_subscriptions TO regress_flo_events;
GRANT USAGE ON SEQUENCE flo.webhook_subscriptions_id_seq TO regress_flo_events;
SET LOCAL ROLE regress_flo_events;
INSERT INTO flo.webhook_subscriptions (group_name, url) VALUES ('g', 'http://127.0.0.1/');
RESET ROLE;
SELECT worker_name, url, schema_name, table_name, operations, enabled FROM flo.webhook_subscriptions ORDER BY id;

-- a webhook worker that would send nothing at all
SELECT flo.create_worker('h', 'webhook');
SELECT flo.start_group('h');

-- dead letters
SELECT flo.redrive(NULL);
SELECT flo.redrive(1);
SELECT flo.redrive_group(NULL);
SELECT flo.redrive_group('nobody');
SELECT flo.redrive_group('g');
SELECT * FROM flo.peek('nobody');
SELECT * FROM flo.peek('g', 0);
SELECT * FROM flo.peek('g', 1001);
ROLLBACK;
