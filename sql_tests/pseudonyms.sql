-- Pseudonyms: always the same, no two alike where that is claimed, of the same form, and what is refused
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
\set ON_ERROR_ROLLBACK on
\set VERBOSITY terse
BEGIN;
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	hint text;
BEGIN
	EXECUTE statement INTO result;
	RETURN coalesce(result, 'NULL');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(hint, ''));
END
$$;

-- secrets: made, named, never shown
SELECT pg_temp.try($$SELECT flo.set_secret('main', '0123456789abcde')$$);
SELECT pg_temp.try($$SELECT flo.set_secret('', '0123456789abcdef')$$);
SELECT pg_temp.try($$SELECT flo.set_secret(NULL)$$);
SELECT flo.set_secret('main', '0123456789abcdef0123456789abcdef');
SELECT pg_temp.try($$SELECT flo.set_secret('main', 'fedcba9876543210')$$);
SELECT flo.set_secret('other');
SELECT name, length(value), value ~ '^[0-9a-f]{32,}$' FROM flo.named_secrets ORDER BY name;
SELECT flo.secret('main');
SELECT pg_temp.try($$SELECT flo.secret('nothing')$$);
SELECT pg_temp.try($$SELECT flo.secret(NULL)$$);
SELECT pg_temp.try($$SELECT flo.hash('x', '0123456789abcdef0123456789abcdef')$$);
SELECT pg_temp.try($$SELECT flo.hash('x', 'flo.secret:nothing')$$);
EXPLAIN (VERBOSE, COSTS OFF) SELECT flo.pseudonym('text', relname::text, flo.secret('main')) FROM pg_class;

