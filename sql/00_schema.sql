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

-- Files that are newer than the library which the server has loaded: of pg_flo 0.1,
-- since from 0.2 on every function compares them
DO $$
BEGIN
	CREATE FUNCTION flo.of_this_library() RETURNS bool AS 'MODULE_PATHNAME', 'flo_of_this_library_v2' LANGUAGE C;
	DROP FUNCTION flo.of_this_library();
EXCEPTION WHEN undefined_function THEN
	RAISE EXCEPTION 'this server still runs the library of an earlier version of pg_flo'
		USING ERRCODE = 'object_not_in_prerequisite_state',
			  HINT = 'Restart the server, then create the extension again.';
END
$$;
