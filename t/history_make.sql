-- history(n, seed): n random transactions over all tables, whatever of it fails undone
CREATE FUNCTION rnd(n int) RETURNS int LANGUAGE sql AS 'SELECT floor(random() * n)::int';
CREATE FUNCTION rnd_int() RETURNS text LANGUAGE sql AS
	$$ SELECT CASE WHEN random() < 0.15 THEN 'NULL' ELSE rnd(12)::text END $$;
CREATE FUNCTION rnd_text() RETURNS text LANGUAGE sql AS
	$$ SELECT CASE WHEN random() < 0.15 THEN 'NULL' WHEN random() < 0.3 THEN '''''' ELSE quote_literal(chr(97 + rnd(3))) END $$;
CREATE FUNCTION rnd_big() RETURNS text LANGUAGE sql AS
	$$ SELECT CASE WHEN random() < 0.4 THEN format('repeat(md5(%L), %s)', random()::text, 80 + rnd(200)) ELSE rnd_text() END $$;
-- keys that come again and keys that never do
CREATE FUNCTION rnd_key() RETURNS text LANGUAGE sql AS
	$$ SELECT CASE WHEN random() < 0.8 THEN rnd(15) ELSE 100 + rnd(1000000) END::text $$;

CREATE TABLE templates (id serial, t text, s text);
INSERT INTO templates (t, s) SELECT t, s FROM (VALUES
	('plain', 'INSERT INTO plain VALUES (K, I, B, I)'), ('plain', 'INSERT INTO plain VALUES (K, I, B, 1.50)'),
	('plain', 'INSERT INTO plain SELECT g, I, B FROM generate_series(20, 20 + I * 3) g'),
	('plain', 'UPDATE plain SET v = I WHERE id = K'), ('plain', 'UPDATE plain SET big = B WHERE id = K'),
	('plain', 'UPDATE plain SET v = v + 1'), ('plain', 'UPDATE plain SET id = id + 1000 WHERE id = K'),
	('plain', 'UPDATE plain SET id = -id'), ('plain', 'UPDATE plain SET id = id + 1 WHERE id > 50'),
	('plain', 'DELETE FROM plain WHERE id = K'), ('plain', 'DELETE FROM plain WHERE id > 15'),
	('plain', 'WITH d AS (DELETE FROM plain WHERE id = K RETURNING *) INSERT INTO plain SELECT id + 2, v, big FROM d'),
	('uniq', 'INSERT INTO uniq VALUES (K, I, B)'), ('uniq', 'INSERT INTO uniq VALUES (K, K, T)'),
	('uniq', 'UPDATE uniq SET u = I WHERE id = K'), ('uniq', 'UPDATE uniq SET big = B WHERE id = K'),
	('uniq', 'UPDATE uniq SET u = u + 100000'), ('uniq', 'DELETE FROM uniq WHERE id = K'),
	('uniq', 'INSERT INTO uniq SELECT g, g + 100000 FROM generate_series(20, 20 + I * 2) g'),
	('uniq', 'DELETE FROM uniq WHERE id > 15'), ('uniq', 'UPDATE uniq SET u = NULL WHERE id = K'),
	('uniq_later', 'INSERT INTO uniq_later VALUES (K, I, I)'), ('uniq_later', 'UPDATE uniq_later SET u = 11 - u'),
	('uniq_later', 'UPDATE uniq_later SET u = u + 1'), ('uniq_later', 'DELETE FROM uniq_later WHERE id = K'),
	('uniq_later', 'UPDATE uniq_later SET u = I, v = I WHERE id = K'),
	('checked', 'INSERT INTO checked VALUES (K, I, coalesce(B, ''''))'), ('checked', 'UPDATE checked SET v = I WHERE id = K'),
	('checked', 'UPDATE checked SET v = v - 1'), ('checked', 'DELETE FROM checked WHERE id = K'),
	('checked', 'UPDATE checked SET big = coalesce(B, ''y'') WHERE id < K'), ('checked', 'UPDATE checked SET id = id + 77 WHERE id = K'),
	('computed', 'INSERT INTO computed VALUES (K, I, DEFAULT, B)'), ('computed', 'UPDATE computed SET v = I'),
	('computed', 'UPDATE computed SET big = B WHERE id = K'), ('computed', 'DELETE FROM computed WHERE id = K'),
	('computed', 'INSERT INTO computed SELECT g, I FROM generate_series(20, 20 + I) g'), ('computed', 'DELETE FROM computed WHERE id > 15'),
	('parted', 'INSERT INTO parted VALUES (K, 1, B)'), ('parted', 'INSERT INTO parted SELECT K, g, T FROM generate_series(2, I) g'),
	('parted', 'UPDATE parted SET v = B WHERE k = K'), ('parted', 'UPDATE parted SET k = k + 5 WHERE k = K'),
	('parted', 'UPDATE parted SET l = l + 50 WHERE k = K'), ('parted', 'DELETE FROM parted WHERE k = K'),
	('parted', 'UPDATE parted SET v = v || ''x'''), ('parted', 'DELETE FROM parted WHERE k > 12'),
	('number_key', 'INSERT INTO number_key VALUES (K, T)'), ('number_key', 'INSERT INTO number_key VALUES (K.00, T)'),
	('number_key', 'UPDATE number_key SET v = T WHERE n = K'), ('number_key', 'UPDATE number_key SET n = n::numeric(12, 2)'),
	('number_key', 'DELETE FROM number_key WHERE n = K'), ('number_key', 'UPDATE number_key SET n = n + 0.5 WHERE n = K'),
	('text_key', 'INSERT INTO text_key VALUES (coalesce(T, ''z''), coalesce(T, ''z''), I)'), ('text_key', 'UPDATE text_key SET v = I WHERE a = T'),
	('text_key', 'UPDATE text_key SET a = a || ''a'' WHERE b = T AND length(a) < 9'), ('text_key', 'DELETE FROM text_key WHERE a = T'),
	('text_key', 'INSERT INTO text_key SELECT g, g, I FROM generate_series(1, 9) g'), ('text_key', 'DELETE FROM text_key WHERE length(a) > 2'),
	('full_key', 'INSERT INTO full_key VALUES (K, I, B)'), ('full_key', 'UPDATE full_key SET v = I WHERE id < K'),
	('full_key', 'UPDATE full_key SET big = B WHERE id = K'), ('full_key', 'DELETE FROM full_key WHERE id = K'),
	('full_key', 'UPDATE full_key SET id = id + 1 WHERE id > 20'), ('full_key', 'INSERT INTO full_key SELECT g, I, B FROM generate_series(20, 29) g'),
	('no_key', 'INSERT INTO no_key SELECT I, T FROM generate_series(1, 8)'), ('no_key', 'UPDATE no_key SET a = I WHERE b = T'),
	('no_key', 'DELETE FROM no_key WHERE a = I'),
	('by_index', 'INSERT INTO by_index VALUES (K, I, T)'), ('by_index', 'UPDATE by_index SET v = I'), ('by_index', 'DELETE FROM by_index WHERE id = K'),
	('by_index', 'UPDATE by_index SET id = id + 33 WHERE id = K'),
	('numbered', 'INSERT INTO numbered (v, w) SELECT I, T FROM generate_series(1, 4)'), ('numbered', 'UPDATE numbered SET v = I WHERE id % 3 = 0'),
	('numbered', 'DELETE FROM numbered WHERE id % 4 = 1'), ('numbered', 'UPDATE numbered SET id = DEFAULT WHERE id % 7 = 0'),
	('parent', 'INSERT INTO parent VALUES (K, I)'), ('parent', 'DELETE FROM parent WHERE id = K'), ('parent', 'UPDATE parent SET id = id + 60 WHERE id = K'),
	('child', 'INSERT INTO child VALUES (K, K, I)'), ('child', 'UPDATE child SET v = I'), ('child', 'DELETE FROM child WHERE id = K'),
	('child', 'INSERT INTO child SELECT 1000 + rnd(100000), id FROM parent'), ('parent', 'UPDATE parent SET v = I WHERE id < K'),
	('extra', 'INSERT INTO extra VALUES (K, coalesce(I, 0))'), ('extra', 'UPDATE extra SET v = v + 1'), ('extra', 'DELETE FROM extra WHERE id = K'),
	('extra', 'INSERT INTO extra SELECT g, 1 FROM generate_series(20, 29) g'), ('extra', 'DELETE FROM extra WHERE id > 15'),
	('spans', 'INSERT INTO spans VALUES (K, int4range(K, K + 3))'), ('spans', 'UPDATE spans SET span = int4range(K, K + 2) WHERE id = K'),
	('spans', 'DELETE FROM spans WHERE id = K'), ('spans', 'UPDATE spans SET span = int4range(lower(span) + 40, upper(span) + 40)'),
	('arrays', 'INSERT INTO arrays VALUES (K, ARRAY[[I, 2], [3, I]], ''{"a": [1, null]}'', ''\x00ff'', ''-0'')'), ('arrays', 'UPDATE arrays SET a = ARRAY[I], f = I, j = NULL WHERE id < K'),
	('arrays', 'DELETE FROM arrays WHERE id = K'), ('arrays', 'UPDATE arrays SET f = ''NaN'', b = NULL WHERE id = K'),
	('expressions', 'INSERT INTO expressions SELECT g, I, T FROM generate_series(1, I) g'), ('expressions', 'UPDATE expressions SET v = I'), ('expressions', 'DELETE FROM expressions WHERE id = K')
) x (t, s);

