/*
 * 55_pseudonyms.sql
 *		Pseudonyms, hashes and encryption, and the secrets they are made with.
 *
 * The functions that are called for each row have no settings of their own: they
 * look nothing up by a search_path.
 */

CREATE TABLE flo.named_secrets (
	name text PRIMARY KEY,
	value text NOT NULL,
	owner regrole NOT NULL,
	set_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE flo.named_secrets IS 'Secrets that pseudonyms are made with, see set_secret(); readable by nobody but the owner of the extension, never dumped';
COMMENT ON COLUMN flo.named_secrets.name IS 'what rules and flo.secret() call it';
COMMENT ON COLUMN flo.named_secrets.value IS 'the secret';
COMMENT ON COLUMN flo.named_secrets.owner IS 'role that has set it: those with its rights may use it';
COMMENT ON COLUMN flo.named_secrets.set_at IS 'when it was set';

CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.named_secrets
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
ALTER TABLE flo.named_secrets ENABLE ALWAYS TRIGGER config_changed;

CREATE FUNCTION flo.set_secret(name text, value text DEFAULT NULL, replace bool DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_set_secret_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.set_secret(text, text, bool) IS
'Makes a secret for pseudonyms, of a random value when none is given. It is never shown; roles with the rights of the one that sets it may use it, in flo.secret() and in rules. A value that is given stands in the statement, and in the server''s log if that logs statements: read it from a file with pg_read_file(). With replace all pseudonyms made with it become others. Errors: 22023 value below 16 bytes, or a bad name, 42710 it exists, 42501 it is another role''s';

CREATE FUNCTION flo.drop_secret(name text) RETURNS bool
	AS 'MODULE_PATHNAME', 'flo_drop_secret_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_secret(text) IS
'Removes a secret, and tells whether there was one. Rules that use it stop their members; what was made with it cannot be made or decrypted again. Errors: 42501 it is another role''s';

CREATE FUNCTION flo.secret(name text) RETURNS text
	AS 'MODULE_PATHNAME', 'flo_secret_v2' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION flo.secret(text) IS
'The key of flo.pseudonym(), flo.hash(), flo.encrypt() and flo.decrypt(): stands for a secret, of which it has the name only. Errors: 42704 no such secret, 42501 not the caller''s to use';

CREATE FUNCTION flo.pseudonym(kind text, value text, key text, subject text DEFAULT NULL, min bigint DEFAULT NULL, max bigint DEFAULT NULL, days int DEFAULT NULL) RETURNS text
	AS 'MODULE_PATHNAME', 'flo_pseudonym_v2' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION flo.pseudonym(text, text, text, text, bigint, bigint, int) IS
'Another value of the same kind, always the same for the same value and secret: email, first_name, last_name, full_name, username, street, city, company, phone, iban, credit_card, uuid, ip, date (moved by up to days (180), alike for all dates of a subject), integer and bigint (within min and max), text (letters and digits become others). NULL and empty values stay. Errors: 22023 unknown kind, bad arguments, or a key that is not from flo.secret(), 22P02 value not of the kind, 22003 outside of min and max, 42704 and 42501 of the secret';

CREATE FUNCTION flo.pseudonym(kind text, value anyelement, key text, subject text DEFAULT NULL, min bigint DEFAULT NULL, max bigint DEFAULT NULL, days int DEFAULT NULL) RETURNS anyelement
	AS 'MODULE_PATHNAME', 'flo_pseudonym_any_v2' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION flo.pseudonym(text, anyelement, text, text, bigint, bigint, int) IS
'The same for a value of another type than text, by its text. Not immutable, since the text of some values depends on settings. Errors: those of the other, and of the type';

CREATE FUNCTION flo.pseudonym_class(kind text) RETURNS text
	AS 'MODULE_PATHNAME', 'flo_kind_of_pseudonym_v2' LANGUAGE C IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.pseudonym_class(text) IS
'Whether two values can get the same pseudonym of this kind: injective (never), collision-resistant (not in practice), lossy (often). Errors: 22023 unknown kind';

CREATE FUNCTION flo.hash(value text, key text, length int DEFAULT 32, alphabet text DEFAULT '0123456789abcdef') RETURNS text
	AS 'MODULE_PATHNAME', 'flo_hash_text_v2' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION flo.hash(text, text, int, text) IS
'A text of that many characters of the alphabet, always the same for the same value and secret (HMAC-SHA-256). Two values have the same hash by chance, which below 64 bits (length * log2 of the alphabet''s size) does happen. Errors: 22023 bad length, alphabet or key, 42704 and 42501 of the secret';

CREATE FUNCTION flo.encrypt(value text, key text) RETURNS text
	AS 'MODULE_PATHNAME', 'flo_encrypt_v2' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION flo.encrypt(text, text) IS
'A text that flo.decrypt() makes the value of again, always the same for the same value and secret; a third longer, and 22 characters. Errors: 22023 bad key, 42704 and 42501 of the secret';

CREATE FUNCTION flo.decrypt(value text, key text) RETURNS text
	AS 'MODULE_PATHNAME', 'flo_decrypt_v2' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION flo.decrypt(text, text) IS
'The value that flo.encrypt() was given. Errors: 22023 not made with this secret, or changed; 42704 and 42501 of the secret';

CREATE FUNCTION flo.truncate_date(value date, unit text) RETURNS date
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN pg_catalog.date_trunc(unit, value::timestamp)::date;
CREATE FUNCTION flo.truncate_date(value timestamp, unit text) RETURNS timestamp
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN pg_catalog.date_trunc(unit, value);
CREATE FUNCTION flo.truncate_date(value timestamptz, unit text) RETURNS timestamptz
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN pg_catalog.date_trunc(unit, value AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
COMMENT ON FUNCTION flo.truncate_date(date, text) IS 'The first day of the week, month, quarter, year, decade, ... that the date is in. Errors: 22023 unknown unit';
COMMENT ON FUNCTION flo.truncate_date(timestamp, text) IS 'The begin of the hour, day, week, month, ... that the time is in. Errors: 22023 unknown unit';
COMMENT ON FUNCTION flo.truncate_date(timestamptz, text) IS 'The begin of the hour, day, week, month, ... that the time is in, in UTC. Errors: 22023 unknown unit';

CREATE FUNCTION flo.json_set(document jsonb, path text[], value jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'flo_json_set_v2' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION flo.json_set(jsonb, text[], jsonb) IS
'The document with another value where the path leads: keys and numbers of elements, * for each of them. A last key that an object has not got is added; else what is not there stays away. Errors: 22023 empty path, 22004 NULL path or value';

CREATE FUNCTION flo.json_mask(document jsonb, path text[], mask_char text DEFAULT '*') RETURNS jsonb
	AS 'MODULE_PATHNAME', 'flo_json_mask_v2' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION flo.json_mask(jsonb, text[], text) IS
'The document with what the path leads to, and all that is in it, masked: characters of strings become mask_char, numbers 0, booleans false. Errors: 22023 empty path or no character, 22004 NULL path';
