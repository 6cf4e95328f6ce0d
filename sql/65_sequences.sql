/*
 * 65_sequences.sql
 *		Values of sequences, which travel when they are asked for.
 */

CREATE FUNCTION flo.sequence_state(sequence oid, OUT last_value bigint, OUT is_called bool) RETURNS record
	AS 'MODULE_PATHNAME', 'flo_sequence_state_v2' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.sequence_state(oid) IS
'internal: what SELECT * FROM a sequence gives, by its OID; NULLs when the OID is no sequence''s';

CREATE FUNCTION flo.sequence_values(group_name text) RETURNS jsonb
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	-- from the sequences, and all at once: of thousands of tables few have one
	WITH RECURSIVE tree AS (
		SELECT p.relation AS oid FROM flo.published_tables(sequence_values.group_name) p
		UNION
		SELECT i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid),
	used AS (
		-- owned by a column, or used by a default
		SELECT s.oid, d.refobjid AS relation
		  FROM pg_class s JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
		 WHERE s.relkind = 'S' AND s.relpersistence <> 't' AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
		UNION
		SELECT s.oid, a.adrelid
		  FROM pg_class s JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid
		  JOIN pg_attrdef a ON a.oid = d.objid
		 WHERE s.relkind = 'S' AND s.relpersistence <> 't' AND d.classid = 'pg_attrdef'::regclass),
	sequence AS (
		SELECT s.oid, n.nspname, s.relname,
			   jsonb_agg(DISTINCT jsonb_build_object('schema', o.nspname, 'name', c.relname)) AS tables
		  FROM used u
		  JOIN tree t ON t.oid = u.relation
		  JOIN pg_class c ON c.oid = u.relation
		  JOIN pg_namespace o ON o.oid = c.relnamespace
		  JOIN pg_class s ON s.oid = u.oid
		  JOIN pg_namespace n ON n.oid = s.relnamespace
		 GROUP BY 1, 2, 3)
	-- the value never by name: it may be another relation's by now, a view's whose code would run with our rights
	SELECT coalesce(jsonb_agg(jsonb_build_object('schema', s.nspname, 'name', s.relname, 'last_value', v.last_value,
												 'is_called', v.is_called, 'tables', s.tables)
							  ORDER BY s.nspname, s.relname), '[]')
	  FROM sequence s CROSS JOIN LATERAL flo.sequence_state(s.oid) v
	 WHERE v.last_value IS NOT NULL
$$;
COMMENT ON FUNCTION flo.sequence_values(text) IS
'internal: the sequences that the group''s tables own or use in defaults, where they are, and which tables these are';

CREATE FUNCTION flo.sync_sequences(group_name text) RETURNS pg_lsn
	AS 'MODULE_PATHNAME', 'flo_sync_sequences_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.sync_sequences(text) IS
'Sends the present values of the sequences that the group''s tables own or use to the destinations, in order with the rows; returns the LSN to wait_for() there. Values never go back at a destination. The message is sent even when the calling transaction rolls back. Errors: 42704 unknown group, 55000 mode copy, 42501 privilege';