-- HMAC-SHA-256, as the server's sha256() makes it
CREATE FUNCTION pg_temp.hmac(key bytea, message bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	inner_pad bytea := decode(repeat('36', 64), 'hex');
	outer_pad bytea := decode(repeat('5c', 64), 'hex');
BEGIN
	IF length(key) > 64 THEN key := sha256(key); END IF;
	FOR i IN 0 .. length(key) - 1 LOOP
		inner_pad := set_byte(inner_pad, i, get_byte(inner_pad, i) # get_byte(key, i));
		outer_pad := set_byte(outer_pad, i, get_byte(outer_pad, i) # get_byte(key, i));
	END LOOP;
	RETURN sha256(outer_pad || sha256(inner_pad || message));
END
$$;
-- an alphabet of 256 takes the last byte of each four
SELECT flo.set_secret('long', repeat('long secret ', 10));
SELECT count(*) FILTER (WHERE flo.hash(m, flo.secret(s.name), 8, string_agg) =
	(SELECT string_agg(chr(256 + get_byte(h, i)), '' ORDER BY i) FROM generate_series(3, 31, 4) i)), count(*)
  FROM (SELECT string_agg(chr(256 + i), '' ORDER BY i) FROM generate_series(0, 255) i) a, flo.named_secrets s,
	   (SELECT repeat('grüße', n) AS m FROM generate_series(0, 40) n) v,
	   LATERAL (SELECT pg_temp.hmac(pg_temp.hmac(convert_to(s.value, 'UTF8'), 'pg_flo hash'), convert_to(v.m, 'UTF8')) AS h) h;

-- always the same: these texts must never change
SELECT k, flo.pseudonym(k, 'Bob Müller 42', flo.secret('main')), flo.pseudonym_class(k)
  FROM unnest('{email,first_name,last_name,full_name,username,street,city,company,phone,iban,credit_card,text}'::text[]) k;
SELECT flo.pseudonym('iban', 'DE89 3704 0044 0532 0130 00', flo.secret('main')), flo.pseudonym('credit_card', '4111-1111-1111-1111', flo.secret('main')),
	flo.pseudonym('phone', '+49 (170) 1234567', flo.secret('main')), flo.pseudonym('uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, flo.secret('main')),
	flo.pseudonym('ip', '10.1.2.3/24'::inet, flo.secret('main')), flo.pseudonym('ip', '2001:db8::1', flo.secret('main'));
SELECT flo.pseudonym('date', '2024-02-29', flo.secret('main'), 'ann'), flo.pseudonym('date', '2024-02-29 23:59:59.5+00', flo.secret('main'), 'ann'),
	flo.pseudonym('date', date '2024-02-29', flo.secret('main'), 'bob'), flo.pseudonym('date', timestamp '2024-03-01 12:00', flo.secret('main'), 'bob', days => 3),
	flo.pseudonym('date', '2024-02-29T23:59:59.5Z', flo.secret('main'), 'ann'), flo.pseudonym('date', '2024-02-29 23:59+0530', flo.secret('main'), 'ann'),
	flo.pseudonym('date', 'infinity'::date, flo.secret('main'), 'bob'), flo.pseudonym('date', '0001-01-01 00:00:00 BC', flo.secret('main'), 'bob');
SELECT i, flo.pseudonym('integer', i, flo.secret('main')), flo.pseudonym('bigint', i::bigint, flo.secret('main')),
	flo.pseudonym('integer', i, flo.secret('main'), min => -2, max => 2) FROM generate_series(-2, 2) i;
SELECT flo.pseudonym('bigint', n, flo.secret('main')) FROM unnest('{9223372036854775807,-9223372036854775808}'::bigint[]) n;
SELECT t, flo.pseudonym('text', t, flo.secret('main')) FROM unnest('{a,Z9,"Straße 5","Ελλάδα","Привет, мир!","日本語テキスト","مرحبا 😀","-- / --"}'::text[]) t;
SELECT flo.hash('x', flo.secret('main')), flo.hash('x', flo.secret('main'), 10, 'äöüß'), flo.encrypt('grüße', flo.secret('main'));
-- of the value, not of its type; another secret, another kind: another pseudonym
SELECT flo.pseudonym('uuid', 'A0EEBC999C0B4EF8BB6D6BB9BD380A11', flo.secret('main')) = flo.pseudonym('uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', flo.secret('main')),
	flo.pseudonym('integer', 5, flo.secret('main'))::text = flo.pseudonym('integer', '5', flo.secret('main')),
	flo.pseudonym('email', 'a', flo.secret('main')) = flo.pseudonym('email', 'a', flo.secret('other'));

-- no two alike: all values of small sets, each once
SELECT count(DISTINCT p), min(p), max(p) FROM (SELECT flo.pseudonym('integer', i, flo.secret('main'), min => 1, max => 997) AS p FROM generate_series(1, 997) i) s;
SELECT size, count(DISTINCT p) FROM unnest('{1,2,3,4,5,6,7,8,9,10,15,16,17,100,101}'::int[]) size, generate_series(1, size) i,
	LATERAL (SELECT flo.pseudonym('integer', i, flo.secret('main'), min => 1, max => size) AS p) p WHERE p BETWEEN 1 AND size GROUP BY size ORDER BY size;
SELECT count(DISTINCT p), count(*) FILTER (WHERE p ~ '^[a-z][A-Z]-[0-9]$') FROM (SELECT flo.pseudonym('text', chr(97 + a) || chr(65 + b) || '-' || c, flo.secret('main')) AS p
	FROM generate_series(0, 25) a, generate_series(0, 25) b, generate_series(0, 9) c) s;
SELECT count(DISTINCT p), min(length(p)), max(length(p)) FROM (SELECT flo.pseudonym('text', chr(i), flo.secret('main')) AS p FROM generate_series(32, 50000) i) s;
SELECT k, count(*), count(DISTINCT v), count(DISTINCT flo.pseudonym(k, v, flo.secret('main'))) FROM unnest('{phone,iban,credit_card,text,email,username}'::text[]) k,
	LATERAL (SELECT '+4' || i AS v FROM generate_series(1, 500) i UNION SELECT '004' || i FROM generate_series(1, 500) i UNION SELECT 'DE' || i FROM generate_series(10, 500) i
		UNION SELECT 'DE' || lpad(i::text, 20, '1') FROM generate_series(1, 500) i UNION SELECT 'DE' || (i % 100 + 100)::text || 'ABCDEFGH0000' || i FROM generate_series(1000, 1500) i
		UNION SELECT '411111000000' || i FROM generate_series(1000, 1500) i UNION SELECT i::text FROM generate_series(1, 100) i) s GROUP BY k ORDER BY k;
SELECT count(DISTINCT flo.pseudonym('uuid', md5(i::text)::uuid, flo.secret('main'))), count(DISTINCT flo.pseudonym('ip', '0.0.0.0'::inet + i, flo.secret('main'))),
	count(DISTINCT flo.hash(i::text, flo.secret('main'))) FROM generate_series(1, 2000) i;
SELECT count(DISTINCT left(p, 13) || substr(p, 15, 1)) > 1, string_agg(DISTINCT substr(p, 15, 1) || (('x' || substr(p, 20, 1))::bit(4) & B'1100'), ',') FROM
	(SELECT flo.pseudonym('uuid', gen_random_uuid(), flo.secret('main'))::text AS p FROM generate_series(1, 200)) s;
-- each subject's dates keep their distances, and are moved by at most so many days
SELECT count(DISTINCT shift), min(shift) BETWEEN -10 AND -1, max(shift) BETWEEN 1 AND 10, count(*) FILTER (WHERE shift = 0) FROM
	(SELECT flo.pseudonym('date', date '2024-02-28' + d, flo.secret('main'), s::text, days => 10) - (date '2024-02-28' + d) AS shift, s FROM generate_series(1, 200) s, generate_series(0, 3) d) s;
SELECT count(DISTINCT (s, shift)) FROM (SELECT flo.pseudonym('date', date '2024-02-28' + d, flo.secret('main'), s::text) - (date '2024-02-28' + d) AS shift, s FROM generate_series(1, 20) s, generate_series(0, 300, 7) d) s;

-- check digits
CREATE FUNCTION pg_temp.luhn(number text) RETURNS bool LANGUAGE sql AS $$
	SELECT sum(CASE WHEN n % 2 = 1 THEN d WHEN d > 4 THEN 2 * d - 9 ELSE 2 * d END) % 10 = 0
	  FROM (SELECT d::int, row_number() OVER (ORDER BY n DESC) AS n FROM regexp_split_to_table(regexp_replace(number, '\D', '', 'g'), '') WITH ORDINALITY s (d, n)) s
$$;
CREATE FUNCTION pg_temp.iban(iban text) RETURNS bool LANGUAGE sql AS $$
	SELECT string_agg(CASE WHEN c ~ '\d' THEN c ELSE (ascii(c) - 55)::text END, '' ORDER BY n)::numeric % 97 = 1
	  FROM regexp_split_to_table(substr(replace(iban, ' ', ''), 5) || left(replace(iban, ' ', ''), 4), '') WITH ORDINALITY s (c, n)
$$;
SELECT pg_temp.luhn('4111 1111 1111 1111'), pg_temp.luhn('4111111111111112'), pg_temp.iban('GB29 NWBK 6016 1331 9268 19'), pg_temp.iban('GB28NWBK60161331926819');
SELECT pg_temp.luhn(n) AS valid, pg_temp.luhn(p), count(*), count(DISTINCT p), bool_and(left(p, 6) = left(n, 6) AND length(p) = length(n))
  FROM (SELECT n, flo.pseudonym('credit_card', n, flo.secret('main')) AS p FROM (SELECT '55000000' || (10000000 + i)::text AS n FROM generate_series(1, 1000) i) s) s GROUP BY 1, 2 ORDER BY 1;
SELECT pg_temp.iban(v) AS valid, pg_temp.iban(p), count(*), count(DISTINCT p), bool_and(left(p, 2) = 'GB' AND p ~ '^GB\d\d [A-Z]{4} [0-9]{4} [0-9]{10}$')
  FROM (SELECT v, flo.pseudonym('iban', v, flo.secret('main')) AS p FROM (SELECT 'GB' || (10 + i % 90)::text || ' NWBK 6016 ' || (1331926800 + i)::text AS v FROM generate_series(1, 5000) i) s) s GROUP BY 1, 2 ORDER BY 1;
SELECT v, flo.pseudonym('iban', v, flo.secret('main')), pg_temp.iban(flo.pseudonym('iban', v, flo.secret('main')))
  FROM unnest('{NO9386011117947,FR1420041010050500013M02606,MT84MALT011000012345MTLCAST001S}'::text[]) v;

-- what fits: as long as the table says, and no longer than that
SELECT k, max(length(flo.pseudonym(k, i::text, flo.secret('main')))) FROM unnest('{email,first_name,last_name,full_name,username,street,city,company}'::text[]) k, generate_series(1, 3000) i GROUP BY k ORDER BY k;

-- NULL and empty stay; long ones come out as long
SELECT k, flo.pseudonym(k, NULL::text, flo.secret('main'), CASE k WHEN 'date' THEN 's' END) IS NULL, flo.pseudonym(k, '', flo.secret('main'), CASE k WHEN 'date' THEN 's' END) = ''
  FROM unnest('{email,full_name,phone,iban,credit_card,uuid,ip,date,integer,text}'::text[]) k;
SELECT flo.hash(NULL, flo.secret('main')) IS NULL, length(flo.hash('', flo.secret('main'))), flo.encrypt(NULL, flo.secret('main')) IS NULL, flo.decrypt(NULL, flo.secret('main')) IS NULL;
SELECT length(flo.pseudonym('text', repeat('äb1', 100000), flo.secret('main'))), length(flo.pseudonym('email', repeat('ä', 1000000), flo.secret('main'))) < 43;
SELECT bool_and(flo.decrypt(flo.encrypt(v, flo.secret('main')), flo.secret('main')) = v), count(DISTINCT flo.encrypt(v, flo.secret('main'))), max(length(flo.encrypt(v, flo.secret('main'))))
  FROM (SELECT repeat('ü', i) AS v FROM generate_series(0, 300) i) s;

-- bad values and arguments; a message does not show the value
SELECT k, pg_temp.try(format('SELECT flo.pseudonym(%L, %L, flo.secret(''main''), %L)', k, v, CASE k WHEN 'date' THEN 's' END))
  FROM (VALUES ('uuid', 'secret'), ('uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1'), ('ip', '300.1.1.1'), ('ip', repeat('1', 100)), ('date', '31.12.2024'), ('date', '2024-13-01'),
	('date', '2024-02-29x'), ('date', '2024-02-29 Mia Weber'), ('date', '2024-02-29 10:00:00 +49 170'), ('ip', '10.1.2.3/Mia Weber'), ('ip', '10.1.2.3/33'), ('ip', '::1/'), ('integer', 'secret'), ('integer', '1.5'), ('integer', '2147483648'), ('bigint', '9223372036854775808'), ('integer', '-'), ('emial', 'x')) s (k, v);
SELECT pg_temp.try(s) FROM unnest(ARRAY[$$SELECT flo.pseudonym('integer', 5, flo.secret('main'), min => 1, max => 4)$$,
	$$SELECT flo.pseudonym('integer', 5, flo.secret('main'), min => 5, max => 4)$$, $$SELECT flo.pseudonym('integer', 5, flo.secret('main'), max => 3000000000)$$,
	$$SELECT flo.pseudonym('bigint', 5, flo.secret('main'), min => -9223372036854775808)$$, $$SELECT flo.pseudonym('text', 'x', flo.secret('main'), min => 5)$$,
	$$SELECT flo.pseudonym('text', 'x', flo.secret('main'), days => 5)$$, $$SELECT flo.pseudonym('text', 'x', flo.secret('main'), 's')$$,
	$$SELECT flo.pseudonym('date', '2024-01-01', flo.secret('main'))$$, $$SELECT flo.pseudonym('date', '2024-01-01', flo.secret('main'), 's', days => 0)$$,
	$$SELECT flo.pseudonym(NULL, 'x', flo.secret('main'))$$, $$SELECT flo.pseudonym('text', 'x', NULL)$$, $$SELECT flo.pseudonym('text', 'x', 'pepper')$$,
	$$SELECT flo.hash('x', flo.secret('main'), 0)$$, $$SELECT flo.hash('x', flo.secret('main'), 1025)$$, $$SELECT flo.hash('x', flo.secret('main'), NULL)$$,
	$$SELECT flo.hash('x', flo.secret('main'), 8, 'a')$$, $$SELECT flo.hash('x', flo.secret('main'), 8, 'aba')$$,
	$$SELECT flo.decrypt(flo.encrypt('x', flo.secret('main')), flo.secret('other'))$$, $$SELECT flo.decrypt('AAAA', flo.secret('main'))$$,
	$$SELECT flo.decrypt('secret!', flo.secret('main'))$$, $$SELECT flo.pseudonym_class('emial')$$]) s;
-- a bit that is changed is noticed
SELECT count(*) FROM generate_series(1, 24) i, LATERAL (SELECT flo.encrypt('value', flo.secret('main')) AS e) e
 WHERE pg_temp.try(format('SELECT flo.decrypt(%L, flo.secret(''main''))', overlay(e placing CASE substr(e, i, 1) WHEN 'A' THEN 'B' ELSE 'A' END from i))) NOT LIKE '22023%';

-- types of users, one value for many calls, parallel workers
CREATE DOMAIN few AS int CHECK (VALUE BETWEEN 1 AND 9);
SELECT flo.pseudonym('integer', 5::few, flo.secret('main'), min => 1, max => 9), pg_typeof(flo.pseudonym('integer', 5::few, flo.secret('main'), min => 1, max => 9)),
	pg_temp.try($$SELECT flo.pseudonym('integer', 5::few, flo.secret('main'))$$),
	flo.pseudonym('text', 'abc'::varchar(3), flo.secret('main')), pg_typeof(flo.pseudonym('integer', 5::smallint, flo.secret('main'), max => 100, min => 1));
CREATE TABLE many AS SELECT i, 'v' || i AS v FROM generate_series(1, 1000) i;
SELECT sum(hashtext(flo.pseudonym('email', v, flo.secret('main')))) AS alone FROM many \gset
SELECT count(set_config(name, 'on', true)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT sum(hashtext(flo.pseudonym('email', v, flo.secret('main')))) = :alone FROM many;
SELECT count(set_config(name, 'off', true)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT count(DISTINCT flo.pseudonym(k, 'x', flo.secret(s))) FROM unnest('{email,city}'::text[]) k, unnest('{main,other}'::text[]) s;

-- dates and documents
SELECT flo.truncate_date(date '2024-05-17', 'month'), flo.truncate_date(timestamp '2024-05-17 10:11:12', 'hour'), flo.truncate_date(timestamptz '2024-05-17 23:11:12-05', 'year') = '2024-01-01 00:00+00',
	pg_temp.try($$SELECT flo.truncate_date(date '2024-05-17', 'moon')$$);
SELECT flo.json_set('{"a": {"b": 1}, "l": [{"x": 1}, {"x": 2}, 3]}', '{l,*,x}', '"n"'), flo.json_set('{"a": {"b": 1}}', '{a,c}', '[1]'), flo.json_set('{"a": 1}', '{a,c}', '[1]'),
	flo.json_set('"x"', '{a}', '1'), flo.json_set('[1, 2]', '{1}', '{"k": 1}'), flo.json_set('[1, 2]', '{7}', '9'), flo.json_set(NULL, '{a}', '1') IS NULL;
SELECT flo.json_mask('{"a": {"b": 1.5, "c": [true, null, "grüße"]}, "z": "z"}', '{a}'), flo.json_mask('{"a": {"b": "x"}, "z": "z"}', '{*,b}', '█'), flo.json_mask('[["a"], "b"]', '{*}'),
	flo.json_mask('{"a": 1}', '{b}');
SELECT pg_temp.try(s) FROM unnest(ARRAY[$$SELECT flo.json_mask('[]', '{}')$$, $$SELECT flo.json_mask('[]', '{a}', '**')$$, $$SELECT flo.json_set('[]', '{a}', NULL)$$, $$SELECT flo.json_set('[]', '{NULL}', '1')$$]) s;
SELECT pg_temp.try(format('SELECT flo.json_mask(%L, ''{*}'')', repeat('[', 20000) || repeat(']', 20000))) ~ '^54001';

-- whose a secret is
CREATE ROLE flo_setter; CREATE ROLE flo_user IN ROLE flo_setter; CREATE ROLE flo_nosy;
GRANT EXECUTE ON FUNCTION flo.set_secret(text, text, bool), flo.drop_secret(text) TO flo_setter, flo_nosy;
SET LOCAL ROLE flo_setter;
SELECT flo.set_secret('theirs', 'their own secret');
SET LOCAL ROLE flo_user;
SELECT flo.hash('x', flo.secret('theirs'), 8);
SET LOCAL ROLE flo_nosy;
SELECT pg_temp.try(s) FROM unnest(ARRAY[$$SELECT flo.secret('theirs')$$, $$SELECT flo.hash('x', 'flo.secret:theirs')$$, $$SELECT flo.decrypt('AAAA', 'flo.secret:theirs')$$,
	$$SELECT flo.set_secret('theirs', 'a secret of mine', true)$$, $$SELECT flo.drop_secret('theirs')$$, $$SELECT value FROM flo.named_secrets$$]) s;
SET LOCAL ROLE flo_setter;
PREPARE again (text) AS SELECT flo.hash($1, flo.secret('theirs'), 8);
EXECUTE again ('x');
SELECT flo.set_secret('theirs', 'another secret of theirs', true);
EXECUTE again ('x');
RESET ROLE;
-- a plan that is there already does not outlive the right to use it
SET LOCAL ROLE flo_user;
PREPARE mine (text) AS SELECT flo.hash($1, flo.secret('theirs'), 8);
EXECUTE mine ('x');
RESET ROLE;
-- nor what a function has ready for its next call
CREATE FUNCTION pg_temp.made(v text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN flo.hash(v, 'flo.secret:theirs', 8); END $$;
SELECT pg_temp.made('x');
SELECT flo.set_secret('theirs', 'their third secret', true);
SELECT pg_temp.made('x');
SET LOCAL ROLE flo_nosy;
SELECT pg_temp.try($$SELECT pg_temp.made('x')$$);
RESET ROLE;
REVOKE flo_setter FROM flo_user;
SET LOCAL ROLE flo_user;
SELECT pg_temp.try($$EXECUTE mine ('x')$$);
RESET ROLE;
SELECT pg_temp.try('DROP ROLE flo_setter');
SELECT flo.drop_secret('theirs'), flo.drop_secret('theirs');
SELECT pg_temp.try($$SELECT flo.hash('x', flo.secret('theirs'), 8)$$);
ROLLBACK;
SELECT count(*) FROM flo.named_secrets;
-- what was rolled back is forgotten
SELECT flo.secret('main');
