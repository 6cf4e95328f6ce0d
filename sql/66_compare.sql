/*
 * 66_compare.sql
 *		Comparing source and destinations while writes go on.
 */

CREATE FUNCTION flo.compare(group_name text, table_name regclass DEFAULT NULL, worker_name text DEFAULT NULL,
							repair bool DEFAULT false, repair_extra bool DEFAULT false, compare_samples int DEFAULT 100) RETURNS bigint
	AS 'MODULE_PATHNAME', 'flo_compare_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.compare(text, regclass, text, bool, bool, int) IS
'Compares the rows of the group''s tables (one, NULL = all) at the source and at its destinations (one worker, by its name or consumer, NULL = all that write to tables), while writes go on: both as they were at one LSN. Returns the number of the comparison at once; it begins at commit, and flo.comparisons shows how far it is and what it has found, flo.comparison_samples the first compare_samples rows of each table that differ. With repair, rows that are missing or differ are written again from the source''s, in order with the stream; with repair_extra, rows that the source does not have are removed, too. Errors: 42704 unknown group or worker, table not in the group, 55000 stopped replicator, mode copy, no worker heard of, 55006 a table is being compared, 42501 privilege, 22023 arguments';
