/*
 * 40_groups.sql
 *		Functions that make, change, start, stop and drop groups and their
 *		members.
 */

CREATE FUNCTION flo.create_replicator(
	group_name text,
	tables regclass[] DEFAULT NULL,
	schemas text[] DEFAULT NULL,
	mode text DEFAULT 'stream',
	copy_workers int DEFAULT 4,
	sync_schema bool DEFAULT false,
	track_ddl bool DEFAULT false,
	options jsonb DEFAULT '{}',
	except_tables regclass[] DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_create_replicator_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.create_replicator(text, regclass[], text[], text, int, bool, bool, jsonb, regclass[]) IS
'Records the source side of a group and creates its publication. tables and schemas add up, neither means every table. Errors: 22023 bad value, 42710 exists, 42501 not the tables'' owner or no REPLICATION, 42809 not a table, 55000 wal_level, preload or replica identity, 53400 no free slot, 55P03 locked by others for 10 s';

CREATE FUNCTION flo.create_worker(
	group_name text,
	sink text DEFAULT 'postgres',
	worker_name text DEFAULT NULL,
	options jsonb DEFAULT '{}'
) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_create_worker_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.create_worker(text, text, text, jsonb) IS
'Records a destination side of a group; worker_name defaults to the sink''s name. Errors: 22023 bad value, 42710 exists, 42501 its replicator is in this database and the caller neither its owner nor a reader, or not allowed what the sink does, 55000 not preloaded';

CREATE FUNCTION flo.alter_replicator(group_name text, options jsonb) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_alter_replicator_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.alter_replicator(text, jsonb) IS
'Merges options into those of the replicator (JSON null: back to the default), in force within a second of the commit. Errors: 42704 unknown group, 22023 bad value';

CREATE FUNCTION flo.alter_worker(group_name text, worker_name text, options jsonb) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_alter_worker_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.alter_worker(text, text, jsonb) IS
'Merges options into those of a worker (JSON null: back to the default), in force within a second of the commit. Errors: 42704 unknown group or worker, 22023 bad value';

CREATE FUNCTION flo.start_group(group_name text, member text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_start_group_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.start_group(text, text) IS
'Starts one member or all members of the group in this database when the transaction commits; also tries a failed one again at once. Errors: 42704 unknown group or member, 55000 not preloaded, 53400 no free process';

CREATE FUNCTION flo.stop_group(group_name text, member text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_stop_group_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.stop_group(text, text) IS
'Stops one member or all members of the group in this database when the transaction commits; flo.status says stopped when the process is gone. Errors: 42704 unknown group or member';

CREATE FUNCTION flo.set_owner(group_name text, member text, new_owner regrole) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_set_owner_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.set_owner(text, text, regrole) IS
'Gives a member (replicator, or a worker) to another role, which must be one that could have made it; the replicator''s publications go with it. The way on when an owner was dropped, and before DROP ROLE. Errors: 42704 unknown group, member or role, 42501 not the owner, or not allowed to the new one';

CREATE FUNCTION flo.grant_reader(group_name text, reader regrole) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_grant_reader_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.grant_reader(text, regrole) IS
'Lets a role read the rows of a group whose replicator is in this database: by workers of its own here, peek(), stream_status() and preview(). Errors: 42704 unknown group or role, 42501 not the replicator''s owner';

CREATE FUNCTION flo.revoke_reader(group_name text, reader regrole) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_revoke_reader_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.revoke_reader(text, regrole) IS
'Takes that right back; a worker whose owner has no other right to the group fails within a second. Errors: 42704 unknown group, or no reader of it, 42501 not the replicator''s owner';

CREATE FUNCTION flo.add_table(group_name text, table_name regclass, copy bool DEFAULT true) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_add_table_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.add_table(text, regclass, bool) IS
'Adds a table to the group of this database''s replicator. Errors: 42704 unknown group, 42710 already in it, 42809 not a table, 55000 no usable replica identity, 0A000 copy of existing rows, 55P03 locked by others for 10 s';

CREATE FUNCTION flo.remove_table(group_name text, table_name regclass) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_remove_table_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.remove_table(text, regclass) IS
'Takes a table out of the group of this database''s replicator. Errors: 42704 unknown group or table not in it, 55P03 locked by others for 10 s';

CREATE FUNCTION flo.drop_replicator(group_name text, purge_stream bool DEFAULT false, force bool DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_replicator_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_replicator(text, bool, bool) IS
'Stops the replicator (waits up to 10 s) and removes slot, publication and rows; purge_stream also stream, copy stream and state bucket, if this database is their owner. Not transactional; can be repeated. With force an unreachable broker is a warning, and purge_stream removes them whosever they are. Errors: 42704 unknown group, 55006 does not stop, or purge_stream and they are another database''s, 55P03 locked by others for 10 s, 08xxx broker';

CREATE FUNCTION flo.drop_worker(group_name text, worker_name text, force bool DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_worker_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_worker(text, text, bool) IS
'Stops a worker (waits up to 10 s) and removes consumer, registration, origin and rows, rules and routes for it alone included (a NOTICE says how many). Not transactional; can be repeated. With force an unreachable broker is a warning, and so is a registration of another copy of this database, which stays. Errors: 42704 unknown group or worker, 55006 does not stop, or another copy of this database runs it, 08xxx broker';

CREATE FUNCTION flo.drop_group(group_name text, purge_stream bool DEFAULT false, force bool DEFAULT false, purge_rules bool DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_group_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_group(text, bool, bool, bool) IS
'Drops everything the group has in this database, see drop_replicator and drop_worker. Its rules and routes stay, for a group of that name made again, unless purge_rules; a NOTICE says how many. Errors: 42704 unknown group, 55006 does not stop, or of another owner, 55P03 locked by others for 10 s, 08xxx broker';

---------------------------------------------------------------------------
-- The way on after a failure
---------------------------------------------------------------------------

CREATE FUNCTION flo.skip(group_name text, worker_name text, lsn pg_lsn) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_skip_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.skip(text, text, pg_lsn) IS
'Has a worker skip exactly the transaction whose commit LSN last_error shows, and tries again at once; the rest goes on in order. Written to the log. Errors: 42704 unknown group or worker, 22023 the worker did not fail at that transaction';

CREATE FUNCTION flo.give_up(group_name text, table_name text, worker_name text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_give_up_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.give_up(text, text, text) IS
'At a destination: has a worker pass over all changes of one table, which it cannot apply, from where it is; the rest of the same transactions is applied. The table, schema.table, is the source''s, a partitioned one as a whole; without a schema it is one of public. flo.tables shows it as given up until flo.resync() at the source, of the table or of all, has copied it anew. The worker is the only one of the group here, or the one that failed at the table, unless named. Written to the log. Errors: 42704 unknown group or worker, 42P01 no such table is known, 42809 a partition, 22023 not the name of a table, or several workers';

CREATE FUNCTION flo.resync(group_name text, table_name regclass DEFAULT NULL, copy bool DEFAULT true) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_resync_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.resync(text, regclass, bool) IS
'The way out of failed, at the source. Without a table: new slot, new generation, the stream is emptied and goes on from now, and every table is copied afresh; with copy => false they are not: the LSN range given up is written to the log and to flo.generations, the rows in between have to be brought over by other means. With a table: copies that table of a running group afresh. Destinations wait for copies at the same point of the stream. Errors: 42704 unknown group or table not in it, 55P03 locked by others for 10 s, 55000 never started, 55006 does not stop';

CREATE FUNCTION flo.drop_consumer(group_name text, consumer text) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_consumer_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_consumer(text, text) IS
'At the source: removes the consumer and the registration of a destination that no longer exists, as shown by stream_status; at a destination those of its own database only. Errors: 42704 unknown group or consumer, 55006 the consumer and the stream are of other databases, 08xxx broker';

CREATE FUNCTION flo.redrive(id bigint) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_redrive_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.redrive(bigint) IS
'Has a dead letter sent again by its worker, once this commits and the worker runs: a letter that is delivered is removed, one that fails again stays. Errors: 42704 no such letter, 42501 not the worker''s owner';

CREATE FUNCTION flo.redrive_group(group_name text) RETURNS bigint
	AS 'MODULE_PATHNAME', 'flo_redrive_group_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.redrive_group(text) IS
'The same for all dead letters of the group in this database, oldest first; returns their number. Errors: 42704 unknown group, 42501 not the workers'' owner';
