/*
 * 00_schema.sql
 *		The schema, which is pg_flo's own.  The only part that an upgrade from
 *		0.1, which has the schema, leaves out: see upgrade_0.1_head.sql.
 */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION pg_flo" to load this file. \quit

-- The schema is made here, so that it belongs to the extension and goes with
-- it.  One that is there already is nobody's but its owner's, who could replace
-- what is created in it.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'flo') THEN
		RAISE EXCEPTION 'schema "flo" exists already'
			USING ERRCODE = 'duplicate_schema',
				  DETAIL = 'pg_flo makes a schema of this name for itself.',
				  HINT = 'Rename it, or drop it if nothing in it is needed, then create the extension again.';
	END IF;
END
$$;

CREATE SCHEMA flo;
