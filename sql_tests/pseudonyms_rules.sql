-- Rules that make pseudonyms and hashes: what is refused as they are written
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
SET client_min_messages = error;
\set ON_ERROR_ROLLBACK on
BEGIN;
\pset format unaligned
\pset tuples_only on
SELECT flo.set_secret('main', '0123456789abcdef0123456789abcdef');
CREATE DOMAIN short AS varchar(10);
CREATE DOMAIN low AS text CHECK (VALUE ~ '^[a-z._0-9@]+$');
CREATE TABLE users (id int PRIMARY KEY, email varchar(60) UNIQUE, name text, nick varchar(5), age smallint, born date, key uuid, ip inet,
	sh short, lo low, bytes bytea, ch char(40), plain text, tenant int, UNIQUE (tenant, name));

CREATE FUNCTION pg_temp.try(column_name text, arguments jsonb, action text DEFAULT 'pseudonym', stage text DEFAULT 'worker', more jsonb DEFAULT '{}', table_name text DEFAULT 'users')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	hint text;
	place text;
BEGIN
	DELETE FROM flo.rules;
	INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments, stage)
	VALUES ('g', table_name, column_name, action, CASE arguments ? 'secret' WHEN true THEN arguments ELSE arguments || '{"secret": "main"}' END, stage);
	SELECT coalesce(p.new_row ->> column_name, 'NULL') INTO result FROM flo.preview('g', table_name, 'INSERT',
		'{"id": 1, "email": "a@b.de", "name": "Bob", "nick": "abc", "age": 5, "born": "2024-02-29", "key": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
		  "ip": "10.1.1.1", "sh": "x", "lo": "abc", "bytes": "\\x00", "ch": "ab", "plain": "grüße"}'::jsonb || more) p;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT, place = PG_EXCEPTION_CONTEXT;
	RETURN regexp_replace(concat_ws(' | ', SQLSTATE, SQLERRM, substring(place from 'rule \d+, row [^\n]*'), nullif(hint, '')), 'rule \d+', 'rule N', 'g');
END
$$;

-- arguments
SELECT a, pg_temp.try('email', a::jsonb) FROM unnest(ARRAY['{"kind": "email"}', '{}', '{"kind": "emial"}', '{"kind": "email", "secret": "nothing"}', '{"kind": "email", "secret": ""}',
	'{"kind": "email", "days": 5}', '{"kind": "email", "subject": "id"}', '{"kind": "email", "min": 5}', '{"kind": "email", "length": 5}', '{"kind": "email", "allow_duplicates": 1}']) a;
SELECT a, pg_temp.try('age', a::jsonb) FROM unnest(ARRAY['{"kind": "integer"}', '{"kind": "integer", "min": 0, "max": 100}', '{"kind": "integer", "min": 6, "max": 100}', '{"kind": "integer", "min": "0"}',
	'{"kind": "integer", "min": 1.5}', '{"kind": "bigint", "min": 0, "max": 40000}', '{"kind": "integer", "min": 0, "max": 99999999999}']) a;
SELECT a, pg_temp.try('born', a::jsonb) FROM unnest(ARRAY['{"kind": "date"}', '{"kind": "date", "subject": "id", "days": 10}', '{"kind": "date", "subject": "nothing"}', '{"kind": "date", "subject": "id", "days": 0}',
	'{"kind": "date", "subject": "tenant"}']) a;
SELECT a, pg_temp.try('plain', a::jsonb, 'hash') FROM unnest(ARRAY['{}', '{"length": 16}', '{"length": 0}', '{"length": 16, "alphabet": "aa"}', '{"kind": "email"}', '{"secret": "nothing"}']) a;

-- types and lengths
SELECT c, k, pg_temp.try(c, jsonb_build_object('kind', k)) FROM unnest('{id,nick,key,ip,born,sh,lo,bytes}'::text[]) c, unnest('{email,uuid,ip,bigint,text,first_name}'::text[]) k;
SELECT c, pg_temp.try(c, '{"length": 20}', 'hash') FROM unnest('{id,nick,lo,ch,sh,bytes}'::text[]) c;
-- padding is no part of a value
SELECT pg_temp.try('ch', '{}', 'hash') = pg_temp.try('plain', '{}', 'hash', more => '{"plain": "ab"}');

-- duplicates
SELECT c, pg_temp.try(c, '{"kind": "first_name"}'), pg_temp.try(c, '{"kind": "first_name", "allow_duplicates": true}') FROM unnest('{email,name,plain}'::text[]) c;
SELECT pg_temp.try('name', '{"length": 15}', 'hash'), pg_temp.try('name', '{"length": 16}', 'hash'), pg_temp.try('name', '{"length": 15, "allow_duplicates": true}', 'hash');
CREATE UNIQUE INDEX by_lower ON users (tenant, lower(plain));
SELECT pg_temp.try('plain', '{"kind": "first_name"}');
DROP INDEX by_lower;
SELECT pg_temp.try('email', '{"kind": "full_name"}', stage => 'replicator');

-- NULL, empty
SELECT k, pg_temp.try('plain', jsonb_build_object('kind', k), more => '{"plain": null}'), pg_temp.try('plain', jsonb_build_object('kind', k), more => '{"plain": ""}') FROM unnest('{email,text,uuid}'::text[]) k;
-- at the first row, with rule and row
SELECT pg_temp.try('plain', '{"kind": "uuid"}');
-- a value that was not sent stays so
SELECT p.new_row FROM flo.preview('g', 'users', 'UPDATE', '{"id": 1, "name": "x"}') p;

