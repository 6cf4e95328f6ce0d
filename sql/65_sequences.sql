/*
 * 65_sequences.sql
 *		Values of sequences, which travel when they are asked for.
 */

CREATE FUNCTION flo.sequence_state(sequence oid, OUT last_value bigint, OUT is_called bool) RETURNS record
	AS 'MODULE_PATHNAME', 'flo_sequence_state' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.sequence_state(oid) IS
'internal: what SELECT * FROM a sequence gives, by its OID; NULLs when the OID is no sequence''s';

CREATE FUNCTION flo.sequence_values(group_name text) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	sequence record;
	value record;
	result jsonb := '[]';
BEGIN
	FOR sequence IN
		WITH RECURSIVE tree AS (
			SELECT c.oid FROM pg_publication_tables p
			  JOIN pg_namespace n ON n.nspname = p.schemaname
			  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
			 WHERE p.pubname IN ('pgflo_' || sequence_values.group_name, 'pgflo_' || sequence_values.group_name || '_insert')
			UNION
			SELECT i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid)
		SELECT s.oid, n.nspname, s.relname,
			   jsonb_agg(DISTINCT jsonb_build_object('schema', o.nspname, 'name', c.relname)) AS tables
		  FROM tree t
		  JOIN pg_class c ON c.oid = t.oid
		  JOIN pg_namespace o ON o.oid = c.relnamespace
		  JOIN LATERAL (
				-- owned by a column, or used by a default
				SELECT d.objid AS oid FROM pg_depend d
				 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
				UNION
				SELECT d.refobjid FROM pg_attrdef a JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
				 WHERE a.adrelid = t.oid AND d.refclassid = 'pg_class'::regclass) u ON true
		  JOIN pg_class s ON s.oid = u.oid AND s.relkind = 'S' AND s.relpersistence <> 't'
		  JOIN pg_namespace n ON n.oid = s.relnamespace
		 GROUP BY 1, 2, 3 ORDER BY 2, 3
	LOOP
		-- never by name: it may be another relation's by now, a view's whose code would run with our rights
		SELECT s.last_value, s.is_called INTO value FROM flo.sequence_state(sequence.oid) s;
		CONTINUE WHEN value.last_value IS NULL;
		result := result || jsonb_build_object('schema', sequence.nspname, 'name', sequence.relname,
											   'last_value', value.last_value, 'is_called', value.is_called, 'tables', sequence.tables);
	END LOOP;
	RETURN result;
END
$$;
COMMENT ON FUNCTION flo.sequence_values(text) IS
'internal: the sequences that the group''s tables own or use in defaults, where they are, and which tables these are';

CREATE FUNCTION flo.sync_sequences(group_name text) RETURNS pg_lsn
	AS 'MODULE_PATHNAME', 'flo_sync_sequences' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.sync_sequences(text) IS
'Sends the present values of the sequences that the group''s tables own or use to the destinations, in order with the rows; returns the LSN to wait_for() there. Values never go back at a destination. The message is sent even when the calling transaction rolls back. Errors: 42704 unknown group, 55000 mode copy, 42501 privilege';
