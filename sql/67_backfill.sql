/*
 * 67_backfill.sql
 *		Rows of a table once more, for one worker that writes events.
 */

CREATE FUNCTION flo.backfill(group_name text, table_name regclass, worker_name text, "where" text DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'flo_backfill_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	-- constants of the condition are read as where it is evaluated
	SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET TimeZone = 'GMT';
COMMENT ON FUNCTION flo.backfill(text, regclass, text, text) IS
'Has the rows of a table, or those for which the condition is true, sent to one worker that writes events, by its name or consumer: as INSERTs with "Snapshot": true, in stream order at one LSN, while everything else goes on and other workers get nothing. The condition is SQL over the table''s columns, evaluated with the rights of the group''s owner pg_catalog as search_path, dates read as ISO, YMD and times in UTC; subqueries and volatile functions are refused. Returns the number of the backfill at once; it begins at commit, those of a group one after the other, and flo.backfills and flo.copy_progress show how far it is. Errors: 42704 unknown group or worker, table not in the group, 55000 stopped replicator, mode copy, no worker heard of, 0A000 the worker writes to tables, or what is refused in conditions, 42601, 42703, 42883, 42804 condition, 42501 privilege';

CREATE FUNCTION flo.cancel_backfill(id bigint) RETURNS boolean
	AS 'MODULE_PATHNAME', 'flo_cancel_backfill_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.cancel_backfill(bigint) IS
'Ends a backfill; the worker keeps what it has sent, and goes on with the stream. False when it is over. Errors: 42704 unknown backfill, 42501 privilege';