-- keys: found again by the same pseudonym
DELETE FROM flo.rules;
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('g', 'users', 'id', 'pseudonym', '{"kind": "integer", "secret": "main"}');
SELECT p.new_row ->> 'id' = q.old_row ->> 'id', p.new_row ->> 'id' = flo.pseudonym('integer', '7', flo.secret('main'))
  FROM flo.preview('g', 'users', 'INSERT', '{"id": 7}') p, flo.preview('g', 'users', 'DELETE', NULL, '{"id": 7}') q;

-- foreign keys: both ends or none
CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users, follows int REFERENCES orders);
DELETE FROM flo.rules;
CREATE FUNCTION pg_temp.pair(rules text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE $i$INSERT INTO flo.rules (group_name, worker_name, table_name, column_name, action, arguments) VALUES $i$ || rules;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	RETURN regexp_replace(concat_ws(' | ', SQLSTATE, SQLERRM), 'rule \d+', 'rule N');
END
$$;
SELECT pg_temp.pair($$('g', NULL, 'users', 'id', 'pseudonym', '{"kind": "integer", "secret": "main"}')$$);
SELECT pg_temp.pair($$('g', NULL, 'orders', 'user_id', 'pseudonym', '{"kind": "integer", "secret": "main"}')$$);
SELECT pg_temp.pair($$('g', NULL, 'users', 'id', 'pseudonym', '{"kind": "integer", "secret": "main"}'), ('g', NULL, 'orders', 'user_id', 'pseudonym', '{"kind": "integer", "secret": "main", "min": 1}')$$);
SELECT pg_temp.pair($$('g', NULL, 'users', 'id', 'pseudonym', '{"kind": "integer", "secret": "main"}'), ('g', 'w', 'orders', 'user_id', 'pseudonym', '{"kind": "integer", "secret": "main"}')$$);
SELECT pg_temp.pair($$('g', NULL, 'orders', 'id', 'pseudonym', '{"kind": "integer", "secret": "main"}')$$);
SELECT pg_temp.pair($$('g', NULL, 'users', 'id', 'pseudonym', '{"kind": "integer", "secret": "main"}'), ('g', NULL, 'orders', 'user_id', 'pseudonym', '{"kind": "integer", "secret": "main"}')$$);
CREATE FUNCTION pg_temp.run(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN regexp_replace(concat_ws(' | ', SQLSTATE, SQLERRM), 'rule \d+', 'rule N');
END
$$;
SELECT pg_temp.run($$DELETE FROM flo.rules WHERE table_name = 'orders'$$);
SELECT pg_temp.run($$UPDATE flo.rules SET enabled = false WHERE table_name = 'orders'$$);
UPDATE flo.rules SET enabled = false;
DELETE FROM flo.rules;
-- events know no foreign keys, unique indexes or types
SELECT flo.create_worker('h', 'file', worker_name => 'f', options => '{"directory": "/tmp"}');
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('h', 'users', 'id', 'hash', '{"secret": "main"}'), ('h', 'users', 'email', 'pseudonym', '{"kind": "city", "secret": "main"}');
SELECT p.new_row ->> 'id' = flo.hash('7', flo.secret('main')) FROM flo.preview('h', 'users', 'INSERT', '{"id": 7}') p;
DELETE FROM flo.rules;

-- a rule is its author's, who must be one that may use the secret
CREATE ROLE flo_author;
GRANT INSERT, SELECT, UPDATE, DELETE ON flo.rules TO flo_author; GRANT USAGE ON SEQUENCE flo.rules_id_seq TO flo_author; GRANT USAGE ON SCHEMA flo TO flo_author;
SET LOCAL ROLE flo_author;
SELECT pg_temp.pair($$('mine', NULL, 'elsewhere', 'v', 'hash', '{"secret": "main"}')$$);
RESET ROLE;
-- checks of domains are code of users: they run as the author
CREATE ROLE flo_checked;
CREATE FUNCTION as_author(v text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'flo_checked' THEN RAISE 'checked as %', current_user; END IF;
	RETURN true;
END
$$;
GRANT CREATE, USAGE ON SCHEMA public TO flo_checked;
GRANT EXECUTE ON FUNCTION flo.set_secret(text, text, bool) TO flo_checked;
SET LOCAL ROLE flo_checked;
SELECT flo.set_secret('checked');
RESET ROLE;
CREATE DOMAIN checked AS text CHECK (as_author(VALUE));
CREATE TABLE with_domain (id int PRIMARY KEY, v checked);
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments, author) VALUES ('g', 'with_domain', 'v', 'pseudonym', '{"kind": "city", "secret": "checked"}', 'flo_checked');
DELETE FROM flo.rules;

-- a dump has rules and no secrets: what is restored is told of, and stands
SELECT flo.drop_secret('main');
SET client_min_messages = warning;
INSERT INTO flo.rules (id, group_name, table_name, column_name, action, arguments, author) VALUES (77, 'g', 'users', 'plain', 'hash', '{"secret": "main"}', current_user::regrole);
SET client_min_messages = error;
SELECT flo.rule_problem(77);
SELECT flo.set_secret('main');
SELECT flo.rule_problem(77);
-- nor does a secret that is gone keep a rule from being disabled
SELECT flo.drop_secret('main');
UPDATE flo.rules SET enabled = false;
ROLLBACK;