CREATE PROCEDURE history(n int, seed float8, truncates bool DEFAULT true) LANGUAGE plpgsql AS $$
DECLARE
	tables text[];
	favourite text;
	s text;
BEGIN
	PERFORM setseed(seed);
	SELECT array_agg(DISTINCT t ORDER BY t) INTO tables FROM templates;
	FOR i IN 1 .. n LOOP
		favourite := tables[1 + rnd(cardinality(tables))];
		BEGIN
			FOR j IN 1 .. 1 + rnd(12) LOOP
				BEGIN
					SELECT x.s INTO s FROM templates x
					WHERE random() < 0.4 OR x.t = favourite ORDER BY random() * (CASE WHEN x.t = favourite THEN 0.05 ELSE 1 END) LIMIT 1;
					s := regexp_replace(s, '\mK\M', rnd_key(), 'g');
					s := regexp_replace(s, '\mI\M', rnd_int(), 'g');
					s := regexp_replace(s, '\mB\M', rnd_big(), 'g');
					s := regexp_replace(s, '\mT\M', rnd_text(), 'g');
					IF truncates AND random() < 0.003 THEN
						s := 'TRUNCATE ' || (ARRAY['plain', 'uniq, checked', 'parted', 'parent, child', 'no_key'])[1 + rnd(5)];
					END IF;
					EXECUTE s;
					IF random() < 0.05 THEN
						RAISE EXCEPTION 'undone';
					END IF;
				EXCEPTION WHEN OTHERS THEN
					NULL;
				END;
			END LOOP;
			SET CONSTRAINTS ALL IMMEDIATE;
			IF random() < 0.05 THEN
				RAISE EXCEPTION 'all undone';
			END IF;
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
		COMMIT;
	END LOOP;
