-- Writes the seeds that are not text into the folder :dir: chunks as pg_flo's own
-- writer makes them, and messages as pgoutput does.  run.sh seeds does it; what
-- it wrote is in the tree.
CREATE PUBLICATION seeds_t FOR TABLE t;
CREATE PUBLICATION seeds_own FOR TABLE own;
CREATE PUBLICATION seeds_whole FOR TABLE whole;
SELECT pg_create_logical_replication_slot('seeds', 'pgoutput');
INSERT INTO t VALUES (1, true, 2, 8, 1.5, 'NaN', 12345.678900, E'a"b\\\nü', 'var', 'ab', '\x00ff', '2024-02-29', 'infinity', '2001-02-03 04:05:06.7+02', '01:02:03.4',
	'1 mon -2 days 03:00', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": [1, null]}', '{"b": {"c": 1e3}}', '{{1,2},{3,NULL}}', '[0:1]={"x,y",NULL}', '{1.5,NaN}', '(1,2)', '::1/64', '1010', '12.30'),
	(2, NULL, NULL, NULL, NULL, '-Infinity', 'NaN', '', NULL, NULL, '', '-infinity', NULL, 'infinity', NULL, NULL, NULL, '1', 'null', '{}', '{}', NULL, NULL, NULL, '', NULL);
UPDATE t SET n = -n, id = id + 10;
DELETE FROM t WHERE id = 11;
INSERT INTO own VALUES (1, 'ok', 7, '(1,"a,b")', '("(1,x)","{""(2,y)"",NULL}",3.5,happy,2020-01-01)', '{sad,ok}', '{"(1,a)",NULL}'), (2, NULL, NULL, '(,)', NULL, '{}', NULL);
INSERT INTO whole VALUES (1, 'x'), (2, NULL);
UPDATE whole SET b = 'y';
DELETE FROM whole;
TRUNCATE t, own;
SELECT pg_logical_emit_message(true, 'pg_flo', '{"group":"g","sequences":[["public","s",1,true]]}');
CREATE TABLE files AS SELECT lo_from_bytea(0, '\x00'::bytea || string_agg(int2send(length(data)::int2) || data, ''::bytea)) AS file, :'dir' || '/messages/' || publication || format AS name
FROM unnest('{t,own,whole}'::text[]) publication, (VALUES ('_binary', 'true'), ('_text', 'false')) f (format, is_binary),
	LATERAL pg_logical_slot_peek_binary_changes('seeds', NULL, NULL, 'proto_version', '2', 'publication_names', 'seeds_' || publication, 'messages', 'true', 'binary', is_binary)
GROUP BY publication, format;
SELECT lo_export(file, name) FROM files;
SELECT flo_fuzz_seeds(:'dir');
