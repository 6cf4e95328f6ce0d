/*
 * 30_triggers.sql
 *		What happens when a row of the configuration is written, and when a
 *		statement of this database makes or drops something.
 */

CREATE FUNCTION flo.config_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'flo_config_changed_v2' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.config_changed() IS 'internal: tells the launcher and running members, at commit, that the configuration changed';

CREATE FUNCTION flo.validate_row() RETURNS trigger
	AS 'MODULE_PATHNAME', 'flo_validate_row_v2' LANGUAGE C
	SET search_path = pg_catalog, pg_temp
	-- values of rules mean what they mean to pg_flo's processes
	SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET TimeZone = 'GMT' SET lc_monetary = 'C';
COMMENT ON FUNCTION flo.validate_row() IS 'internal: checks a row of rules, routes or webhook_subscriptions (22023)';

CREATE FUNCTION flo.validate_table() RETURNS trigger
	AS 'MODULE_PATHNAME', 'flo_validate_table_v2' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.validate_table() IS 'internal: checks what rows of rules or routes must not be together (22023, 0A000)';

CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.sources
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.chosen
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.astray
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.workers
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.readers
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.copy_requests
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR DELETE OR TRUNCATE ON flo.compare_requests
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR DELETE OR TRUNCATE ON flo.backfills
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.given_up
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.groups
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.rules
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.routes
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.webhook_subscriptions
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();

CREATE TRIGGER validate_row BEFORE INSERT OR UPDATE ON flo.rules
	FOR EACH ROW EXECUTE FUNCTION flo.validate_row();
CREATE TRIGGER validate_row BEFORE INSERT OR UPDATE ON flo.routes
	FOR EACH ROW EXECUTE FUNCTION flo.validate_row();
CREATE TRIGGER validate_row BEFORE INSERT OR UPDATE ON flo.webhook_subscriptions
	FOR EACH ROW EXECUTE FUNCTION flo.validate_row();
CREATE TRIGGER validate_table AFTER INSERT OR UPDATE OR DELETE ON flo.rules
	FOR EACH STATEMENT EXECUTE FUNCTION flo.validate_table();
CREATE TRIGGER validate_table AFTER INSERT OR UPDATE ON flo.routes
	FOR EACH STATEMENT EXECUTE FUNCTION flo.validate_table();

-- also for sessions with session_replication_role = replica
ALTER TABLE flo.groups ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.sources ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.chosen ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.astray ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.workers ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.readers ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.given_up ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.rules ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.rules ENABLE ALWAYS TRIGGER validate_row;
ALTER TABLE flo.rules ENABLE ALWAYS TRIGGER validate_table;
ALTER TABLE flo.routes ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.routes ENABLE ALWAYS TRIGGER validate_row;
ALTER TABLE flo.routes ENABLE ALWAYS TRIGGER validate_table;
ALTER TABLE flo.webhook_subscriptions ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.webhook_subscriptions ENABLE ALWAYS TRIGGER validate_row;

CREATE FUNCTION flo.new_tables() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'flo_new_tables_v2' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.new_tables() IS 'internal: lets new tables join the groups that cover them';

CREATE EVENT TRIGGER pg_flo_new_tables ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE SCHEMA', 'ALTER TABLE', 'CREATE INDEX', 'ALTER INDEX')
	EXECUTE FUNCTION flo.new_tables();
COMMENT ON EVENT TRIGGER pg_flo_new_tables IS 'pg_flo: new tables join the groups that cover them';
ALTER EVENT TRIGGER pg_flo_new_tables ENABLE ALWAYS;

CREATE FUNCTION flo.guard_drop() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'flo_guard_drop_v2' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.guard_drop() IS 'internal: keeps DROP EXTENSION from leaving groups behind, also in a server that has not preloaded pg_flo';

CREATE EVENT TRIGGER pg_flo_guard_drop ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED')
	EXECUTE FUNCTION flo.guard_drop();
COMMENT ON EVENT TRIGGER pg_flo_guard_drop IS 'pg_flo: the extension cannot be dropped while groups exist';
ALTER EVENT TRIGGER pg_flo_guard_drop ENABLE ALWAYS;

-- Never does anything: whether it is enabled tells every session whether DDL is tracked here
CREATE EVENT TRIGGER pg_flo_track_ddl ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION')
	EXECUTE FUNCTION flo.guard_drop();
COMMENT ON EVENT TRIGGER pg_flo_track_ddl IS 'pg_flo: enabled while a group of this database tracks DDL';
ALTER EVENT TRIGGER pg_flo_track_ddl DISABLE;

CREATE FUNCTION flo.make_keys() RETURNS void LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO flo.secrets (group_name, worker_name, key, value)
	SELECT r.group_name, '', 'sign', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
	  FROM flo.sources r JOIN flo.groups g USING (group_name)
	 WHERE g.system_identifier = (SELECT c.system_identifier FROM pg_control_system() c)
	   AND g.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
	   AND NOT EXISTS (SELECT FROM flo.secrets s
						WHERE s.group_name = r.group_name AND s.worker_name = '' AND s.key = 'sign')
		ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION flo.make_keys() IS
'internal: keys for this database''s replicators that have none, with which pg_flo signs its messages in WAL';

CREATE FUNCTION flo.follow_tracking() RETURNS trigger LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- groups that were restored from elsewhere do nothing until somebody adopts them
	wanted bool := EXISTS (SELECT FROM flo.sources r JOIN flo.groups g USING (group_name)
							WHERE r.track_ddl
							  AND g.system_identifier = (SELECT c.system_identifier FROM pg_control_system() c)
							  AND g.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()));
BEGIN
	PERFORM flo.make_keys();
	IF wanted <> (SELECT e.evtenabled <> 'D' FROM pg_event_trigger e WHERE e.evtname = 'pg_flo_track_ddl') THEN
		IF wanted THEN
			ALTER EVENT TRIGGER pg_flo_track_ddl ENABLE ALWAYS;
		ELSE
			ALTER EVENT TRIGGER pg_flo_track_ddl DISABLE;
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION flo.follow_tracking() IS 'internal: keeps the event trigger pg_flo_track_ddl in step with flo.replicators, and makes keys for new ones';

CREATE TRIGGER follow_tracking AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.sources
	FOR EACH STATEMENT EXECUTE FUNCTION flo.follow_tracking();
ALTER TABLE flo.sources ENABLE ALWAYS TRIGGER follow_tracking;
CREATE TRIGGER follow_tracking AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.groups
	FOR EACH STATEMENT EXECUTE FUNCTION flo.follow_tracking();
ALTER TABLE flo.groups ENABLE ALWAYS TRIGGER follow_tracking;