END $$;

-- All rows of all tables as text; columns only a destination has left out
CREATE VIEW everything AS
	SELECT 'plain' t, (id, v, big, n)::text r FROM plain UNION ALL SELECT 'uniq', x::text FROM uniq x
	UNION ALL SELECT 'uniq_later', x::text FROM uniq_later x UNION ALL SELECT 'checked', x::text FROM checked x
	UNION ALL SELECT 'computed', x::text FROM computed x UNION ALL SELECT 'parted', x::text FROM parted x
	UNION ALL SELECT 'number_key', x::text FROM number_key x UNION ALL SELECT 'text_key', x::text FROM text_key x
	UNION ALL SELECT 'full_key', (id::text, v, big)::text FROM full_key UNION ALL SELECT 'no_key', x::text FROM no_key x
	UNION ALL SELECT 'by_index', x::text FROM by_index x UNION ALL SELECT 'numbered', x::text FROM numbered x
	UNION ALL SELECT 'parent', x::text FROM parent x UNION ALL SELECT 'child', x::text FROM child x
	UNION ALL SELECT 'extra', (id, v)::text FROM extra UNION ALL SELECT 'spans', x::text FROM spans x
	UNION ALL SELECT 'arrays', x::text FROM arrays x UNION ALL SELECT 'expressions', x::text FROM expressions x;
