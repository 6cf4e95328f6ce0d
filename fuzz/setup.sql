-- What a server needs before it can fuzz
CREATE EXTENSION pg_flo;
CREATE FUNCTION flo_fuzz(text[]) RETURNS int LANGUAGE c STRICT AS '$libdir/pg_flo';
CREATE FUNCTION flo_fuzz_seeds(text) RETURNS void LANGUAGE c STRICT AS '$libdir/pg_flo';
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN small AS int CHECK (VALUE < 100);
CREATE TYPE pair AS (a int, b text);
CREATE TYPE nested AS (p pair, q pair[], n numeric, m mood, d date);
CREATE TABLE t (id int PRIMARY KEY, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric, t text, v varchar(9),
	c char(3), y bytea, d date, ts timestamp, tz timestamptz, ti time, iv interval, u uuid, j json, jb jsonb,
	ia int[], ta text[], na numeric[], p point, inet inet, bits varbit, m money);
CREATE TABLE own (id int PRIMARY KEY, m mood, s small, p pair, n nested, ma mood[], pa pair[]);
CREATE TABLE whole (a int, b text);
ALTER TABLE whole REPLICA IDENTITY FULL;
